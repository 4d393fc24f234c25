"""tree: reads a host into a tree of devices, and updates the tree by reading parts again."""
