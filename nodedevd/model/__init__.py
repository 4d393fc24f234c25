"""model: the frozen values that nodedevd knows a host by, and the store that holds the newest."""
