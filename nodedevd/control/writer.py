"""writer: the program that writes to sysfs, in a process of its own that need not end.

    python -I -S writer.py ROOT

A write can block in a driver for as long as a VM runs, and then not even SIGKILL ends its process
(`remove` of an open mdev, `unbind`, `sriov_numvfs`). So each card has a writer: what hangs is the
writer, never the service that waits for it. It imports nothing of nodedevd, and knows no device.

Standard input is a SOCK_SEQPACKET socket. A request is `{"path": ..., "value": ...}`, and with it
come descriptors that are kept open until it is answered: the locks of the card, which so stay
locked although the service ends. The answer is `{"errno": N}`, 0 for success. It ends when the
other side has closed the socket.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys

MESSAGE_BYTES = 1 << 16
LOCKS_AT_MOST = 64
_PATH_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


def write_attribute(root: int, path: str, value: str) -> None:
    """Write a value to an attribute below /sys, in one write(2).

    No link is followed on the way, and nothing is created or truncated.

    Args:
        root: Descriptor of the directory that holds `sys`.
        path: The attribute.
        value: What is written.

    Raises OSError: the kernel's; EXDEV for a path that does not stay below /sys.
    """
    parts = path.split("/")
    if parts[:2] != ["", "sys"] or len(parts) < 3 or {"", ".", ".."} & set(parts[1:]):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    directory = os.dup(root)
    try:
        for part in parts[1:-1]:
            deeper = os.open(part, _PATH_ONLY, dir_fd=directory)
            os.close(directory)
            directory = deeper
        attribute = os.open(parts[-1], _WRITE, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        os.write(attribute, value.encode())
    finally:
        os.close(attribute)


def serve(server: socket.socket, root: int) -> None:
    """Answer requests until the other side closes the socket."""
    while True:
        message, locks, _, _ = socket.recv_fds(server, MESSAGE_BYTES, LOCKS_AT_MOST)
        if not message:
            return
        number = 0
        try:
            request = json.loads(message)
            write_attribute(root, request["path"], request["value"])
        except OSError as error:
            number = error.errno or errno.EIO
        # Who waits for the answer has the locks, too; without anybody, they end with this write.
        for lock in locks:
            os.close(lock)
        try:
            server.send(json.dumps({"errno": number}).encode())
        except OSError:
            return


def main() -> None:
    """Serve standard input."""
    # A signal would turn a wait for the users of a device into one that nothing interrupts.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    root = os.open(sys.argv[1], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    serve(socket.socket(fileno=0), root)


if __name__ == "__main__":
    main()
