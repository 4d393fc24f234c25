"""What a terminal acts on, in any attribute of a host or in an argument, is never printed."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from lxml import etree

from nodedevd.cli import events
from nodedevd.cli.completion import DeviceType, VgpuTypeType
from nodedevd.cli.main import main
from nodedevd.cli.options import print_text_of_json, print_xml
from nodedevd.client import Event
from nodedevd.host.archive.disk import write_archive
from nodedevd.host.archive.text import read_archive
from nodedevd.host.archive.tree import ENDING, Archive
from nodedevd.text import printable
from nodedevd.xml_writer import UNSEEN, escape, escape_attribute
from tests.support.hosts import host_file
from tests.support.kept_archives import keep

EVIL = (
    "\x01\x07\x08\t\v\f\r\x1b[31m\x1b]0;x\x07\x7f\x80\x85\x90\x9b31m\xad\u034f\u061c\u115f\u180e\u200b"
    "\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\u3164\ufe0f\ufeff\uffa0\ufff9"
    "\U0001d173\U000e0001\U000e0101"
)
RAW = EVIL.encode() + b"\x9b32m\x85\xff"
"""The same, and C1 as single bytes, which is no UTF-8."""
HOSTS = ("vgpu-sriov", "vgpu-vendor-vfio", "server-storage-fc", "laptop-usb-wifi", "s390x-ap-ccw")
COMMANDS = (
    ("doctor",),
    ("doctor", "--json"),
    ("dumpxml", "--all"),
    ("dumpxml", "--all", "--json"),
    ("dumpxml", "--all", "--format", "libvirt"),
    ("fits",),
    ("fits", "--json"),
    ("fits", "x"),
    ("in-use",),
    ("in-use", "--json"),
    ("list",),
    ("list", "--all", "--json"),
    ("metrics",),
    ("metrics", "--format", "prometheus"),
    ("metrics", "--json"),
    ("show", "--all"),
    ("status",),
    ("status", "--json"),
    ("tree", "--all"),
    ("tree", "--json"),
    ("types",),
    ("types", "--json"),
    ("types", "--functions"),
    ("schema",),
)


def unseen(text: str) -> set[str]:
    """Return the characters of a text that a terminal acts on or does not show."""
    used = set(text)
    hidden = {one for one in used if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    return (hidden | set(re.findall(f"[{UNSEEN}]", "".join(used)))) - {"\n"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a copy of a sample host with all of them at the end of every text."""
    copy = Archive()
    for path, content, mode in read_archive(str(host_file(request.param))).walk():
        if isinstance(content, list):
            copy.add_directory(path, mode)
        elif isinstance(content, str):
            copy.add_link(path, content)
        else:
            data = b"".join(_with_evil(content)) if _is_text(content) else content
            copy.add_file(path, data, mode)
    file = str(tmp_path_factory.mktemp("host") / f"host{ENDING}")
    write_archive(copy, file)
    keep(file)
    return file


def _is_text(data: bytes) -> bool:
    """Return whether a file is text, and no number or address that readers depend on."""
    lines = data.split(b"\n")
    return b"\0" not in data and not all(re.fullmatch(rb"[0-9a-fx:.-]*", one) for one in lines)


def _with_evil(data: bytes) -> Iterator[bytes]:
    for line in data.splitlines(keepends=True):
        key = line.partition(b"=")[0]
        if key in (b"DRIVER", b"PCI_ID", b"DEVTYPE", b"MAJOR", b"MINOR", b"DEVNAME", b"PRODUCT"):
            yield line
        else:
            yield line.removesuffix(b"\n") + RAW + line[len(line.removesuffix(b"\n")) :]


def run(*arguments: str) -> tuple[int, str]:
    """Run nodedevctl; return its exit status and all that it prints."""
    result = CliRunner(env={"COLUMNS": "100"}).invoke(main, arguments, prog_name="nodedevctl")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout + result.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_prints_no_attribute_as_it_is(host: str, command: Sequence[str]) -> None:
    """Whatever the firmware, a driver, or a device plugged in calls itself."""
    _, output = run("--sysroot", host, *command)
    assert output
    assert unseen(output) == set()


