"""Makes the manual pages from what exists: the help of commands, the documentation, the interface.

python -m tests.support.man_pages DIRECTORY
"""

from __future__ import annotations

import datetime
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import nodedevd.server.varlink
from nodedevd import __version__
from nodedevd.cli.main import main as nodedevctl
from nodedevd.command import main as nodedevd_command
from nodedevd.control.__main__ import main as nodedevd_control
from nodedevd.hook.__main__ import USAGE
from nodedevd.metrics.__main__ import main as nodedevd_metrics
from nodedevd.publish.__main__ import main as nodedevd_publish
from tests.support import roff

DOCS = Path(__file__).parents[2] / "docs"
INTERFACE = Path(nodedevd.server.varlink.__file__).parent / "org.nodedevd.Devices.varlink"
DOCUMENTED = {"nodedevd-layout(5)": ("layout.md", "declarative layout of a host's vGPUs")}
"""Pages that are documents, where those exist, with what they are about."""
SEE_ALSO = [
    *("nodedevctl(1)", "nodedevd(8)", "nodedevd-control(8)", "nodedevd-libvirt-hook(8)"),
    *("nodedevd-metrics(8)", "nodedevd-publish(8)", "org.nodedevd.Devices(7)"),
]


def pages() -> Iterator[roff.Page]:
    """Yield all manual pages."""
    yield from _command_pages(nodedevctl, "nodedevctl", None)
    yield _finished(
        _command_page(nodedevd_command, "nodedevd", 8, None), _part("protocol.md", "The socket")
    )
    yield _finished(
        _command_page(nodedevd_control, "nodedevd-control", 8, None),
        *(_part("control.md", one) for one in ("Configuration", "The log", "Limits")),
    )
    yield _finished(_hook_page())
    yield _finished(_command_page(nodedevd_metrics, "nodedevd-metrics", 8, None))
    yield _finished(
        _command_page(nodedevd_publish, "nodedevd-publish", 8, None),
        _part("fleet.md", "Configuration"),
    )
    about = "the Varlink interface of the node device daemon"
    page = _page("org.nodedevd.Devices", 7, about)
    page.heading("DESCRIPTION")
    page.markdown((DOCS / "protocol.md").read_text("utf-8").partition("\n")[2])
    page.heading("INTERFACE DEFINITION")
    page.verbatim(INTERFACE.read_text("utf-8").splitlines())
    yield _finished(page)
    for name, (document, about) in DOCUMENTED.items():
        if (DOCS / document).exists():
            page = _page(name[:-3], int(name[-2]), about)
            page.heading("DESCRIPTION")
            page.markdown((DOCS / document).read_text("utf-8").partition("\n")[2])
            yield _finished(page)


