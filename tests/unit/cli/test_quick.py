"""Commands are loaded when they are called, and a plain list needs none of them."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import click
import pytest

from nodedevd.cli import __main__ as program
from nodedevd.cli.commands import COMMANDS
from nodedevd.cli.embedded import Embedded
from nodedevd.cli.main import main
from nodedevd.cli.quick_call import ask
from nodedevd.cli.quick_list import listed, parsed
from tests.support.ctl import on
from tests.support.hosts import host_file
from tests.support.scripted import answering
from tests.unit.cli.test_quick_completion import reply

HOST = "vgpu-two-generations"


def test_table_has_every_command_and_its_help() -> None:
    """The texts of the table are those of the commands, which --help does not load."""
    context = click.Context(main)
    assert main.list_commands(context) == sorted(COMMANDS)
    for name, late in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert (command.name, command.get_short_help_str(1000)) == (name, late.short_help)


def test_every_file_of_a_command_is_in_the_table() -> None:
    """A command that is forgotten there would not exist."""
    files = {one.place.partition(":")[0].rpartition(".")[2] for one in COMMANDS.values()}
    decorated = {
        path.stem
        for path in Path(program.__file__).parent.glob("*.py")
        if "\n@click.command(" in path.read_text(encoding="utf-8")
    }
    # Those of `layout` are in its own module.
    assert {one for one in decorated if not one.startswith("layout_")} | {"layout"} == files


def test_completion_of_a_command_is_that_of_the_loaded_ones() -> None:
    """Names and texts, before and after the commands are loaded."""
    context = click.Context(main)
    found = [(one.value, one.help) for one in main.shell_complete(context, "s")]
    assert [name for name, _ in found] == ["schema", "show", "start", "status", "stop"]
    for name, text in found:
        command = main.get_command(context, name)
        assert command is not None
        assert text == command.get_short_help_str()
    assert {one.value for one in main.shell_complete(context, "--")} >= {"--socket", "--version"}


@pytest.mark.parametrize(
    "arguments", [[], ["--cap", "vgpu,pci"], ["--cap", "net", "--cap", "mdev"]]
)
def test_quick_list_prints_what_the_command_prints(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, in the order of virsh, without mdevs that are only defined."""
    words = [word for one in arguments[1::2] for word in one.split(",")] or None
    source = Embedded(str(host_file(HOST)))
    devices = [
        {"name": one.name, "state": one.state, "other": 1} for one in source.list(words).devices
    ]
    with answering(tmp_path, [reply(devices[:2], continues=True) + reply(devices[2:])]) as daemon:
        assert listed(["list", *arguments, "--socket", daemon.path])
        sent = daemon.calls[0][0]
    assert capsys.readouterr().out == on(HOST).out("list", *arguments)
    assert (sent.method, sent.more) == ("org.nodedevd.Devices.List", True)
    assert daemon.parameters(0) == ({} if words is None else {"capabilities": words})


@pytest.mark.parametrize(
    "line",
    [
        *("list --json", "list --all", "list --inactive", "list --help", "list x", "list list"),
        *("list --cap nothing", "list --cap", "list --cap=pci", "--cap pci list", "show list"),
        *("--sysroot / list", "list --socket", "--socket a list --socket b", "--fleet x list", ""),
    ],
)
def test_other_lists_are_left_to_the_command(line: str) -> None:
    """Other options, errors, and lists of something else."""
    assert parsed(line.split()) is None
    assert not listed(line.split())


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"{}\0", b"[1]\0", b"\xff\0", b'{"error": "x.Y", "parameters": {}}\0'),
        *(reply([{"name": "x"}]), reply([{"name": 1, "state": "active"}]), reply([None])),
        *(reply([{"name": name, "state": "active"}]) for name in ("a\x1b[31m", "a\n", "\u034f")),
    ],
)
def test_answer_of_something_else_is_left_to_the_command(
    answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed: the command asks again, and reports what is wrong."""
    with answering(tmp_path, [answer]) as daemon:
        assert not listed(["--socket", daemon.path, "list"])
    assert not listed(["--socket", str(tmp_path / "none"), "list"])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("seconds", [None, 0.01])
def test_daemon_with_a_full_backlog_is_not_passed_over_for_another(
    seconds: float | None, tmp_path: Path
) -> None:
    """The client waits for it; another daemon has other devices."""
    with ExitStack() as opened:
        busy, other = (opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        for path, listener in (("busy", busy), ("other", other)):
            listener.bind(str(tmp_path / path))
            listener.listen(0)
            listener.setblocking(False)
        full = 0
        while not full:
            waiting = opened.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            full = waiting.connect_ex(busy.getsockname())
        with pytest.raises((BlockingIOError, TimeoutError)):
            ask([busy.getsockname(), other.getsockname()], "List", {}, seconds)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_name_that_the_client_has_not_is_an_attribute_error() -> None:
    """Names are imported when they are first used."""
    from nodedevd import client

    assert {*client.__all__} <= {*dir(client)}
    assert all(getattr(client, name).__name__ == name for name in client.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        client.Nothing  # noqa: B018
