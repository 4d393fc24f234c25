"""Definitions are byte for byte what the real mdevctl writes, and it reads them, also meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nodedevd.actions.callouts import with_callouts
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.plan import CalloutAction
from nodedevd.control.definitions import (
    DefinitionChanged,
    read_definition,
    read_definitions,
    write_definition,
)
from nodedevd.control.programs import run
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import StepHost
from nodedevd.errors import Vetoed
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import (
    Definition,
    MdevAttribute,
    definition_line,
    definition_text,
    parse_definition,
)
from nodedevd.questions.in_use import VfioUsage

pytestmark = pytest.mark.needs("mdevctl", "namespaces")

PARENT = "0000:41:00.4"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"
_UNSHARE = ("unshare", "--mount", "--propagation", "private", "sh", "-euc")
_BIND = 'mount --bind "$0" /etc/mdevctl.d; '

VALUES = [
    *("", "1", "on", "  two  words ", "a=b,c=d", "/sys/x", "\\", "\\\\n", '"', "'", '{"a": [1]}'),
    *("\n", "\r\n", "\t", "\b\f\v", "\0", "\x01\x1f\x7f\x80\x9f", "\u2028\u2029\ufeff\ufffd"),
    *("grün", "日本語", "🖥", "\U0010ffff", "\ud7ff\ue000", "</script>", "&<>", "x" * 4095),
    "".join(map(chr, range(0x180))),
]
"""Values of attributes, as JSON can have them."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What is /etc/mdevctl.d in the namespaces of this test."""
    directory = tmp_path / "etc" / "mdevctl.d"
    for name in ("callouts", "notifiers"):  # without which mdevctl does not run
        (directory / "scripts.d" / name).mkdir(parents=True)
    return directory


def in_namespace(directory: Path, script: str, *arguments: str) -> str:
    """Run a script whose mdevctl has this directory; return what it prints."""
    command = [*_UNSHARE, _BIND + script, str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def samples() -> Iterator[Definition]:
    """Return definitions with every kind of text."""
    for value in VALUES:
        yield Definition("nvidia-592", autostart=False, attributes=(MdevAttribute("a/b", value),))
    names = tuple([MdevAttribute(value, "1") for value in VALUES if value])
    yield Definition("t", autostart=True, attributes=names)
    yield Definition("t", autostart=True, attributes=())
    repeated = [MdevAttribute("x", "1"), MdevAttribute("y", "2"), MdevAttribute("x", "1")]
    yield Definition('q"\\ü', autostart=False, attributes=(*repeated, *reversed(repeated)))


def test_texts_are_those_of_mdevctl(directory: Path, tmp_path: Path) -> None:
    """It has no final newline, attrs in any case, and the escapes of Rust's serde."""
    given = list(samples())
    for number, definition in enumerate(given):
        (tmp_path / f"{number}.json").write_text(definition_line(definition))
    script = """
        umask 022
        i=0; while [ $i -lt $2 ]; do
            uuid=$(printf '00000000-0000-0000-0000-%012d' $i)
            mdevctl define -u $uuid -p 0000:41:00.4 --jsonfile "$1/$i.json"
            i=$((i + 1))
        done
        mdevctl define -u FFFFFFFF-0000-0000-0000-000000000000 -p mtty -t mtty-1 --auto
    """
    in_namespace(directory, script, str(tmp_path), str(len(given)))
    ours = tmp_path / "ours"
    for number, definition in enumerate(given):
        uuid = f"00000000-0000-0000-0000-{number:012d}"
        write_definition(str(ours), PARENT, uuid, definition_text(definition), None)
    started = Definition("mtty-1", autostart=True, attributes=())
    uuid = "ffffffff-0000-0000-0000-000000000000"
    write_definition(str(ours), "mtty", uuid, definition_text(started), None)
    theirs = {
        path.relative_to(directory): (path.stat().st_mode, path.is_file() and path.read_bytes())
        for path in directory.rglob("*")
        if "scripts.d" not in path.parts
    }
    assert theirs == {
        path.relative_to(ours): (path.stat().st_mode, path.is_file() and path.read_bytes())
        for path in ours.rglob("*")
        if ".nodedevd" not in path.parts
    }
    assert len(theirs) == len(given) + 3


def test_changed_text_is_that_of_mdevctl(directory: Path) -> None:
    """What `mdevctl modify` makes of ours is what we make of it."""
    before = Definition("t-1", autostart=False, attributes=(MdevAttribute("a", "1"),))
    after = Definition(
        "t-2", autostart=True, attributes=(MdevAttribute("a", "1"), MdevAttribute("a", "ü\n"))
    )
    write_definition(str(directory), PARENT, UUID, definition_text(before), None)
    in_namespace(
        directory,
        'mdevctl modify -u "$1" -p "$2" -t t-2 --auto --addattr a --value "$3"',
        *(UUID, PARENT, "ü\n"),
    )
    assert read_definition(str(directory), PARENT, UUID) == definition_text(after)


def test_mdevctl_lists_what_is_written(directory: Path) -> None:
    """All of it, with every kind of text."""
    given = {}
    for number, definition in enumerate(samples()):
        uuid = f"00000000-0000-0000-0000-{number:012d}"
        write_definition(str(directory), PARENT, uuid, definition_text(definition), None)
        given[uuid] = json.loads(definition_line(definition))
    [listed] = json.loads(in_namespace(directory, "mdevctl list -d --dumpjson"))
    assert {uuid: one for entry in listed[PARENT] for uuid, one in entry.items()} == given


@contextmanager
def running(directory: Path, script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script whose mdevctl has this directory, until the block has ended."""
    # `read` ends the loop that is in the script when its standard input ends.
    command = [*_UNSHARE, _BIND + script, str(directory), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        try:
            yield process
        finally:
            (directory.parent / "end").touch()
            out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "", "")


def test_nothing_is_lost_beside_a_mdevctl_that_modifies(directory: Path) -> None:
    """What it writes stays or is what we replace, although it does not write it at once."""
    sizes = [
        Definition("t", autostart=False, attributes=(MdevAttribute("a", "x" * size),))
        for size in (1, 3000)
    ]
    texts = [definition_text(one) for one in sizes]
    write_definition(str(directory), PARENT, UUID, texts[0], None)
    bystander = definition_text(Definition("b", autostart=True, attributes=()))
    write_definition(str(directory), PARENT, OTHER, bystander, None)
    script = """
        echo began
        while [ ! -e "$3/end" ]; do
            mdevctl modify -u "$1" -p "$2" --auto
            mdevctl modify -u "$1" -p "$2" --manual
            mdevctl list -d > "$3/listed"
        done
    """
    replaced = 0
    with running(directory, script, UUID, PARENT, str(directory.parent)):
        while replaced < 100:
            before = read_definitions(str(directory), UUID)[PARENT, UUID]
            try:
                definition = parse_definition(before)
            except ValueError:  # on a busy machine it is written for longer than is waited for
                continue
            text = texts[definition.attributes == sizes[0].attributes]
            with suppress(DefinitionChanged):
                write_definition(str(directory), PARENT, UUID, text, before)
                replaced += 1
    last = read_definitions(str(directory), UUID)[PARENT, UUID]
    assert parse_definition(last).attributes in [one.attributes for one in sizes]
    assert read_definition(str(directory), PARENT, OTHER) == bystander
    assert sorted(path.name for path in (directory / PARENT).iterdir()) == [UUID, OTHER]


def test_nothing_is_lost_beside_a_mdevctl_that_defines(directory: Path) -> None:
    """Whoever has defined it last is not told so and then without it; one who removes it is."""
    script = """
        echo began
        while [ ! -e "$3/end" ]; do
            mdevctl define -u "$1" -p "$2" -t theirs 2> /dev/null || true
            mdevctl undefine -u "$1" -p "$2" 2> /dev/null || true
        done
        mdevctl define -u "$1" -p "$2" -t theirs 2> /dev/null || true
    """
    ours = definition_text(Definition("ours", autostart=False, attributes=()))
    written = removed = 0
    with running(directory, script, UUID, PARENT, str(directory.parent)):
        while written < 60:
            before = read_definition(str(directory), PARENT, UUID)
            with suppress(DefinitionChanged):
                write_definition(str(directory), PARENT, UUID, ours, before)
                written += 1
                if written % 2:
                    write_definition(str(directory), PARENT, UUID, None, ours)
                    removed += 1
    text = read_definition(str(directory), PARENT, UUID)
    assert text is not None
    assert parse_definition(text).mdev_type in ("ours", "theirs")
    assert removed > 0


SCRIPT = """#!/bin/sh
{{ printf '%s ' "${{0##*/}}" "$@"; cat; echo; }} >> {log}
case "$0 $*" in
    *other*) exit 2 ;;
    *veto*"-e pre"*) echo "not today" >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize("name", ["50-script", "50-veto"])
