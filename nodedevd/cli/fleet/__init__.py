"""fleet: the commands of nodedevctl --fleet, which ask the bucket that hosts publish to."""
