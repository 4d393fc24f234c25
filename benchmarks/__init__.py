"""Measurements, beside libvirt and the floor."""
