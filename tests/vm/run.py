"""Boots the VM, runs the guest's tests in it, and then what is to be seen outside.

Example: all of it; or the tests of one file, and keep what the VM has left behind; or the packages
  python -m tests.vm.run
  python -m tests.vm.run --keep /tmp/vm -k test_mdev
  python -m tests.vm.run --power-off
  python -m tests.vm.run --packages dist

Exit status: 0 all passed, 1 something failed, 2 wrong usage, 77 the VM's packages cannot be had.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL

from tests.vm.hardware import command

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
UNAVAILABLE = 77
LIMIT_SECONDS = 5400
"""after which a VM that is not done is taken for stuck"""
CONSOLE_LINES = 40
QUICK = ("-m", "not exhaustive")
PRESERVED = "--preserve-env=DEBIAN_MIRROR"
RULE = "=" * 78
COCKPIT = (
    *("cockpit-ws", "cockpit-bridge", "python3-selenium"),
    *("chromium", "chromium-driver", "chromium-headless-shell"),
)
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""Releases of Debian that the guest can be of, with their Python."""
# C libraries up to Debian 12's own.
TARGET = ["--only-binary=:all:", "--implementation=cp"] + [
    f"--platform={name}_x86_64" for name in ("manylinux2014", "manylinux_2_28", "manylinux_2_34")
]

started = time.monotonic()


class Failed(Exception):
    """What was to be done before the tests did not work; says why, and the exit status."""

    def __init__(self, reason: str, status: int = 1) -> None:
        super().__init__(reason)
        self.status = status


def say(text: str) -> None:
    """Print a line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - started:4.0f} s] {text}", flush=True)


def pip(*arguments: str) -> None:
    """Run pip, which has to succeed."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments, "-q"])
    if done.returncode:
        raise Failed(f"pip {arguments[0]} failed")


def collect_wheels(cache: Path, suite: str, *, packaged: bool) -> None:
    """Have the wheel under test in the cache, and those of what it needs.

    With packages there are those alone that Debian does not have.
    """
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    wanted = [] if packaged else [*project["dependencies"], *optional["metrics"]]
    if suite != "bookworm":  # whose server of NATS is too old
        wanted += optional["fleet"]
    wheels, stamp = cache / "wheels", cache / "wheels.stamp"
    if not stamp.exists() or stamp.read_text() != repr(wanted):
        say(f"fetching wheels: {', '.join(wanted)}")
        shutil.rmtree(wheels, ignore_errors=True)
        python = f"--python-version={PYTHONS[suite]}"
        pip("download", "--dest", str(wheels), python, *TARGET, *wanted)
        stamp.write_text(repr(wanted))
    for old in wheels.glob("nodedevd-*.whl"):
        old.unlink()
    if packaged:
        return
    with tempfile.TemporaryDirectory() as source:  # setuptools builds where the source is
        for name in ("nodedevd", "pyproject.toml", "README.md"):
            subprocess.run(["cp", "-r", str(REPOSITORY / name), source], check=True)
        pip("wheel", "--no-deps", "--wheel-dir", str(wheels), source)


def build(cache: Path, suite: str, packages: Path | None, more: Sequence[str]) -> None:
    """Build what is booted, unless it is there; `more` are packages of Debian's for the guest."""
    debs = [] if packages is None else sorted(map(str, packages.resolve().glob("*.deb")))
    if packages is not None and not debs:
        raise Failed(f"{packages} has no packages; make deb builds them")
    as_root = [] if os.geteuid() == 0 or shutil.which("sudo") is None else ["sudo", "-n", PRESERVED]
    done = subprocess.run([*as_root, str(HERE / "build.sh"), str(cache), suite, *debs, *more])
    if done.returncode:
        raise Failed("no VM to test in", done.returncode)


