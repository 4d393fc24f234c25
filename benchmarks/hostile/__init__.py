"""hostile: measures what an unprivileged user can do to the daemon and its other clients."""
