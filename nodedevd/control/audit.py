"""audit: logs every change, who asked for it and what came of it, with fields to search by.

Writes  the native protocol of /run/systemd/journal/socket, https://systemd.io/JOURNAL_NATIVE_PROTOCOL
        without a journal, one line to the log

`journalctl -t nodedevd-control NODEDEVD_OWNER=vm-7` lists the changes of one owner; docs/control.md
has the fields.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Mapping
from typing import Final

from nodedevd.actions.answers import Outcome
from nodedevd.actions.plan import Step
from nodedevd.actions.requests import Request, domain_of, owner_of
from nodedevd.control.asker import Asker
from nodedevd.control.journal import Asked, Entry
from nodedevd.errors import NodedevError
from nodedevd.text import printable

_log: Final = logging.getLogger(__name__)

SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "nodedevd-control"
MESSAGE_ID: Final = "6f0b3b0a2c6d4c0f9a3f5d0c8e1b7d42"
"""Of all records of changes."""
_FIELD_BYTES: Final = 8 << 10
_WARNING: Final = 4
_NOTICE: Final = 5
_INFO: Final = 6


class Audit:
    """Writes records of changes."""

    def __init__(self, path: str = SOCKET) -> None:
        """Write to the journal whose socket is at a path, if there is one."""
        self._path = path

    def done(self, asker: Asker, request: Request, outcome: Outcome) -> None:
        """Record a change that was made, or that was so already."""
        steps = "; ".join(outcome.steps) or "nothing to do"
        devices = tuple(device.name for device in outcome.devices)
        self._record(_NOTICE, asker, request, "done", steps, NODEDEVD_DEVICES=" ".join(devices))

    def failed(self, asker: Asker, request: Request, error: BaseException) -> None:
        """Record a change that was refused or failed, with what was undone and what was not."""
        undone = "\n".join(getattr(error, "undone", ()))
        left = "\n".join(getattr(error, "left", ()))
        text = str(error) or type(error).__name__
        self._record(
            _WARNING, asker, request, _code(error), text, NODEDEVD_UNDONE=undone, NODEDEVD_LEFT=left
        )

    def step(self, entry: Entry, step: Step, result: str, detail: str) -> None:
        """Record one step of a change, whoever carries it out."""
        plan, asked = entry.plan, entry.asked
        why = f": {detail}" if detail else ""
        message = f"{plan.action}, change {entry.number}: {step}: {result}{why}"
        fields = {
            "NODEDEVD_ACTION": plan.action,
            "NODEDEVD_CHANGE": str(entry.number),
            "NODEDEVD_CARDS": " ".join(plan.cards),
            "NODEDEVD_STEP": str(step),
            "NODEDEVD_RESULT": result,
            **_who(asked),
        }
        priority = _INFO if result in ("done", "already") else _WARNING
        self._send(priority, message, fields)

    def late(self, asked: Asked, result: object) -> None:
        """Record the end of a change whose client was told that its write hangs."""
        what = "; ".join(result.steps) if isinstance(result, Outcome) else str(result)
        code = "done" if isinstance(result, Outcome) else _code(result)
        message = f"the driver has answered; the change that {_named(asked)} asked for: {what}"
        self._send(_WARNING, message, {"NODEDEVD_RESULT": code, **_who(asked)})

    def _record(
        self, priority: int, asker: Asker, request: Request, result: str, text: str, **more: str
    ) -> None:
        subject = _subject(request)
        named, domain = owner_of(request), domain_of(request)
        owner = "" if named is None else f" for {named!r}"
        if domain is not None:
            owner = f" for the domain {domain}"
        force = " by force" if request.force else ""
        message = f"{request.action} {subject}{owner}{force}, asked by {_named(asker)}: {text}"
        fields = {
            "NODEDEVD_ACTION": request.action,
            "NODEDEVD_SUBJECT": subject,
            "NODEDEVD_RESULT": result,
            "NODEDEVD_OWNER": named or "",
            "NODEDEVD_DOMAIN": domain or "",
            "NODEDEVD_FORCE": "1" if request.force else "",
            **_who(asker),
            **more,
        }
        self._send(priority, message, fields)

    def _send(self, priority: int, message: str, fields: Mapping[str, str]) -> None:
        """Send a record; to the log if the journal does not take it."""
        everything = {
            "MESSAGE": printable(message),
            "MESSAGE_ID": MESSAGE_ID,
            "PRIORITY": str(priority),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            **fields,
        }
        data = b"".join(encoded(name, value) for name, value in everything.items() if value)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                # Records come one after another from threads, which may wait, but not for ever.
                sock.settimeout(1.0)
                sock.connect(self._path)
                sock.sendall(data)
        except OSError:
            if _log.hasHandlers():  # nodedevctl has none, and prints the error anyway
                level = logging.WARNING if priority == _WARNING else logging.INFO
                _log.log(level, "%s", message, extra={"always": True})


def encoded(name: str, value: str) -> bytes:
    """Return a field as the journal's protocol has it; a long value is cut."""
    data = value.encode("utf-8", "backslashreplace")
    if len(data) > _FIELD_BYTES:
        data = data[: _FIELD_BYTES - 3].decode("utf-8", "ignore").encode() + b"..."
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def _who(asked: Asker | Asked) -> dict[str, str]:
    return {
        "NODEDEVD_PID": str(asked.pid),
        "NODEDEVD_COMMAND": asked.command,
        "NODEDEVD_SPEAKER": asked.speaker,
        "OBJECT_UID": str(asked.uid),
    }


def _named(asked: Asker | Asked) -> str:
    through = f", through {asked.speaker}" if asked.speaker else ""
    return f"{asked.command or 'process'}[{asked.pid}] of user {asked.uid}{through}"


def _code(error: object) -> str:
    return error.code if isinstance(error, NodedevError) else "internal-error"


def _subject(request: Request) -> str:
    """Return what a request is about, as its client named it."""
    parts = [
        str(value)
        for field in ("uuid", "name", "type", "parent", "driver", "number")
        if (value := getattr(request, field, None)) is not None
    ]
    return printable(" ".join(parts))
