"""control/steps: one file a kind of step: how it is done on a host, undone, and recognised."""
