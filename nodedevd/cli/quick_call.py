"""quick_call: asks the daemon for devices in JSON, with the standard library alone.

For what has to be answered before the client would be loaded: completion, and a plain list.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from nodedevd.socket_paths import INTERFACE

Row: TypeAlias = Mapping[str, Any]
"""A device as in the JSON of the method."""
NO_ANSWER: Final = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What `ask` raises: no daemon answers, or what answers is none."""
_LIMIT_BYTES: Final = 64 << 20
_PIECE_BYTES: Final = 1 << 18


def ask(
    paths: Sequence[str], method: str, parameters: dict[str, Any], seconds: float | None
) -> list[Row]:
    """Return the devices of all replies to a call, whatever these devices are.

    Args:
        paths: The sockets to try, in order.
        method: Its name within the interface.
        parameters: Its parameters.
        seconds: The longest time for all of it; None is no limit.

    Raises one of NO_ANSWER.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    call = {"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": True}
    with _connected(paths, deadline) as connection:
        connection.settimeout(_left(deadline))
        connection.sendall(json.dumps(call).encode() + b"\0")
        received = bytearray()
        devices: list[Row] = []
        while True:
            connection.settimeout(_left(deadline))
            data = connection.recv(_PIECE_BYTES)
            received += data
            late = deadline is not None and time.monotonic() > deadline
            if not data or len(received) > _LIMIT_BYTES or late:
                raise OSError("no complete answer")
            if b"\0" not in data:
                continue
            *messages, received = received.split(b"\0")
            for message in messages:
                reply = json.loads(message)
                devices += reply["parameters"]["devices"]
                if not reply.get("continues"):
                    return devices


def _connected(paths: Sequence[str], deadline: float | None) -> socket.socket:
    """Return a connection to the first daemon that there is. Raises OSError."""
    failure = OSError("no socket")
    for path in paths:
        connection = socket.socket(socket.AF_UNIX)
        # Without a limit of time, a full backlog is left to the client, which waits so long for it.
        connection.settimeout(_left(deadline) or 0)
        try:
            connection.connect(path)
        except (BlockingIOError, TimeoutError):
            connection.close()
            raise  # the daemon is there, and another one has other devices
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())
