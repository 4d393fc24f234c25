"""metrics: what a monitoring system is told of a tree and of the daemon that follows it.

`reading` asks a daemon, or a scan; `families` counts, in pure functions; `text` and `report` write
the result for Prometheus and for systemd. docs/metrics.md lists the metrics.
"""