@pytest.mark.slow
def test_attributes_were_read(host: str) -> None:
    """They are in what is printed: JSON has the same value."""
    _, output = run("--sysroot", host, "show", "--all")
    assert "\\u202e" in output
    assert any("\u202e\u2060" in one for one in _strings(json.loads(output)))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)


ARGUMENTS = (
    ("show", EVIL),
    ("dumpxml", EVIL),
    ("hostdev", EVIL),
    ("hostdev", "computer", "--address", EVIL),
    ("resolve", EVIL),
    ("in-use", EVIL),
    ("fits", EVIL),
    ("types", EVIL),
    ("list", "--cap", EVIL),
    ("dumpxml", "--format", EVIL, "computer"),
    ("fits", "--count", EVIL),
    (f"--{EVIL}",),
    ("show", f"--{EVIL}"),
    (EVIL,),
    ("list", EVIL),
    ("wait", "--timeout", EVIL, "x"),
    ("record", f"/nowhere/{EVIL}"),
    ("--sysroot", f"/{EVIL}", "tree"),
    ("--socket", f"/{EVIL}", "tree"),
    ("--socket", f"/{EVIL}", "events"),
    ("schema", EVIL),
)


@pytest.mark.parametrize("raw", [False, True], ids=["text", "bytes"])
@pytest.mark.parametrize(
    "arguments", ARGUMENTS, ids=lambda one: str(one[:2]).encode("ascii", "ignore").decode()
)
def test_error_does_not_print_an_argument_as_it_is(arguments: Sequence[str], raw: bool) -> None:
    """Not even the caller's own: it may have been copied from somewhere."""
    given = [os.fsdecode(one.encode().replace(EVIL.encode(), RAW)) for one in arguments]
    here = [] if given[0].startswith("--s") else ["--sysroot", str(host_file("vgpu-sriov"))]
    status, output = run(*here, *(given if raw else arguments))
    assert status in (1, 2, 3, 5, 6)
    assert unseen(output) == set()


def test_event_is_printed_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor are those of a daemon that does not escape them."""
    line = events.line_of(Event(1, "instance", "changed", name=EVIL, parts=(EVIL,)))
    print_text_of_json(json.dumps({"name": EVIL}, ensure_ascii=False))
    print_xml(f"<name>{EVIL}</name>\n")
    out = capsys.readouterr().out
    assert unseen(line + out) <= {"\t"}
    assert json.loads(out.partition("\n")[0]) == {"name": EVIL}


def test_xml_has_the_same_value() -> None:
    """A character reference for all that XML 1.0 can represent."""
    kept = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "\ufffd", EVIL)
    document = f"<a b='{escape_attribute(EVIL)}'>{escape(EVIL)}</a>"
    assert unseen(document) <= {"\t"}
    element = etree.fromstring(document)
    assert element.text == element.get("b") == kept


def test_text_shows_what_it_does_not_print() -> None:
    r"""As \xNN, \uNNNN or \UNNNNNNNN."""
    assert printable("a\x9bb\u202ec\U000e0101\udc9b\u034f") == (
        r"a\x9bb\u202ec\U000e0101\udc9b\u034f"
    )
    assert printable("Köln 東京 ½") == "Köln 東京 ½"


def test_completion_offers_nothing_with_them(host: str) -> None:
    """Neither words nor their descriptions."""
    found = []
    for kind in (DeviceType(), VgpuTypeType()):
        context = main.make_context("nodedevctl", ["--sysroot", host, "show"])
        found += kind.shell_complete(context, main.params[0], "")
    assert found
    assert unseen("".join(one.value + (one.help or "") for one in found)) == set()


def test_argument_that_is_not_utf8_is_wrong_usage() -> None:
    """A call cannot have it; a daemon is asked nothing."""
    with socket_of_nobody() as path:
        for command in ("show", "dumpxml", "resolve", "in-use", "fits", "types", "hostdev"):
            status, output = run("--socket", path, command, os.fsdecode(b"a\xff"))
            assert (status, unseen(output)) == (2, set())
            assert r"'a\udcff' is not UTF-8" in output


@contextmanager
def socket_of_nobody() -> Iterator[str]:
    """Listen, and answer nothing."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{directory}/s")
        sock.listen()
        yield f"{directory}/s"
