"""publish: a process that writes a host's state to the bucket of a fleet.

It is not the daemon: that serves Unix sockets alone, and keeps `IPAddressDeny=any`.
"""
