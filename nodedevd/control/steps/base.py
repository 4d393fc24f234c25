"""base: what every kind of step has in common: the host it changes, and the four questions to it.

A handler knows one kind of step. It holds no state: what it needs to know is in the step and on
the host, because a step may be undone by another process than the one that did it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from nodedevd.actions.plan import Step
from nodedevd.host.faults import errno_name
from nodedevd.host.sysroot import Sysroot, is_absence

PAUSES: Final = (0.05, 0.2, 0.5, 1.0)
"""Seconds to wait before each further attempt of a write that a driver wants repeated."""

FULL: Final = frozenset({errno.ENOSPC, errno.EUSERS})
"""What drivers answer when nothing is left: mtty, mbochs, GVT-g the one, mdpy the other."""

S = TypeVar("S", contravariant=True)


class StepRefused(Exception):
    """A step did not work, and nothing of it is left except `left`."""

    def __init__(self, number: int, detail: str, left: str | None = None) -> None:
        """Describe the failure.

        Args:
            number: The errno of the kernel; 0 if it was not the kernel that refused.
            detail: Why, as the end of a sentence for people.
            left: What the step changed and could not put back, as such an end too.
        """
        self.number = number
        self.detail = detail
        self.left = left
        super().__init__(number, detail)

    @property
    def errno(self) -> str:
        """The errno's name, such as EBUSY; empty if it was not the kernel that refused."""
        return errno_name(self.number) if self.number else ""


class Overtaken(StepRefused):
    """The host is no longer as the plan found it: another writer was faster. Plan again."""


class InUseNow(Exception):
    """The device was opened after the plan was made."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        self.detail = detail
        super().__init__(path, detail)


class AlreadySo(Exception):
    """Somebody else did the step first: it counts as done, and is never undone."""


@dataclass(frozen=True)
class Ran:
    """What came of a program."""

    status: int
    """exit status; negative: the signal that ended it"""
    stdout: bytes
    stderr: bytes


class Run(Protocol):
    """Runs a program, without a shell; see `StepHost.run`."""

    def __call__(self, argv: Sequence[str], *, stdin: bytes, timeout: float | None) -> Ran:
        """Run it to its end."""


@dataclass
class StepHost:
    """The host that steps change. All paths are the host's own, without the sysroot in front."""

    sysroot: Sysroot
    write_file: Callable[[str, str], None]
    """writes one attribute; raises OSError as the kernel answers"""
    run_program: Run
    pause: Callable[[float], None] = time.sleep
    forced: bool = False
    """whether devices are changed although they are open"""
    touched: bool = False
    """whether an attribute was written, or a program run, since this was set to False"""
    kept_closed: Callable[[str], AbstractContextManager[None]] = lambda path: nullcontext()
    """a context in which nobody else can open the device of a sysfs path through VFIO; raises
    InUseNow if somebody has it open"""

    @property
    def definitions(self) -> str:
        """The directory of mdevctl's definitions, as a path of this process."""
        return os.path.join(self.sysroot.root, "etc/mdevctl.d")

    @property
    def _now(self) -> Sysroot:
        """The sysroot without what was cached of it before the last write."""
        self.sysroot.forget()
        return self.sysroot

    def write(self, path: str, value: str, *, retried: frozenset[int] = frozenset()) -> None:
        """Write a value to an attribute, in one system call.

        It returns when the driver has answered, however long that takes: while a driver hangs, the
        client has its answer and `GetStatus` shows the write.

        Args:
            path: The attribute, without links in it, below /sys.
            value: What is written, as it is.
            retried: The errnos with which the driver asks to try again: a few times, with pauses.

        Raises OSError, with the errno of open(2) or write(2).
        """
        self.touched = True
        for seconds in PAUSES:
            try:
                return self.write_file(path, value)
            except OSError as error:
                if error.errno not in retried:
                    raise
            self.pause(seconds)
        return self.write_file(path, value)

    def read(self, path: str) -> str | None:
        """Return an attribute without its final newline, None if it is absent. Raises OSError."""
        try:
            return self._now.read(path).decode(errors="replace").removesuffix("\n")
        except OSError as error:
            if is_absence(error):
                return None
            raise

    def exists(self, path: str) -> bool:
        """Return whether a path exists. Raises OSError if that cannot be told."""
        return self._now.exists(path)

    def readlink(self, path: str) -> str | None:
        """Return the path that a link points at, None if it is absent. Raises OSError."""
        try:
            return self._now.target(path)
        except OSError as error:
            if is_absence(error):
                return None
            raise

    def names(self, path: str) -> list[str]:
        """List a directory, sorted; an absent one is empty. Raises OSError."""
        try:
            return sorted(self._now.listdir(path))
        except OSError as error:
            if is_absence(error):
                return []
            raise

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None) -> Ran:
        """Run a program to its end, in an environment of its own and without a shell.

        Args:
            argv: The program, by its whole path, and its arguments.
            stdin: What it reads.
            timeout: Seconds after which it is killed. None: it may hang in a driver, and is left
                alone as a write is.

        Raises OSError if it cannot be started, TimeoutError if it was killed.
        """
        self.touched = True
        return self.run_program(argv, stdin=stdin, timeout=timeout)

    def polled(self, seconds: float, interval: float = 0.05) -> Iterator[None]:
        """Yield until so many seconds are over, with pauses: for what the kernel does late."""
        until = time.monotonic() + seconds
        yield
        while time.monotonic() < until:
            self.pause(interval)
            yield


class StepHandler(Protocol[S]):
    """Does one kind of step, and undoes it."""

    def do(self, step: S, host: StepHost) -> Step | None:
        """Do the step, all of it or nothing.

        Returns the step as it has turned out, if that says more than the plan knew. Raises
        AlreadySo; InUseNow and StepRefused, if nothing was done; OSError, which the engine words,
        if that cannot be told.
        """

    def undo(self, step: S, host: StepHost) -> None:
        """Undo the step if the host shows it done; it is success if it is not.

        What somebody else has changed since is left as it is. Raises as `do`.
        """

    def can_undo(self, step: S) -> bool:
        """Return whether the step can be undone."""

    def done(self, step: S, host: StepHost) -> bool | None:
        """Return from the host alone whether the step has been done; None: it cannot be told.

        Raises OSError.
        """


def describe(error: OSError) -> str:
    """Return why a write failed, in words of what the errno means for such a write."""
    if error.errno is None:
        return str(error)
    words = _WORDS.get(error.errno) or os.strerror(error.errno)
    return f"{words} ({errno_name(error.errno)})"


_WORDS: Final = {
    errno.EAGAIN: "the driver is not ready, and asks to try again later",
    errno.EBUSY: "the driver reports that the device is busy",
    errno.EEXIST: "it exists already",
    errno.EINVAL: "the driver does not take this value",
    errno.EIO: "the driver or its device failed",
    errno.ENOENT: "it is no longer there",
    errno.ENODEV: "the device is being removed, or has no driver that could do it",
    errno.ENOSPC: "the card has no room",
    errno.EUSERS: "the card has no room",
    errno.EPERM: "the driver does not allow it in the present state of the device",
    errno.EACCES: "this process may not write to it",
    errno.EROFS: "/sys is mounted read-only here",
    errno.ERANGE: "it is more than the device can do",
    errno.EOPNOTSUPP: "the driver cannot do it",
}
