"""The examples of the documentation: how they are parsed, and that they work."""

from __future__ import annotations

import configparser
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import nodedevd.client
from nodedevd.client import (
    AsyncClient,
    AsyncControl,
    CardType,
    Client,
    Control,
    MdevParent,
    MdevType,
    NodedevError,
    Place,
    Vgpu,
    VgpuType,
    Watch,
)
from tests.support.guides import DOCS, Example, Shell, Step, agrees, examples, programs, steps
from tests.support.hosts import host_file, unpacked
from tests.support.lines import Lines
from tests.support.played_control import controlled
from tests.support.running import REPOSITORY, Running, running

PYTHON = DOCS / "python.md"
BOOT = DOCS / "guides" / "wait-at-boot.md"
SCHEDULER = DOCS / "guides" / "feed-a-scheduler.md"


def console(text: str) -> Example:
    """Return a console block with this text."""
    return Example("console", "", text, "a.md:1")


def test_console_is_parsed_into_commands_and_their_output() -> None:
    """A command may have several lines, and its output may be empty."""
    text = "$ cat <<END\n> $ a\n> END\n$ a\n$ true\n$ seq 2\n1\n2\n"
    assert steps(text) == [
        Step("cat <<END\n$ a\nEND\n", ""),
        Step("a\n", ""),
        Step("true\n", ""),
        Step("seq 2\n", "1\n2\n"),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        ("a….c\n", "ab.c\n", True),
        ("a…\n", "a\nb\n", False),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n…\nb\n", "a\n1\n2\nb\n", True),
        ("…\n", "", True),
        ("(a)\n", "a\n", False),
    ],
)
def test_ellipsis_stands_for_what_is_left_out(shown: str, printed: str, expected: bool) -> None:
    """Within a line it stands for any text, alone for any lines; the rest must be equal."""
    assert agrees(shown, printed) is expected


def test_console_with_the_shown_output_passes(tmp_path: Path) -> None:
    """Commands share a shell and the exit status of the last one; errors are output, too."""
    shell = Shell(tmp_path, commands={"greet": ("echo", "hello there,")})
    shell.console(
        console(
            "$ greet you\nhello there, you\n"
            "$ name=value; ls nothing; false\nls: cannot access 'nothing': …\n"
            "$ echo $? $name\n1 value\n"
            "$ nodedevctl --version\nnodedevctl, version …\n"
            "$ cat <<END\n> two\n> lines\n> END\ntwo\nlines\n"
        )
    )


@pytest.mark.parametrize(
    "text", ["$ echo a\nb\n", "$ echo a\n", "$ true\na\n", "$ exit\n$ true\n", "$ echo a\na\nb\n"]
)
def test_console_with_other_output_fails(tmp_path: Path, text: str) -> None:
    """Other output, more or less output, or an early end fails."""
    with pytest.raises(AssertionError, match=r"a\.md:1"):
        Shell(tmp_path).console(console(text))


def test_program_that_fails_or_warns_is_a_failure(tmp_path: Path) -> None:
    """The output is returned; an exception or a warning is a failure."""
    shell = Shell(tmp_path)
    assert shell.python(Example("python", "", "print(1)", "a.md:1")) == "1\n"
    for text in ("raise SystemExit(2)", "open('/dev/null')"):
        with pytest.raises(AssertionError, match=r"a\.md:1"):
            shell.python(Example("python", "", text, "a.md:1"))
    with pytest.raises(AssertionError, match=r"a\.md:1"):
        shell.python(Example("python", "", "print(1)", "a.md:1"), Example("text", "", "2\n", ""))


