"""server: everything that answers clients on a socket, whichever protocol they speak."""
