"""States of the connection: no daemon, one that comes back, a closed socket, no devices."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.cockpit.marks import MARKS
from tests.cockpit.opened import PAGE_PATH, Opener
from tests.support.hosts import host_file, unpacked
from tests.support.played_control import play
from tests.support.running import running
from tests.support.trees import Tree

pytestmark = MARKS
HOST = host_file("vgpu-sriov")
ASK = """
const [path, done] = arguments;
const page = "/cockpit/@localhost/nodedevd/changes";
Promise.all([import(`${page}/service.js`), import(`${page}/refusals.js`)])
    .then(([{ ControlService }, { explain }]) => new ControlService(path, () => {})
        .change("Create", { type: "nvidia-746" })
        .then(() => done("made"), error => done([error.kind, explain(error).text])));
"""
GREY = "return getComputedStyle(document.querySelector('.parts')).filter"


def test_without_a_daemon_the_page_says_what_to_do_and_goes_on_by_itself(opener: Opener) -> None:
    """It shows the command, no empty table, and the devices as soon as there is a daemon."""
    page = opener.open(state="absent")
    page.until_text(".empty-state h2", "nodedevd does not run")
    page.until_text(".empty-state pre", "systemctl enable --now nodedevd.socket nodedevd.service")
    assert page.text("[role=status].status") == "Not connected"
    assert not page.shows("#devices")
    with running(opener.directory, HOST):
        page.until_state("ready")
        page.until_text(".status", "30 devices")
        page.until(lambda: len(page.names) == 30)
        assert not page.shows(".empty-state")
        assert page.js("return window.loadedOnce")


def test_page_of_a_device_that_is_opened_without_a_daemon_shows_it_when_there_is_one(
    opener: Opener,
) -> None:
    """A bookmark, say: it does not claim that there is no such device."""
    page = opener.open(state="absent", path=f"{PAGE_PATH}#/device/pci_0000_08_00_0")
    page.until_text(".empty-state h2", "nodedevd does not run")
    assert page.text(".gone") == ""
    with running(opener.directory, HOST):
        page.until_text("#properties", "GA107GL [A2 / A16]")
        assert page.text(".gone") == page.text(".connection") == ""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_daemon_that_ends_and_comes_back_costs_no_reload(
    opener: Opener, signum: signal.Signals
) -> None:
    """What was known stays, greyed, with its time; what has changed meanwhile is told."""
    tree = unpacked("vgpu-pf", opener.directory / "host")
    with running(opener.directory, Path(tree.root)) as daemon:
        page = opener.open()
        page.until(lambda: len(page.names) == 6)
        names = page.names
        page.fill("#devices input", "mdev")
        page.until(lambda: len(page.names) < len(names))
        daemon.stop(signum)
        page.until(lambda: "nodedevd was lost at" in page.text(".connection"))
        assert page.js(GREY) == "grayscale(1)"
        page.until_text(".status", "6 devices, as of")
        assert page.names
    mdev = next(name for name in names if name.startswith("mdev_"))
    uuid = mdev.removeprefix("mdev_").replace("_", "-")
    play(tree, f"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/{uuid}/remove", "1")
    with running(opener.directory, Path(tree.root)):
        page.until_state("ready")
        page.until(lambda: page.text(".connection") == "")
        page.until(lambda: mdev not in page.names)
        page.until_text(".status", "5 devices")
        page.until_text("#events tbody", mdev)
        assert page.js("return document.querySelector('#devices input').value") == "mdev"
        assert page.js(GREY) == "none"
        assert page.js("return window.loadedOnce")


def test_socket_without_a_daemon_is_no_daemon(opener: Opener) -> None:
    """A daemon that was killed leaves its socket."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(opener.directory / "nodedevd.sock"))
    page = opener.open(state="absent")
    page.until_text(".empty-state h2", "nodedevd does not run")


@pytest.mark.needs("root")
def test_socket_that_is_closed_to_the_user_is_said_to_be(opener: Opener) -> None:
    """With what an administrator would have to change."""
    with running(opener.directory, HOST, "--socket-mode", "600"):
        page = opener.open(state="forbidden", user="nobody")
        page.until_text(".empty-state h2", "You may not connect to nodedevd")
        page.until_text(".empty-state", "SocketMode=")


@pytest.mark.needs("root")
def test_ordinary_user_sees_everything_and_no_button_that_changes(opener: Opener) -> None:
    """Although the control service has a socket."""
    with running(opener.directory, HOST), socket.socket(socket.AF_UNIX) as control:
        control.bind(str(opener.directory / "control.sock"))
        control.listen()
        # Where this runs in a home of root's, the user cannot start the real command.
        command = opener.directory / "nodedevctl"
        command.write_text('#!/bin/sh\necho \'{"device_count": 30, "findings": []}\'\n')
        command.chmod(0o755)
        page = opener.open(user="nobody", command=command)
        page.until(lambda: len(page.names) == 30)
        page.until_text("#findings", "No problems found; 30 devices checked.")
        assert not page.shows(".page-actions button")
        assert page.texts("#devices tbody button") == []
        # A script that asks all the same gets no channel with more rights.
        asked = page.driver.execute_async_script(ASK, str(opener.directory / "control.sock"))
        assert asked == [
            "forbidden",
            "You may not change this host. Turn on administrative access.",
        ]


def test_other_program_on_the_socket_is_said_to_be_none(opener: Opener) -> None:
    """And not believed."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(opener.directory / "nodedevd.sock"))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(b"220 smtp ready\0")
                threading.Thread(target=client.recv, args=[1 << 16], daemon=True).start()
                kept.append(client)

        kept: list[socket.socket] = []
        threading.Thread(target=answer, daemon=True).start()
        page = opener.open(state="garbled")
        page.until_text(".empty-state h2", "nodedevd cannot be understood")
        server.shutdown(socket.SHUT_RDWR)
        for client in kept:
            client.close()


def test_host_with_nothing_to_show_says_so(opener: Opener) -> None:
    """In each part of the page."""
    tree = Tree(opener.directory / "host")
    with running(opener.directory, Path(tree.root)):
        page = opener.open()
        page.until(lambda: page.names == ["computer"])
        page.until_text(".status", "1 device")
        page.until_text("#fits", "No card of this host offers types of vGPUs.")
        page.until_text("#events", "Nothing has changed since this page was opened.")
        page.until_text("#findings", "1 device checked")


def test_missing_command_costs_the_findings_alone(opener: Opener) -> None:
    """And the page says what to do."""
    with running(opener.directory, HOST):
        page = opener.open(command=Path("/nonexistent/nodedevctl"))
        page.until_text("#findings", "The command /nonexistent/nodedevctl is missing")
        assert len(page.names) == 30


def test_language_of_the_browser_is_that_of_the_page(opener: Opener) -> None:
    """German, as the other pages of Cockpit."""
    with running(opener.directory, HOST):
        page = opener.open(language="de")
        page.until_text("h1", "Node-Geräte")
        page.until_text(".status", "30 Geräte")
        page.until_text("#findings", "5 Befunde; 30 Geräte geprüft.")
        assert page.driver.title == "Node-Geräte"
        assert page.js("return document.documentElement.lang") == "de"
