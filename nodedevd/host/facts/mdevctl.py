"""mdevctl: its program, the udev rule that autostarts definitions, and its scripts.

Reads  {/usr,/usr/local}/{sbin,bin}/mdevctl; 60-mdevctl.rules in udev's directories of rules;
       scripts.d below /etc/mdevctl.d and /usr/lib/mdevctl; permissions below /etc/mdevctl.d;
       whether there is /run/nodedevd/autostart
Form   udev(7); mdevctl(8), "Callouts" and "Notifiers"
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator

import msgspec

from nodedevd.host.lines import lines_of
from nodedevd.host.tolerant import TolerantReads
from nodedevd.names import is_uuid
from nodedevd.text import printable_path

_PROGRAMS = [
    f"{prefix}/{name}/mdevctl" for prefix in ("/usr", "/usr/local") for name in ("sbin", "bin")
]
_RULE_DIRECTORIES = (
    *("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d"),
    *("/usr/lib/udev/rules.d", "/lib/udev/rules.d"),
)
_RULE = "60-mdevctl.rules"
_CALL = re.compile(r"(/[\w./+-]*/mdevctl)[ \t]+start-parent-mdevs")
_DEFINITIONS = "/etc/mdevctl.d"
_SCRIPTS = (f"{_DEFINITIONS}/scripts.d", "/usr/lib/mdevctl/scripts.d")
"""Of mdevctl 1.2 and before, and of later releases, which read both."""
_KINDS = ("callouts", "notifiers")
_AUTOSTART = "/run/nodedevd/autostart"
"""Made by nodedevd-control-autostart.service."""


class Mdevctl(msgspec.Struct, frozen=True):
    """What is installed of mdevctl, and what of it does not work."""

    programs: tuple[str, ...] = ()
    """paths of the installed program"""
    rule: str | None = None
    """path of the udev rule that starts definitions along with their parents"""
    missing_program: str | None = None
    """the program that the rule runs, if there is no such file"""
    has_other_autostart: bool = False
    """whether nodedevd-control starts definitions along with their parents"""
    has_script_directories: bool = True
    """whether the directories exist without which mdevctl refuses every command"""
    not_executable: tuple[str, ...] = ()
    """scripts that mdevctl cannot run"""
    misplaced: tuple[str, ...] = ()
    """scripts beside the directories of scripts, which mdevctl never runs"""
    writable: tuple[str, ...] = ()
    """definitions, scripts and their directories that every user may change"""


def read_mdevctl(reads: TolerantReads) -> Mdevctl:
    """Read what is installed. What cannot be read counts as absent."""
    programs = tuple(filter(reads.exists, _PROGRAMS))
    rule, text = _read_rule(reads)
    called = _CALL.search(text)
    complete = [all(reads.exists(f"{one}/{kind}") for kind in _KINDS) for one in _SCRIPTS]
    scripts = list(_scripts(reads))
    return Mdevctl(
        programs=programs,
        rule=rule,
        missing_program=called[1] if called and not reads.exists(called[1]) else None,
        has_other_autostart=reads.exists(_AUTOSTART),
        has_script_directories=not programs or any(complete),
        not_executable=_printable(one for one in scripts if not (reads.mode(one) or 0) & 0o111),
        misplaced=_printable(_misplaced(reads)),
        writable=_printable(
            path
            for path in (*_definitions(reads), *scripts)
            if (reads.mode(path) or 0) & stat.S_IWOTH
        ),
    )


def _read_rule(reads: TolerantReads) -> tuple[str | None, str]:
    """Return path and text of the rule; the first directory that has it counts."""
    for directory in _RULE_DIRECTORIES:
        path = f"{directory}/{_RULE}"
        if reads.exists(path):
            data = reads.data(path)
            if data is None:
                return None, ""  # a link to /dev/null masks the rule
            text = data.decode("utf-8", "replace")
            lines = [line for line in lines_of(text) if not line.lstrip().startswith("#")]
            text = "\n".join(lines)
            return (path, text) if _CALL.search(text) else (None, "")
    return None, ""


def _definitions(reads: TolerantReads) -> Iterator[str]:
    """Yield the paths of all definitions, of their directories, and of that of the scripts."""
    for directory in _below(reads, _DEFINITIONS):
        yield directory
        for name in reads.names(directory):
            if is_uuid(name):
                yield f"{directory}/{name}"


def _scripts(reads: TolerantReads) -> Iterator[str]:
    for base in _SCRIPTS:
        for kind in _KINDS:
            yield from _below(reads, f"{base}/{kind}")


def _misplaced(reads: TolerantReads) -> Iterator[str]:
    for base in _SCRIPTS:
        for path in _below(reads, base):
            if path.rpartition("/")[2] not in _KINDS:
                yield path


def _below(reads: TolerantReads, directory: str) -> Iterator[str]:
    """Yield the paths of all entries of a directory."""
    for name in reads.names(directory):
        path = f"{directory}/{name}"
        if reads.exists(path):  # a recording keeps what it asks for
            yield path


def _printable(paths: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(printable_path, paths)))
