"""Programs that a change needs are bounded in time and output, and isolated from the service."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from nodedevd.actions.callouts import callout
from nodedevd.actions.plan import CalloutEvent, RunCallouts
from nodedevd.control.programs import ENVIRONMENT, OUTPUT_BYTES, run
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import Ran, StepHost, StepRefused
from nodedevd.errors import Vetoed
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import Definition
from tests.support.running import PATIENCE_SECONDS

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"


def shell(script: str, *, stdin: bytes = b"", timeout: float | None = PATIENCE_SECONDS) -> Ran:
    """Run a script of the shell."""
    return run(["/bin/sh", "-c", script], stdin=stdin, timeout=timeout)


def test_program_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables, the directory, nor descriptors of the service."""
    monkeypatch.setenv("LD_PRELOAD_LIKE", "x")
    with open("/dev/null") as stream:
        os.set_inheritable(stream.fileno(), True)
        ran = shell("env; pwd; ls /proc/self/fd")
    lines = ran.stdout.decode().split()
    assert {f"{name}={value}" for name, value in ENVIRONMENT.items()} <= set(lines)
    assert "LD_PRELOAD_LIKE=x" not in lines
    assert "/" in lines
    assert {one for one in lines if one.isdigit()} <= {"0", "1", "2", "3"}  # 3: the directory


@pytest.mark.parametrize("timeout", [PATIENCE_SECONDS, None])
def test_input_and_outputs_of_any_size_pass(timeout: float | None) -> None:
    """Both at once; of an output, the beginning is kept."""
    data = bytes(range(256)) * 4096
    ran = shell("tee /dev/stderr", stdin=data, timeout=timeout)
    assert ran == Ran(0, data[:OUTPUT_BYTES], data[:OUTPUT_BYTES])


def test_program_that_reads_nothing_is_no_failure() -> None:
    """It has closed its input, or ended, before all is written."""
    assert shell("exec <&-; exit 3", stdin=b"x" * 1_000_000) == Ran(3, b"", b"")


@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000",
        "yes",
        "exec >&- 2>&-; sleep 1000",
        "sleep 1000 & exit 0",
        "trap '' TERM INT; sleep 1000",
    ],
)
def test_program_that_takes_too_long_is_killed(script: str, tmp_path: Path) -> None:
    """With what it has started, however it waits or prints."""
    with pytest.raises(TimeoutError, match="waiting for /bin/sh"):
        shell(f"echo $$ > {tmp_path}/pid; {script}", timeout=0.5)
    group = int((tmp_path / "pid").read_text())
    until = time.monotonic() + PATIENCE_SECONDS
    while any(_is_of(group, path) for path in Path("/proc").glob("[0-9]*/stat")):
        assert time.monotonic() < until, "something of it still runs"


def _is_of(group: int, path: Path) -> bool:
    """Return whether a process is of a group, and has not ended."""
    try:
        state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(its_group) == group and state not in "ZX"


def test_signal_and_what_cannot_be_run_are_told() -> None:
    """A negative status; OSError."""
    assert shell("kill -SEGV $$").status == -signal.SIGSEGV
    with pytest.raises(OSError, match="No such file"):
        run(["/nowhere"], stdin=b"", timeout=1)


# Scripts of mdevctl, as real programs


TEMPLATE = """#!/bin/sh
echo "$@" >> {log}
cat >> {log}
echo >> {log}
{body}
"""


class Scripts:
    """Scripts of a host."""

    def __init__(self, root: Path) -> None:
        (root / "sys" / "devices").mkdir(parents=True)
        self.root = root
        self.log = root / "log"
        self.host = StepHost(Sysroot(str(root)), lambda path, value: None, _run)

    def install(self, body: str, kind: str = "callouts", name: str = "a.sh") -> None:
        """Install one."""
        path = self.root / "etc" / "mdevctl.d" / "scripts.d" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEMPLATE.format(log=self.log, body=body))
        path.chmod(0o755)

    def do(self, event: CalloutEvent) -> None:
        """Run the step of an event."""
        definition = Definition("mtty-1", autostart=False, attributes=())
        step = callout(event, "start", "mtty", UUID, definition)
        HANDLERS[RunCallouts].do(step, self.host)


def _run(argv: Sequence[str], *, stdin: bytes, timeout: float | None) -> Ran:
    return run(argv, stdin=stdin, timeout=timeout)


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    """No scripts, yet."""
    return Scripts(tmp_path)


def test_scripts_are_run_for_each_event(scripts: Scripts) -> None:
    """They get what mdevctl gives them."""
    scripts.install("exit 0")
    scripts.install("exit 0", kind="notifiers")
    events: tuple[CalloutEvent, ...] = ("pre", "post", "notify")
    for event in events:
        scripts.do(event)
    calls = [line for line in scripts.log.read_text().splitlines() if "-a capabilities" not in line]
    rest = f"-u {UUID} -p mtty"
    definition = '{"mdev_type":"mtty-1","start":"manual","attrs":[]}'
    assert [line for line in calls if line.startswith(("-t", '{"mdev'))] == [
        f"-t mtty-1 -e pre -a start -s none {rest}",
        definition,
        f"-t mtty-1 -e post -a start -s success {rest}",
        definition,
        f"-t mtty-1 -e notify -a start -s success {rest}",
        definition,
    ]


def test_script_vetoes(scripts: Scripts) -> None:
    """With status 1, and its reason."""
    scripts.install('case "$*" in *capabilities*) exit 2;; esac; echo "not today" >&2; exit 1')
    with pytest.raises(Vetoed, match="not today"):
        scripts.do("pre")


@pytest.mark.parametrize("body", ["kill -9 $$", "exec /nowhere/at/all"])
def test_script_that_dies_does_not_let_it_pass(scripts: Scripts, body: str) -> None:
    """Mdevctl would go on after the first."""
    scripts.install(body)
    with pytest.raises((StepRefused, Vetoed)):
        scripts.do("pre")
