"""control.toml: what it may have, and what is refused with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nodedevd.control import polkit
from nodedevd.control.configuration import (
    BadConfiguration,
    Configuration,
    Limits,
    parse_configuration,
    read_configuration,
)
from tests.support.running import REPOSITORY


def test_absent_file_has_the_defaults(tmp_path: Path) -> None:
    """The service runs without a file; one that was asked for has to be there."""
    path = str(tmp_path / "control.toml")
    assert read_configuration(path) == Configuration()
    with pytest.raises(BadConfiguration, match="there is no such file"):
        read_configuration(path, required=True)


def test_file_is_read(tmp_path: Path) -> None:
    """What is given holds, the rest has its default."""
    path = tmp_path / "control.toml"
    path.write_text(
        'groups = ["kvm", "wheel"]\npolkit = true\nframeworks = ["mdev"]\n'
        '[methods]\nBind = ["wheel"]\nUnbind = []\n[limits]\nactions = 4\nidle_seconds = 0\n'
    )
    found = read_configuration(str(path))
    assert found == Configuration(
        groups=("kvm", "wheel"),
        polkit=True,
        frameworks=("mdev",),
        methods={"Bind": ("wheel",), "Unbind": ()},
        limits=Limits(actions=4, idle_seconds=0),
    )
    assert found.groups_of("Bind") == ("wheel",)
    assert found.groups_of("Unbind") == ()
    assert found.groups_of("Create") == ("kvm", "wheel")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("polkitt = true", 1, "unknown key 'polkitt'; allowed are groups, polkit, frameworks"),
        ("# x\n\n\nfoo.bar = 1", 4, "unknown key 'foo'"),
        ("[limits]\nactions = 3\nacctions = 3", 3, "unknown key 'acctions' in [limits]"),
        ("limits.acctions = 3", 1, "unknown key 'acctions' in [limits]; allowed are actions"),
        ('[methods]\n\nGetStatus = ["x"]', 3, "unknown key 'GetStatus' in [methods]"),
        ("polkit = 1", 1, "polkit is 1; give true or false"),
        ('polkit = true\ngroups = "kvm"', 2, "groups is 'kvm'; give a list of names of groups"),
        ("groups = [\n  1,\n]", 1, "groups is [1]; give a list of names of groups"),
        ('groups = [""]', 1, "give a list of names of groups"),
        ('[methods]\nBind = "x"', 2, "Bind in [methods] is 'x'; give a list of names of groups"),
        ('frameworks = ["sriov"]', 1, "give a list of 'mdev', 'vendor-vfio'"),
        ('libvirt_sockets = "/x"', 1, "give a list of paths of sockets"),
        ('libvirt_sockets = ["x"]', 1, "give a list of paths of sockets"),
        (f'libvirt_sockets = ["/{"x" * 107}"]', 1, "give a list of paths of sockets"),
        ("[limits]\nactions = 0", 2, "actions in [limits] is 0; give a whole number from 1 to 256"),
        ("[limits]\nactions = 1.5", 2, "a whole number"),
        ("[limits]\nactions = true", 2, "a whole number"),
        ("[limits]\nwrite_seconds = 0", 2, "a number of seconds, from more than 0 to 3600"),
        ("[limits]\nwrite_seconds = nan", 2, "a number of seconds"),
        ("[limits]\nidle_seconds = inf", 2, "a number of seconds, from 0 to 86400"),
        ("limits = 3", 1, "limits is 3; give a table"),
        ("polkit = true\npolkit = false", 2, "Cannot overwrite a value"),
        ("polkit =", 1, "Invalid value"),
        ("[limits", 1, "Expected ']'"),
    ],
)
def test_mistake_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    """And with what is allowed in its place."""
    with pytest.raises(BadConfiguration) as raised:
        parse_configuration(text.encode(), "control.toml")
    assert raised.value.line == line
    assert words in raised.value.reason
    assert str(raised.value).startswith(f"control.toml, line {line}: ")


def test_what_others_could_have_written_is_refused(tmp_path: Path) -> None:
    """Whoever may write the file may change the host."""
    path = tmp_path / "control.toml"
    path.write_text("polkit = false\n")
    for mode in (0o666, 0o620):
        path.chmod(mode)
        with pytest.raises(BadConfiguration, match="others can write to it"):
            read_configuration(str(path))
    path.chmod(0o644)
    assert read_configuration(str(path)) == Configuration()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A FIFO does not keep the start waiting."""
    path = tmp_path / "control.toml"
    os.mkfifo(path)
    with pytest.raises(BadConfiguration, match="no regular file"):
        read_configuration(str(path))


@pytest.mark.parametrize("data", [b"\xff", b"x = " + b"[" * 100_000, b"#" * (65 << 10)])
def test_what_is_no_configuration_is_refused(tmp_path: Path, data: bytes) -> None:
    """Bytes that are no text, too deep, too long."""
    path = tmp_path / "control.toml"
    path.write_bytes(data)
    with pytest.raises(BadConfiguration):
        read_configuration(str(path))


def test_page_has_the_defaults_and_the_permissions() -> None:
    """docs/control.md has every limit with its default, and what polkit is asked for."""
    page = (REPOSITORY / "docs" / "control.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    settings = {
        name: row[1] for row in rows if len(row) == 3 for name in re.findall(r"`(\w+)`", row[0])
    }
    limits = Limits()
    for name in Limits.__struct_fields__:
        assert settings[name] == f"{getattr(limits, name):g}"
    described = {
        method: tuple(re.findall(r"`(\w+)`", row[1]))
        for row in rows
        if len(row) == 2
        for method in re.findall(r"`(\w+)`", row[0])
        if method in polkit.PERMISSIONS
    }
    assert described == dict(polkit.PERMISSIONS)
