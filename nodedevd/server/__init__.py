"""server: everything that answers clients on a socket, in any protocol."""