# -- docs/python.md


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the socket of a daemon on the sample host of the examples."""
    directory = tmp_path_factory.mktemp("card")
    with running(directory, host_file("vgpu-pf")):
        yield directory / "nodedevd.sock"


LAYOUT = """
[[card]]
address = "0000:02:00.0"
vgpus = [{ type = "GRID P40-4C", count = 3 }]
"""
CHANGING = [pair for pair in programs(PYTHON) if "Control" in pair[0].text]
READING = [pair for pair in programs(PYTHON) if pair not in CHANGING]


@pytest.mark.parametrize(("program", "output"), READING, ids=str)
def test_program_of_the_python_documentation_prints_what_it_shows(
    tmp_path: Path, card: Path, program: Example, output: Example
) -> None:
    """It runs unchanged against a daemon, without a warning."""
    Shell(tmp_path, socket_path=card).python(program, output)


@pytest.mark.parametrize(("program", "output"), CHANGING, ids=str)
def test_program_that_changes_a_host_prints_what_it_shows(
    tmp_path: Path, program: Example, output: Example
) -> None:
    """It runs unchanged against the control service of a played host."""
    host = tmp_path / "host"
    unpacked("vgpu-pf", host)
    file = host / "etc/nodedevd/layout.d/p40.toml"
    file.parent.mkdir(parents=True)
    file.write_text(LAYOUT)
    shell = Shell(tmp_path)
    with controlled(host) as socket:
        shell.environment["NODEDEVD_CONTROL_SOCKET"] = str(socket)
        shell.python(program, output)


def test_python_documentation_shows_every_verb_in_both_forms() -> None:
    """Every method of the client has an example, and all examples are run."""
    shown = [program.text for program, _ in programs(PYTHON)]
    assert len(shown) == len(examples(PYTHON, "python"))
    blocking = "".join(text for text in shown if "async" not in text)
    awaiting = "".join(text for text in shown if "async" in text)
    for kind, text in (
        (Client, blocking),
        (AsyncClient, awaiting),
        (Control, blocking),
        (AsyncControl, awaiting),
    ):
        verbs = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}
        calls = rf"{'control' if 'Control' in kind.__name__ else 'client'}\.(\w+)\("
        assert verbs - set(re.findall(calls, blocking + awaiting)) == {"close"}
        in_both = {name for name in verbs if "_json" not in name} - {"close", "act", "apply"}
        assert in_both <= set(re.findall(calls, text))


def test_python_documentation_names_every_option_condition_and_error() -> None:
    """No parameter, condition or error is missing."""
    text = PYTHON.read_text()
    for function in (Client.__init__, Client.watch, Client.wait_for, Client.snapshot, Watch.next):
        for name in set(inspect.signature(function).parameters) - {"self", "path", "condition"}:
            assert re.search(rf"\b{name}\b", text), name
    for name in nodedevd.client.__all__:
        public = getattr(nodedevd.client, name)
        if isinstance(public, type) and issubclass(public, NodedevError):
            assert public is NodedevError or f"| `{name}` | `{public.code}` |" in text
        elif inspect.isfunction(public):
            assert f"| `{name}(" in text


def test_python_documentation_names_every_field_of_vgpus() -> None:
    """Of the capabilities that are about vGPUs, and of the answers."""
    text = PYTHON.read_text()
    for kind in (MdevParent, MdevType, Vgpu, VgpuType, CardType, Place):
        assert f"`{kind.__name__}`" in text
        for name in kind.__struct_fields__:
            assert f"`{name}`" in text, f"{kind.__name__}.{name}"


# -- docs/guides/wait-at-boot.md


def test_commands_of_the_guide_for_boot_print_what_it_shows(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A reader can type them in a clone, one after the other."""
    directory = tmp_path_factory.mktemp("boot")  # short: it becomes part of a socket's path
    Shell(directory).console(*examples(BOOT, "console"), start_in=REPOSITORY)


def boot_units() -> dict[str, str]:
    """Return the units of the guide by name."""
    return {example.title: example.text for example in examples(BOOT, "ini")}