def fill(share: Path, arguments: Sequence[str]) -> None:
    """Put into a directory what the VM mounts: the units and the tests."""
    for name in ("tests", "systemd", "cockpit"):
        shutil.copytree(
            REPOSITORY / name, share / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(HERE / "agent", share)
    (share / "arguments").write_text("".join(f"{argument}\n" for argument in arguments))
    (share / "out").mkdir()


def relay(server: socket.socket) -> None:
    """Print what the VM prints on its second serial line, until it is gone."""
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(1 << 16):
            sys.stdout.buffer.write(data.replace(b"\r\n", b"\n"))
            sys.stdout.buffer.flush()


def boot(cache: Path, run: Path, share: Path, root: Path | None, *, audit: bool) -> int:
    """Run the VM to its end, and return the exit status of the tests in it.

    With a disk of its own, `root`, it is booted again from that each time it has its power cut.
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run / "output"))
        server.listen()
        call = command(cache, run, share, root=root, audit=audit)
        while run_once(call, server, share / "out/cut"):
            say("the power is cut; booting again")
    status = share / "out/status"
    if not status.exists():
        console = (run / "console.log").read_text(errors="replace").splitlines()
        print("The VM's console, its last lines:", *console[-CONSOLE_LINES:], sep="\n  ")
        raise Failed("the VM ended without a result")
    return int(status.read_text())


def run_once(qemu: Sequence[str], server: socket.socket, cut: Path) -> bool:
    """Run the VM until it is off; or until it asks for its power to be cut, and return True."""
    printing = threading.Thread(target=relay, args=[server], daemon=True)
    printing.start()
    process = subprocess.Popen(qemu, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + LIMIT_SECONDS
    try:
        while process.poll() is None and not cut.exists():
            if time.monotonic() >= deadline:
                say(f"the VM is not done after {LIMIT_SECONDS} s; it is ended")
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    printing.join(10)
    if not cut.exists():
        return False
    cut.unlink()
    return True


def test(
    cache: Path,
    keep: Path | None,
    arguments: Sequence[str],
    *,
    suite: str,
    packages: Path | None,
    more: Sequence[str],
    only_build: bool,
    quick: bool,
    power_off: bool,
) -> int:
    """Do everything, or only build the VM, and return the exit status."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock, tempfile.TemporaryDirectory() as directory:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one VM at a time is enough for a machine
        collect_wheels(cache, suite, packaged=packages is not None)
        build(cache, suite, packages, more)
        if only_build:
            return 0
        run, share = Path(directory), Path(directory, "share")
        share.mkdir()
        fill(share, [*(QUICK if quick else ()), *arguments])
        say("booting the VM; under emulation this takes half a minute or more")
        root = None
        if power_off:
            root = run / "root.img"
            subprocess.run(
                ["cp", "--sparse=always", "--reflink=auto", cache / "root.img", root], check=True
            )
            # The image has no journal, which a file system that loses its power needs.
            subprocess.run(["tune2fs", "-O", "has_journal", root], check=True, stdout=DEVNULL)
            (share / "out/most-boots").write_text("100\n")
        status = boot(cache, run, share, root, audit=packages is not None)
        say("the VM is off")
        if keep is not None:
            shutil.copytree(share / "out", keep, dirs_exist_ok=True)
            say(f"what it left is in {keep}")
        if status == 0 and not arguments and not power_off:
            status = outside(share / "out")
    say("passed" if status == 0 else f"FAILED: status {status}")
    return min(status, 1)


def outside(left: Path) -> int:
    """Run the tests of what the VM has left, on this machine."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-q", str(HERE / "outside")],
        env={**os.environ, "NODEDEVD_VM": str(left)},
        cwd=REPOSITORY,
    ).returncode


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="Where the VM is built.")
    parser.add_argument(
        "--suite",
        choices=PYTHONS,
        default="bookworm",
        help="The guest's Debian, with its kernel.",
    )
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="Test the packages in DIR, as make deb builds them, on trixie and under AppArmor.",
    )
    parser.add_argument(
        "--cockpit",
        action="store_true",
        help="Give the guest Cockpit and Chromium, 500 MB more. Run: -k test_cockpit",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="Copy what the VM left there.")
    parser.add_argument("--build", action="store_true", help="Build the VM, and no more.")
    parser.add_argument(
        "--quick", action="store_true", help="Leave out the searches of many cases."
    )
    parser.add_argument(
        "--power-off",
        action="store_true",
        help="Cut the power at each step of a layout that is applied, in place of all other tests.",
    )
    parser.add_argument(
        "--optional", action="store_true", help="Without the packages, say so and exit with 0."
    )
    options, arguments = parser.parse_known_args()
    try:
        suite = options.suite if options.packages is None else "trixie"
        name = "nodedevd-vm" if suite == "bookworm" else f"nodedevd-vm-{suite}"
        if options.packages is not None:
            name = "nodedevd-vm-packages"
        name += "-cockpit" if options.cockpit else ""
        return test(
            (options.cache or caches / name).resolve(),
            options.keep,
            arguments,
            suite=suite,
            packages=options.packages,
            more=COCKPIT if options.cockpit else (),
            only_build=options.build,
            quick=options.quick,
            power_off=options.power_off,
        )
    except Failed as failure:
        if options.optional and failure.status == UNAVAILABLE:
            print(f"\n{RULE}\nSKIPPED: nothing was tested on a real kernel. {failure}\n{RULE}\n")
            return 0
        print(f"vm-test: {failure}", file=sys.stderr)
        return failure.status


if __name__ == "__main__":
    sys.exit(main())
