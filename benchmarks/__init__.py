"""Benchmarks: nodedevd compared with libvirtd and with C programs that do the same work."""
