"""hostdev: the question whether and how a device is assigned to a guest, and its parts."""
