"""The manual pages are made of every command, whole, and are valid man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from nodedevd.cli.main import main
from tests.support import roff
from tests.support.man_pages import pages

PAGES = {page.file_name: str(page) for page in pages()}
MACROS = {"TH", "SH", "SS", "PP", "TP", "IP", "RS", "RE", "EX", "EE"}


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, with the names of their pages."""
    yield f"{name}.1", command
    for one in getattr(command, "commands", {}).values():
        yield from commands(one, f"{name}-{one.name}")


def shown(page: str) -> str:
    """Return the words of a page, without its markup and where its lines end."""
    text = re.sub(r"^\.[A-Z]{2}.*$|\\f.|\\&", "", page, flags=re.MULTILINE)
    for written, meant in ((r"\(aq", "'"), (r"\(ga", "`"), (r"\(ha", "^"), (r"\(ti", "~")):
        text = text.replace(written, meant)
    return " ".join(text.replace(r"\-", "-").replace(r"\e", "\\").split())


def test_every_command_has_a_page_with_all_of_its_help() -> None:
    """Each word of help, options and epilog, in its order; no sentence is cut."""
    for name, command in commands(main, "nodedevctl"):
        text = shown(PAGES[name])
        help_text = (command.help or "").replace("\b", "")
        assert " ".join(help_text.split()) in text or "\b" in (command.help or ""), name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert " ".join((parameter.help or "").split()) in text, (name, parameter.name)
        for line in (command.epilog or "").splitlines():
            if line.startswith("  "):
                assert " ".join(line.split()) in text, (name, line)


def test_pages_are_those_of_all_programs_and_the_interface() -> None:
    """The section is in the name."""
    others = {name for name in PAGES if not name.startswith("nodedevctl")}
    assert others >= {
        *("nodedevd.8", "nodedevd-control.8", "nodedevd-libvirt-hook.8"),
        *("nodedevd-metrics.8", "nodedevd-publish.8"),
        "org.nodedevd.Devices.7",
    }


@pytest.mark.parametrize("name", PAGES)
def test_page_is_well_formed(name: str) -> None:
    """Known macros alone, in pairs where they are pairs; lines that mandoc does not find long."""
    lines = PAGES[name].splitlines()
    assert lines[0].startswith(".TH ")
    assert lines[1] == '.SH "NAME"'
    used = [line[1:3] for line in lines if line.startswith(".")]
    assert set(used) <= MACROS
    assert used.count("EX") == used.count("EE")
    assert used.count("RS") == used.count("RE")
    code = False
    for line in lines:
        code = line == ".EX" or (code and line != ".EE")
        assert code or " " not in line or len(line.encode()) <= 80, line


def test_markdown_becomes_a_page() -> None:
    """Headings, paragraphs, lists, tables of two and more columns, code."""
    page = roff.Page("x", 5, "an example", date="2026-01-02", version="1")
    page.markdown(
        "## One\n\n.A `b` **c** *d* [e](f.md) [g](https://h)\n\n- first\n  on\n- second\n\n"
        "| k | v |\n| --- | --- |\n| `a` | b \\| c |\n\n"
        "| k | v | w |\n| --- | --- | --- |\n| a | b | c |\n\n"
        "### Two\n\n```\n.TH \\n\n```\n"
    )
    assert str(page) == (
        '.TH "X" "5" "2026-01-02" "nodedevd 1" "nodedevd"\n'
        '.SH "NAME"\nx \\- an example\n'
        '.SH "ONE"\n\\&.A \\fBb\\fP \\fBc\\fP \\fId\\fP e g <https://h>\n'
        ".TP\n\\(bu\nfirst on\n.TP\n\\(bu\nsecond\n"
        ".TP\n\\fBa\\fP\nb | c\n"
        ".TP\na\nv: b\n.IP\nw: c\n"
        '.SS "Two"\n.RS 4\n.EX\n\\&.TH \\en\n.EE\n.RE\n'
    )
