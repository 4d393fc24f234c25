"""tree: turns a host into a tree of devices, and keeps that tree true by reading parts again."""