def test_wait_of_the_unit_for_boot_ends_well(tmp_path: Path) -> None:
    """The command of ExecStart= and all conditions of the guide succeed."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(boot_units()["vgpu-ready.service"])
    command = parser["Service"]["ExecStart"].removeprefix("/usr/bin/")
    rows = re.findall(r"^\| `(--.+?)` \|", BOOT.read_text(), re.MULTILINE)
    assert len(rows) == 4
    timeout = shlex.split(command)[-1]
    assert float(timeout) < float(parser["Service"]["TimeoutStartSec"])
    with running(tmp_path, host_file("vgpu-sriov")):
        shell = Shell(tmp_path, socket_path=tmp_path / "nodedevd.sock")
        for line in [command, *(f"nodedevctl wait {row} --timeout 0" for row in rows)]:
            done = subprocess.run(["bash", "-c", line], env=shell.environment)
            assert done.returncode == 0, line


@pytest.mark.needs("systemd-analyze")
def test_units_of_the_guide_for_boot_pass_systemd_analyze_verify(tmp_path: Path) -> None:
    """They are checked beside nodedevd's own units and a service that needs the card."""
    for path in (REPOSITORY / "systemd").iterdir():
        shutil.copy(path, tmp_path)
    consumer = tmp_path / "libvirtd.service"
    consumer.write_text("[Service]\nExecStart=/usr/bin/libvirtd\n")
    override = tmp_path / "libvirtd.service.d" / "override.conf"
    override.parent.mkdir()
    units = boot_units()
    override.write_text(units["libvirtd.service"])
    (tmp_path / "vgpu-ready.service").write_text(units["vgpu-ready.service"])
    for path in tmp_path.glob("*.service"):  # systemd wants to find what is started
        path.write_text(
            re.sub(r"(?<=^ExecStart=)\S+", sys.executable, path.read_text(), flags=re.M)
        )

    def verify(name: str) -> tuple[int, str]:
        done = subprocess.run(
            ["systemd-analyze", "--no-pager", "--man=no", "verify", str(tmp_path / name)],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_COLORS": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    for name in ("vgpu-ready.service", "libvirtd.service"):
        assert verify(name) == (0, "")
    (tmp_path / "vgpu-ready.service").unlink()
    _, out = verify("libvirtd.service")
    assert "vgpu-ready.service" in out  # the drop-in asks for it


# -- docs/guides/feed-a-scheduler.md


def test_commands_of_the_guide_for_schedulers_change_what_the_program_prints(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A reader can type them in a clone, and run the program beside them."""
    directory = tmp_path_factory.mktemp("feed")  # short: it becomes part of a socket's path
    (feed,) = examples(SCHEDULER, "python")
    (directory / "feed.py").write_text(feed.text)
    shown = {one.title: one.text.strip() for one in examples(SCHEDULER, "text")}
    consoles = {one.title: one for one in examples(SCHEDULER, "console")}

    def until_printed(title: str) -> Example:
        line = shlex.quote(shown[title])
        # -s: the program may not have been started yet, and the file is missing.
        return console(f"$ until grep -sqxF {line} printed; do sleep 0.05; done\n")

    Shell(directory).console(
        consoles.pop("daemon"),
        console(f"$ python3 {directory}/feed.py > printed 2>&1 &\n"),
        until_printed("begin"),
        consoles.pop("create"),
        until_printed("changed"),
        start_in=REPOSITORY,
    )
    assert consoles == {}


def test_program_that_feeds_a_scheduler_pushes_every_change(tmp_path: Path) -> None:
    """It pushes the first counts, a change, and a change during a restart of the daemon."""
    host = tmp_path / "host"
    unpacked("vgpu-pf", host)
    types = host / "sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/mdev_supported_types"
    shown = {one.title: one.text.strip() for one in examples(SCHEDULER, "text")}
    (feed,) = examples(SCHEDULER, "python")

    def offer(**counts: int) -> None:
        for name, count in counts.items():
            new = tmp_path / "new"
            new.write_text(f"{count}\n")
            new.rename(types / name.replace("_", "-") / "available_instances")

    def serve() -> AbstractContextManager[Running]:
        return running(tmp_path, host, "--reconcile", "0.05")

    shell = Shell(tmp_path, socket_path=tmp_path / "nodedevd.sock")
    with serve() as daemon:
        program = subprocess.Popen(
            [sys.executable, "-c", feed.text], env=shell.environment, stdout=subprocess.PIPE
        )
        assert program.stdout is not None
        lines = Lines(program.stdout)
        try:
            assert lines.next() == shown["begin"]
            offer(nvidia_283=3)
            assert lines.next() == shown["changed"]
            daemon.stop(signal.SIGKILL)
            offer(nvidia_156=12, nvidia_283=6)
            with serve():
                assert lines.next() == shown["emptied"]
        finally:
            program.kill()
            program.wait()
            program.stdout.close()


def test_program_that_feeds_a_scheduler_pushes_profiles_of_vendor_vfio(tmp_path: Path) -> None:
    """The functions that can take a profile come with it, and a card without any is pushed, too."""
    (feed,) = examples(SCHEDULER, "python")
    shell = Shell(tmp_path, socket_path=tmp_path / "nodedevd.sock")
    with running(tmp_path, host_file("vgpu-vendor-vfio")):
        program = subprocess.Popen(
            [sys.executable, "-c", feed.text], env=shell.environment, stdout=subprocess.PIPE
        )
        assert program.stdout is not None
        lines = Lines(program.stdout)
        try:
            first, second = json.loads(lines.next()), json.loads(lines.next())
        finally:
            program.kill()
            program.wait()
            program.stdout.close()
    assert first["card"] == "pci_0000_26_00_0"
    assert first["free"]["1150"]["available"] == len(first["free"]["1150"]["on"]) == 5
    assert "pci_0000_26_00_7" in first["free"]["1150"]["on"]
    assert second == {"card": "pci_0000_5e_00_0", "free": {}}
