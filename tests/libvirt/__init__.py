"""nodedevd beside other programs that tell of the same host."""
