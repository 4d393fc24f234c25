"""Writes of libvirt's clients: one script, played on libvirtd and on nodedevd, and compared."""
