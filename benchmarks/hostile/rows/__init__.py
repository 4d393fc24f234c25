"""rows: one attack each; a module has a function `measure`, which yields figures."""
