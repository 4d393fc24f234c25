"""libvirt: libvirt's remote protocol, as far as node devices need it."""
