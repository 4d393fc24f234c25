"""Completion of devices, vGPU types and kinds in a shell.

The proposals come from the daemon, or from the sysroot on the command line. Completion is quiet:
without an answer there are no proposals, and no scan of this host keeps a person waiting.
"""

from __future__ import annotations

import posixpath
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click
from click.types import StringParamType

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.options import Context, ControlCommand
from nodedevd.cli.source import Source
from nodedevd.client import Client
from nodedevd.errors import NodedevError
from nodedevd.kinds import WORDS
from nodedevd.names import is_uuid, parse_pci
from nodedevd.questions.vgpus import CAPABILITIES, vgpu_functions
from nodedevd.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ANSWER_SECONDS: Final = 1.0


class _Completed(StringParamType):
    """A text with proposals; those that begin with what was typed are shown."""

    @abstractmethod
    def proposals(self, source: Source, typed: str) -> Iterator[tuple[str, str]]:
        """Yield words, each with a short description."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the proposals of the selected source; none if it does not answer."""
        from click.shell_completion import CompletionItem  # only completion needs it

        selected = ctx.find_object(Context) or Context()
        try:
            found = dict(self.proposals(_source(ctx, selected), incomplete))
        except (NodedevError, OSError):
            return []
        return [
            CompletionItem(word, help=printable(about))
            for word, about in found.items()
            if word.startswith(incomplete) and printable(word) == word and " " not in word
        ]


class DeviceType(_Completed):
    """A device: its name and, once something is typed, its UUID or PCI address."""

    def proposals(self, source: Source, typed: str) -> Iterator[tuple[str, str]]:
        """Yield the names of all devices, inactive ones, too."""
        for entry in source.list().devices:
            about = ", ".join(entry.capabilities)
            yield entry.name, about
            sysname = posixpath.basename(entry.path or "")
            if typed and (is_uuid(sysname) or parse_pci(sysname) is not None):
                yield sysname, about


class VgpuTypeType(_Completed):
    """A vGPU type: its ID and, without blanks, its name."""

    def proposals(self, source: Source, typed: str) -> Iterator[tuple[str, str]]:
        """Yield the types that devices offer."""
        for function in vgpu_functions(source.snapshot(CAPABILITIES).devices):
            for offer in function.offers:
                yield offer.id, offer.name or ""
                if offer.name is not None:
                    # The vendor's word in front is optional, and bash splits at blanks.
                    yield offer.name.rpartition(" ")[2], offer.id


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
            for word in WORDS
            if word.startswith(last) and word not in given
        ]


class DriverType(_Completed):
    """A driver: those that devices have, and that of VFIO."""

    def proposals(self, source: Source, typed: str) -> Iterator[tuple[str, str]]:
        """Yield the names of drivers."""
        yield "vfio-pci", ""
        for device in source.snapshot(["pci"]).devices:
            if device.driver is not None:
                yield device.driver, ""


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
    if selected.sysroot is not None:
        return Embedded(selected.sysroot)
    # The control service does not list devices.
    path = None if isinstance(ctx.command, ControlCommand) else selected.socket
    return ctx.with_resource(Client(path, timeout_seconds=_ANSWER_SECONDS))