@pytest.mark.parametrize("action", ["define", "undefine", "modify"])
def test_callouts_get_what_mdevctl_gives_them(
    directory: Path, tmp_path: Path, action: CalloutAction, name: str
) -> None:
    """The same scripts in the same order, with the same arguments and input, also after a veto.

    mdevctl 1.2 asks no question for capabilities.
    """
    log = tmp_path / "log"
    (tmp_path / "sys" / "devices").mkdir(parents=True)
    for kind, script in (("callouts", "10-other"), ("callouts", name), ("notifiers", "note")):
        path = directory / "scripts.d" / kind / script
        path.write_text(SCRIPT.format(log=log))
        path.chmod(0o755)
    before = Definition("t-1", autostart=False, attributes=(MdevAttribute("a", 'ü"'),))
    after = Definition("t-1", autostart=action != "undefine", attributes=before.attributes)
    if action != "define":
        write_definition(str(directory), PARENT, UUID, definition_text(before), None)
    (tmp_path / "json").write_text(definition_text(after))
    options = {"define": ("--jsonfile", str(tmp_path / "json")), "modify": ("--auto",)}
    given = (action, "-u", UUID, "-p", PARENT, *options.get(action, ()))
    subprocess.run(
        [*_UNSHARE, _BIND + 'mdevctl "$@"', str(directory), *given], capture_output=True, timeout=60
    )
    theirs = log.read_text().splitlines()
    log.unlink()

    facts = ActionFacts(usage=VfioUsage(), assignment=AssignmentFacts())
    host = StepHost(Sysroot(str(tmp_path)), lambda path, value: None, run)
    steps = with_callouts(facts, action, PARENT, UUID, after, [])
    with suppress(Vetoed):
        for step in steps:
            HANDLERS[type(step)].do(step, host)
    # `post` goes through the scripts again, which mdevctl does for `pre` alone.
    ours = [
        line
        for line in log.read_text().splitlines()
        if "-e get" not in line and not line.startswith("10-other -t t-1 -e post")
    ]
    assert ours == theirs
    assert len(theirs) == (3 if name == "50-veto" else 4)
