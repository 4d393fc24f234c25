"""follow: keeps the store true to the host while the daemon runs."""
