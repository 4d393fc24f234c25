"""The tests in `faults` take minutes; `make fleet-test` runs them."""

collect_ignore = ["faults"]
