"""varlink: the Varlink protocol and the interface org.nodedevd.Devices."""
