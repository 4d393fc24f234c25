"""The soak: a daemon under a million uevents, many watchers, and hostile clients."""
