"""Completion of words that the daemon knows, without loading the commands.

To load them takes longer than the answer. What is needed of them is in `completed_words`; all
else, such as the name of an option, click completes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from nodedevd.cli.completed_words import COMMANDS
from nodedevd.cli.proposals import QUESTIONS, proposals
from nodedevd.cli.quick_call import NO_ANSWER, ask
from nodedevd.socket_paths import candidate_socket_paths

VARIABLE: Final = "_NODEDEVCTL_COMPLETE"
"""The environment variable by which a shell asks: `bash_complete`."""
ANSWER_SECONDS: Final = 1.0
"""Nobody waits longer for proposals."""


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
        if word.partition("=")[0] in ("--socket", "--sysroot", "--fleet"):
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
        devices = ask(candidate_socket_paths(), question.method, parameters, ANSWER_SECONDS)
        found = proposals(kind, devices, typed)
    except NO_ANSWER:
        return
    for word, about in found.items():
        yield CompletionItem(word, help=about)


def _line(completion: ShellComplete, item: CompletionItem) -> str:
    return completion.format_completion(item)
