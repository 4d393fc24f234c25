"""follow: keeps the tree true while the daemon runs: jobs, retries, and the thread that reads."""
