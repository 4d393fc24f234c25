"""shared: what several kinds read or write alike."""
