"""host: access to the machine by files and sockets, without knowledge of any kind of device."""
