"""shared: parts that several kinds read or write in the same way."""
