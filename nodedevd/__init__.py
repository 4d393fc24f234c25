"""nodedevd: the node devices of a virtualization host, as XML and JSON over a Unix socket."""

__version__ = "0.1.0"
