"""host: the machine as files and sockets; what is here knows no kind of device."""