def write(directory: Path) -> list[Path]:
    """Write all pages to a directory, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for page in pages():
        written.append(directory / page.file_name)
        written[-1].write_text(str(page), "utf-8")
    return written


def _page(name: str, section: int, about: str) -> roff.Page:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.now(datetime.UTC)
    date = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch else now
    return roff.Page(name, section, about, date=f"{date:%Y-%m-%d}", version=__version__)


def _finished(page: roff.Page, *parts: str) -> roff.Page:
    for part in parts:
        page.markdown(part)
    page.heading("SEE ALSO")
    others = [one for one in SEE_ALSO if one != f"{page.name}({page.section})"]
    page.paragraph(", ".join(f"{roff.bold(one[:-3])}{one[-3:]}" for one in others))
    return page


def _part(document: str, title: str) -> str:
    """Return a section of a document, with its heading."""
    text = (DOCS / document).read_text("utf-8")
    [part] = re.findall(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.M | re.S)
    return str(part)


def _command_pages(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[roff.Page]:
    """Yield the page of a command, and those of its commands."""
    yield _finished(_command_page(command, name, 1, parent))
    if isinstance(command, click.Group):
        context = _context(command, name, parent)
        for one in command.list_commands(context):
            child = command.get_command(context, one)
            assert child is not None
            yield from _command_pages(child, f"{name}-{one}", context)


def _command_page(
    command: click.Command, name: str, section: int, parent: click.Context | None
) -> roff.Page:
    context = _context(command, name, parent)
    first, *rest = _paragraphs(command.help or "")
    page = _page(name, section, _about(first))
    page.heading("SYNOPSIS")
    pieces = " ".join(command.collect_usage_pieces(context))
    page.synopsis(f"{roff.bold(context.command_path)} {roff.plain(pieces)}".strip())
    page.heading("DESCRIPTION")
    page.paragraph(roff.plain(first))
    for one in rest:
        _write(page, one)
    page.heading("OPTIONS")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            page.item(roff.plain(record[0]), [roff.plain(" ".join(record[1].split()))])
    if isinstance(command, click.Group):
        page.heading("COMMANDS")
        for one in command.list_commands(context):
            child = command.get_command(context, one)
            assert child is not None
            [first, *_] = _paragraphs(child.help or "")
            see = f"See {roff.bold(f'{name}-{one}')}({section})."
            page.item(roff.bold(one), [f"{roff.plain(first)} {see}"])
    _write_epilog(page, command.epilog or "")
    return page


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    """Return what click knows of a command; the last word of its page's name calls it."""
    word = (
        name if parent is None else name.removeprefix(f"{parent.command_path}-".replace(" ", "-"))
    )
    return click.Context(command, info_name=word, parent=parent, **command.context_settings)


def _hook_page() -> roff.Page:
    """Return the page of the command that libvirt runs, which has a usage of its own."""
    usage, about, *rest = _paragraphs(USAGE)
    name, _, pieces = usage.removeprefix("Usage: ").partition(" ")
    page = _page(name, 8, _about(about.partition(". ")[0]))
    page.heading("SYNOPSIS")
    page.synopsis(f"{roff.bold(name)} {roff.plain(pieces)}")
    page.heading("DESCRIPTION")
    _write(page, about)
    for one in rest:
        if one.startswith(("Example", "Exit status")):
            _write_epilog(page, one)
        elif one.startswith("  "):
            page.verbatim([line[2:] for line in one.splitlines()])
        else:
            _write(page, one)
    return page


def _paragraphs(text: str) -> list[str]:
    return [one.strip("\n") for one in re.split(r"\n\s*\n", text.strip())]


def _about(first: str) -> str:
    """Return what a command does, as a manual page has it after the name."""
    text = " ".join(first.split()).removesuffix(".")
    return text[0].lower() + text[1:]


def _write(page: roff.Page, paragraph: str) -> None:
    """Write a paragraph of help; one that begins with a backspace stands as it is, as for click."""
    if paragraph.startswith("\b"):
        page.verbatim([line.removeprefix("  ") for line in paragraph.splitlines()[1:]])
    else:
        page.paragraph(roff.plain(" ".join(paragraph.split())))


def _write_epilog(page: roff.Page, epilog: str) -> None:
    """Write the examples and exit statuses at the end of a help text."""
    begun = False
    for paragraph in _paragraphs(epilog):
        text = paragraph.removeprefix("\b").strip("\n")
        if text.startswith("Exit status: "):
            page.heading("EXIT STATUS")
            statuses = " ".join(text.split()).removeprefix("Exit status: ").removesuffix(".")
            for one in re.split(r"[,;] (?=\d )", statuses):
                number, _, meaning = one.partition(" ")
                page.item(roff.bold(number), [roff.plain(meaning)])
        elif text:
            if not begun:
                page.heading("EXAMPLES")
            begun = True
            first, *lines = text.splitlines()
            heading = re.sub(r"^Examples?:\s*", "", first)
            if heading:
                page.paragraph(roff.plain(heading[0].upper() + heading[1:]))
            page.verbatim([line.removeprefix("  ") for line in lines])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
