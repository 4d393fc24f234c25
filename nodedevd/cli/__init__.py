"""cli: the commands of nodedevctl, one file each, and what only they need."""
