"""Whether another user than root could have changed a file, or may swap what is below it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodedevd.host.sysroot import LinksInCircle, Sysroot
from nodedevd.host.trust import why_changeable
from tests.support.trees import Tree

FILE = "/etc/layout.d/x.toml"


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """Return a host with a file of root, and with a directory that every user may change."""
    host = Tree(tmp_path)
    host.file("/etc/ok.toml")
    host.file("/etc/layout.d/own.toml")
    host.directory("/home/eve")
    os.chmod(host.at("/home/eve"), 0o777)
    return host


def why(host: Tree, path: str = FILE) -> str | None:
    """Return what lets another user change a file."""
    return why_changeable(Sysroot(host.root), path)


def test_file_of_root_is_no_others(host: Tree) -> None:
    """Nor is one that links lead to, absolute or not, by way of another link."""
    assert why(host, "/etc/layout.d/own.toml") is None
    host.link("/etc/links", "layout.d/../../etc")
    host.link(FILE, "/etc/links/./ok.toml")
    assert why(host) is None


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_file_that_others_may_change_is_named(host: Tree, mode: int) -> None:
    """With what is wrong."""
    os.chmod(host.at("/etc/ok.toml"), mode)
    host.link(FILE, "../ok.toml")
    assert why(host) == f"/etc/ok.toml: every user may change it (mode {mode:04o})"


@pytest.mark.parametrize("target", ["../../home/eve/x.toml", "/home/eve/x.toml"])
def test_link_on_the_way_that_others_may_swap_is_found(host: Tree, target: str) -> None:
    """Wherever it leads now: to a file of root, to nowhere, or through their directory."""
    host.link(FILE, target)
    host.link("/home/eve/x.toml", "/etc/ok.toml")
    named = "/home/eve: every user may change it (mode 0777)"
    assert why(host) == named
    host.remove("/home/eve/x.toml")
    assert why(host) == named
    host.remove(FILE)
    host.link("/home/eve/etc", "/etc")
    host.link("/etc/layout.d/through", "/home/eve/etc")
    assert why(host, "/etc/layout.d/through/ok.toml") == named
    host.link(FILE, "/home/eve/../../etc/ok.toml")
    assert why(host) == named


def test_what_cannot_be_examined_is_an_error(host: Tree) -> None:
    """It is not there, or links lead nowhere."""
    with pytest.raises(FileNotFoundError):
        why(host)
    host.link(FILE, "x.toml")
    with pytest.raises(LinksInCircle):
        why(host)
