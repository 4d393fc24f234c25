"""The tests here take the VM; `make vm-test` runs them."""

collect_ignore = ["guest", "outside"]
