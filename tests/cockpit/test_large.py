"""A host with 10,000 devices: what the page makes, and makes anew, is bounded."""

from __future__ import annotations

import signal

from benchmarks.generate import generate, shape
from tests.cockpit.marks import MARKS
from tests.cockpit.opened import Opened, Opener
from tests.support.played_control import play
from tests.support.running import running
from tests.support.trees import Tree

pytestmark = MARKS
DEVICES = 10_000
ROWS = 200


def rows(page: Opened) -> int:
    """Return the number of rows that there are, in sight or not."""
    return int(page.js("return document.querySelectorAll('#devices tbody tr').length"))


def test_thousands_of_devices_make_200_rows(opener: Opener) -> None:
    """More when asked for; any is found by the filter; one that changes changes one row."""
    root = opener.directory / "host"
    generate(root, shape(DEVICES))
    parents = root / "sys/class/mdev_bus"
    parent = next(one for one in sorted(parents.iterdir()))
    path = "/" + str(parent.resolve().relative_to(root.resolve()))
    with running(opener.directory, root, "--reconcile", "0") as daemon:
        page = opener.open()
        page.until_text(".status", f"{DEVICES} devices")
        page.until(lambda: rows(page) == ROWS)
        page.until_text("#devices [role=status]", f"{DEVICES} of {DEVICES}")
        page.until(lambda: page.shows("#picture svg"))
        page.until_text("#findings", f"{DEVICES} devices checked")
        assert page.js("return document.querySelectorAll('*').length") < 15_000
        page.click("#devices .card-body > .button")
        page.until(lambda: rows(page) == 2 * ROWS)
        assert page.focus == page.names[ROWS]
        page.fill("#devices input", "sdaa ST16000NM")
        page.until(lambda: 0 < rows(page) < ROWS)

        page.fill("#devices input", "mdev_child")
        page.until(lambda: rows(page) == ROWS)
        page.js(
            "window.made = 0; new MutationObserver(all => all.forEach(one => {"
            " if (one.target.tagName === 'TBODY') window.made += one.addedNodes.length }))"
            ".observe(document.querySelector('#devices tbody'), { childList: true })"
        )
        uuid = "00000000-0000-4000-8000-000000000001"
        tree = Tree(root)
        play(tree, f"{path}/mdev_supported_types/nvidia-742/create", uuid)
        daemon.process.send_signal(signal.SIGHUP)
        page.until_text(".status", f"{DEVICES + 1} devices")
        page.until_text("#events tbody", uuid.replace("-", "_"))
        page.until(lambda: rows(page) == ROWS)
        assert page.js("return window.made") <= 1
        page.fill("#devices input", uuid)
        page.until(lambda: rows(page) == 1)
