"""Completion that does not load the commands proposes what click does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.shell_completion import ShellComplete

from nodedevd.cli import __main__ as program
from nodedevd.cli import quick_completion
from nodedevd.cli.completed_words import COMMANDS
from nodedevd.cli.embedded import Embedded
from nodedevd.cli.main import main
from nodedevd.cli.proposals import QUESTIONS
from nodedevd.cli.quick_completion import VARIABLE, answered, items, wanted
from tests.support.completions import COMMAND, words
from tests.support.hosts import host_file
from tests.support.scripted import answering

HOST = host_file("vgpu-two-generations")


def reply(devices: Any, **more: bool) -> bytes:
    """Return a reply with devices."""
    return (
        msgspec.json.encode({"parameters": {"generation": 1, "devices": devices}, **more}) + b"\0"
    )


def replies(kind: str) -> bytes:
    """Return a daemon's answer for a kind of word, in two replies."""
    source = Embedded(str(HOST))
    question = QUESTIONS[kind]
    answer = source.list() if question.method == "List" else source.snapshot(question.capabilities)
    devices = msgspec.to_builtins(answer.devices)
    return reply(devices[:3], continues=True) + reply(devices[3:])


def test_words_are_those_of_the_commands() -> None:
    """A new command or option has to be followed by the command that writes them."""
    assert words(main) == COMMANDS, f"run: {COMMAND}"


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        *(("show", ""), ("show", "pci_"), ("show", "0000:"), ("dumpxml pci_x", "comp")),
        *(("wait --gone", "mdev"), ("fits --type", "nvidia-"), ("fits --type", "L40S")),
        *(("create", ""), ("bind 0000:26:00.0", ""), ("bind 0000:26:00.0", "vf")),
    ],
)
def test_proposals_are_those_of_click(
    line: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words, their order, and their descriptions."""
    kind = wanted(line.split(), typed)
    assert kind is not None
    completion = ShellComplete(main, {}, "nodedevctl", VARIABLE)
    expected = completion.get_completions(["--sysroot", str(HOST), *line.split()], typed)
    assert expected
    with answering(tmp_path, [replies(kind)]) as daemon:
        monkeypatch.setenv("NODEDEVD_SOCKET", daemon.path)
        found = list(items(kind, typed))
    assert [(one.value, one.help) for one in found] == [(one.value, one.help) for one in expected]


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        *(("", "sh"), ("show", "--js"), ("list --cap", "p"), ("create --owner", "x")),
        *(
            ("--sysroot / show", "x"),
            ("show --socket=/x", ""),
            ("show --socket", ""),
            ("--fleet nats://a show", ""),
            ("--fleet=nats://a show x", ""),
            ("nope", "x"),
        ),
        *(("tree", ""), ("hostdev pci_x", ""), ("schema", "")),
    ],
)
def test_other_words_are_left_to_click(line: str, typed: str) -> None:
    """Names of commands and options, words of no kind, and those of another host."""
    assert wanted(line.split(), typed) is None


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"{}\0", b"[1]\0", b"\xff\0", b'{"error": "x.Y", "parameters": {}}\0'),
        *(reply([{"name": "x"}]), reply([{"name": 1, "path": None, "capabilities": [None]}])),
    ],
)
def test_answer_of_something_else_proposes_nothing(
    answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As no answer does."""
    with answering(tmp_path, [answer]) as daemon:
        monkeypatch.setenv("NODEDEVD_SOCKET", daemon.path)
        assert list(items("device", "")) == []
    monkeypatch.setenv("NODEDEVD_SOCKET", str(tmp_path / "none"))
    assert list(items("device", "")) == []


def test_nobody_waits_for_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment it is left."""
    monkeypatch.setattr(quick_completion, "ANSWER_SECONDS", 0.02)
    with answering(tmp_path, [None]) as daemon:
        monkeypatch.setenv("NODEDEVD_SOCKET", daemon.path)
        assert list(items("device", "")) == []


@pytest.mark.parametrize(
    ("shell", "printed"),
    [
        ("bash", "plain,computer\n"),
        ("zsh", "plain\ncomputer\nsystem\n"),
        ("fish", "plain,computer\tsystem\n"),
    ],
)
def test_program_answers_a_shell(
    shell: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the form that click's scripts for the shells read."""
    monkeypatch.setenv("COMP_WORDS", "nodedevctl show comp")
    monkeypatch.setenv("COMP_CWORD", "comp" if shell == "fish" else "2")
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    with answering(tmp_path, [replies("device")]) as daemon:
        monkeypatch.setenv("NODEDEVD_SOCKET", daemon.path)
        program.main()
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("instruction", ["bash_source", "tcsh_complete", "x"])
def test_other_instructions_are_left_to_click(instruction: str) -> None:
    """Such as the one that prints the script of a shell."""
    assert not answered(instruction)


def test_program_runs_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no shell asks."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", ["nodedevctl", "--version"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("nodedevctl, version")
