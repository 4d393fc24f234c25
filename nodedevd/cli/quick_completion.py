"""Completion of words that the daemon knows, without loading the commands.

To load them takes longer than the answer. What is needed of them is in `completed_words`; all
else, such as the name of an option, click completes.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from nodedevd.cli.completed_words import COMMANDS
from nodedevd.cli.proposals import QUESTIONS, Row, proposals
from nodedevd.socket_paths import INTERFACE, candidate_socket_paths

VARIABLE: Final = "_NODEDEVCTL_COMPLETE"
"""The environment variable by which a shell asks: `bash_complete`."""
ANSWER_SECONDS: Final = 1.0
"""Nobody waits longer for proposals."""
_LIMIT_BYTES: Final = 64 << 20
_PIECE_BYTES: Final = 1 << 18


def answered(instruction: str) -> bool:
    """Print the proposals for a shell's request; False if click has to do that."""
    shell, _, what = instruction.partition("_")
    completion_class = get_completion_class(shell)
    if completion_class is None or what != "complete":
        return False
    # It takes the command line from the environment, and forms the output for its shell.
    completion = completion_class(None, {}, "nodedevctl", VARIABLE)  # type: ignore[arg-type]
    arguments, typed = completion.get_completion_args()
    kind = wanted(arguments, typed)
    if kind is None:
        return False
    for item in items(kind, typed):
        print(_line(completion, item))
    return True


def wanted(arguments: Sequence[str], typed: str) -> str | None:
    """Return the kind of the word that is typed, a key of QUESTIONS; None if it is another one.

    None also for a line that selects whom to ask.
    """
    options, positional, repeated = COMMANDS[""]
    command = ""
    given = 0
    words = iter(arguments)
    for word in words:
        if word.partition("=")[0] in ("--socket", "--sysroot"):
            return None
        if word in options:
            try:
                next(words)
            except StopIteration:
                return options[word]
        elif not word.startswith("-"):
            below = f"{command} {word}".strip()
            if below in COMMANDS:
                command, given = below, 0
                options, positional, repeated = COMMANDS[below]
            else:
                given += 1
    if typed.startswith("-"):
        return None
    if given >= len(positional) and not repeated:
        return None
    return positional[min(given, len(positional) - 1)] if positional else None


def items(kind: str, typed: str) -> Iterator[CompletionItem]:
    """Yield the daemon's proposals for a word; none if it does not answer."""
    question = QUESTIONS[kind]
    parameters = {} if question.capabilities is None else {"capabilities": question.capabilities}
    try:
        found = proposals(kind, _ask(question.method, parameters), typed)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return  # no daemon, or what answers is none
    for word, about in found.items():
        yield CompletionItem(word, help=about)


def _line(completion: ShellComplete, item: CompletionItem) -> str:
    return completion.format_completion(item)


def _ask(method: str, parameters: dict[str, Any]) -> list[Row]:
    """Return the devices of all replies to a call. Raises OSError, ValueError, LookupError."""
    deadline = time.monotonic() + ANSWER_SECONDS
    call = {"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": True}
    with _connected(deadline) as connection:
        connection.sendall(json.dumps(call).encode() + b"\0")
        received = bytearray()
        devices: list[Row] = []
        while True:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            data = connection.recv(_PIECE_BYTES)
            received += data
            if not data or len(received) > _LIMIT_BYTES or time.monotonic() > deadline:
                raise OSError("no complete answer")
            if b"\0" not in data:
                continue
            *messages, received = received.split(b"\0")
            for message in messages:
                reply = json.loads(message)
                devices += reply["parameters"]["devices"]
                if not reply.get("continues"):
                    return devices


def _connected(deadline: float) -> socket.socket:
    """Return a connection to the first daemon that there is. Raises OSError."""
    failure = OSError("no socket")
    for path in candidate_socket_paths():
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure
