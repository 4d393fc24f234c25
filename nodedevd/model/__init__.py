"""model: the frozen values that describe a host, and the store of the newest ones."""
