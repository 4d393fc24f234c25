"""Completion of devices, vGPU types and kinds in a shell.

The proposals come from the daemon, or from the sysroot on the command line. Completion is quiet:
without an answer there are no proposals, and no scan of this host keeps a person waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.types import StringParamType

from nodedevd.capability_words import CAPABILITY_WORDS
from nodedevd.cli.options import Context, ControlCommand
from nodedevd.errors import NodedevError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from nodedevd.cli.source import Source

_ANSWER_SECONDS: Final = 1.0


class AskedType(StringParamType):
    """A text with proposals; those that begin with what was typed are shown."""

    kind: str
    """of the words, a key of QUESTIONS"""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the proposals of the selected source; none if it does not answer."""
        import msgspec  # only completion needs it
        from click.shell_completion import CompletionItem

        from nodedevd.cli.proposals import QUESTIONS, proposals

        selected = ctx.find_object(Context) or Context()
        question = QUESTIONS[self.kind]
        try:
            source = _source(ctx, selected)
            answer = (
                source.list()
                if question.method == "List"
                else source.snapshot(question.capabilities)
            )
        except (NodedevError, OSError):
            return []
        found = proposals(self.kind, msgspec.to_builtins(answer.devices), incomplete)
        return [CompletionItem(word, help=about) for word, about in found.items()]


class DeviceType(AskedType):
    """A device: its name and, once something is typed, its UUID or PCI address."""

    kind = "device"


class VgpuTypeType(AskedType):
    """A vGPU type: its ID and, without blanks, its name."""

    kind = "type"


class DriverType(AskedType):
    """A driver: those that devices have, and that of VFIO."""

    kind = "driver"


class KindType(StringParamType):
    """Kinds of capabilities, separated by commas."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the kinds that continue the last one."""
        from click.shell_completion import CompletionItem  # only completion needs it

        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [
            CompletionItem(before + comma + word)
            for word in CAPABILITY_WORDS
            if word.startswith(last) and word not in given
        ]


_TYPES: Final = {
    "DEVICE": DeviceType(),
    "CARD": DeviceType(),
    "PARENT": DeviceType(),
    "DRIVER": DriverType(),
    "IDENTIFIER": DeviceType(),
    "TYPE": VgpuTypeType(),
    "KIND": KindType(),
}
"""By the word for an argument in the help of a command."""


def complete(parameter: click.Parameter) -> None:
    """Let a shell complete a parameter, if its word in the help is a known one."""
    word = (parameter.metavar or parameter.name or "").strip("[].").upper()
    if word in _TYPES and type(parameter.type) is StringParamType:
        parameter.type = _TYPES[word]


def _source(ctx: click.Context, selected: Context) -> Source:
    from nodedevd.cli.embedded import Embedded
    from nodedevd.client import Client

    if selected.sysroot is not None:
        return Embedded(selected.sysroot)
    # The control service does not list devices.
    path = None if isinstance(ctx.command, ControlCommand) else selected.socket
    return ctx.with_resource(Client(path, timeout_seconds=_ANSWER_SECONDS))
