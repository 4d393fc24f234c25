"""Takes the screenshots of the documentation: python -m tests.cockpit.screenshots [NAME…].

They are of invented hosts, in Debian's Cockpit and Chromium, and lie in docs/cockpit.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.cockpit.opened import Opened, Opener
from tests.support.hosts import unpacked
from tests.support.needs import missing
from tests.support.played_control import controlled
from tests.support.running import REPOSITORY, running

PLACE = REPOSITORY / "docs/cockpit"
HOST = "vgpu-sriov"
STOPPED = "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03"
NOT_OURS = "mdev_a2c1a9b0_5c3e_4f27_b6d4_0d6e2f9b7c02"
_NEEDS = ("cockpit", "cockpit-system", "chromium", "selenium")


def in_shell(opener: Opener) -> bytes:
    """The page in Cockpit's shell."""
    page = opener.open(path="/nodedevd", state="", width=1400)
    frame = "iframe[name='cockpit1:localhost/nodedevd']"
    page.until(lambda: page.shows(frame))
    page.driver.switch_to.frame(page.driver.find_element("css selector", frame))
    _complete(page)
    return page.screenshot()


def overview(opener: Opener) -> bytes:
    """The upper part of the page, with an answer of where a type fits."""
    page = opener.open(width=1400)
    _complete(page)
    page.fill(page.label("Type of vGPU"), "A2-4Q")
    page.click("#fits button[type=submit]")
    page.until_text("#fits .answer", "Yes")
    page.js("document.activeElement.blur()")
    return page.screenshot(1400)


def dark(opener: Opener) -> bytes:
    """The same, dark."""
    page = opener.open(width=1400, scheme="dark")
    _complete(page)
    return page.screenshot(1200)


def narrow(opener: Opener) -> bytes:
    """On a telephone."""
    page = opener.open(width=400)
    _complete(page)
    return page.screenshot(1200)


def details(opener: Opener) -> bytes:
    """A device."""
    page = opener.open(width=1400)
    _complete(page)
    page.js("location.hash = arguments[0]", f"#/device/{STOPPED}")
    page.until_text("#xml pre", "<device>")
    page.js("document.activeElement.blur()")
    return page.screenshot(1200)


def plan(opener: Opener) -> bytes:
    """The dialog that creates a vGPU, with its plan."""
    page = opener.open(width=1000)
    _complete(page)
    page.click(".page-actions button")
    page.find("dialog")
    page.choose(page.label("Type"), "nvidia-746")
    page.fill(page.label("Owner"), "guest1")
    page.until_text("dialog .plan", "These steps will be taken")
    return page.screenshot(900)


def refusal(opener: Opener) -> bytes:
    """A change that is refused."""
    page = opener.open(width=1000)
    _complete(page)
    page.click(f"#devices button[aria-label='Remove {NOT_OURS}']")
    page.until_text("dialog [role=alert]", "use force")
    page.js("window.scrollTo(0, 0)")
    return page.screenshot(900)


SHOTS: dict[str, Callable[[Opener], bytes]] = {
    "shell": in_shell,
    "overview": overview,
    "dark": dark,
    "narrow": narrow,
    "details": details,
    "plan": plan,
    "refusal": refusal,
}


def no_daemon(opener: Opener) -> bytes:
    """No daemon runs, also not on this machine."""
    usual = Path("/run/nodedevd/org.nodedevd.Devices")
    page = opener.open(width=1000, state="absent", socket_path=usual)
    page.until(lambda: page.shows(".empty-state"))
    return page.screenshot(500)


def _complete(page: Opened) -> None:
    """Wait until all parts of the page are there."""
    page.until_state("ready")
    page.until(lambda: page.shows("#picture svg"))
    page.until_text("#findings", "5 findings")
    page.until(lambda: page.shows(".page-actions button"))
    page.until(lambda: page.js("return document.fonts.status") == "loaded")


def take(name: str) -> None:
    """Take one, of a host that is served for it."""
    with tempfile.TemporaryDirectory(prefix="cockpit-") as directory, ExitStack() as stack:
        os.chmod(directory, 0o755)
        place = Path(directory)
        opener = stack.enter_context(Opener(place))
        if name in SHOTS:
            tree = unpacked(HOST, place / "host")
            stack.enter_context(running(place, Path(tree.root)))
            stack.enter_context(controlled(Path(tree.root)))
            picture = SHOTS[name](opener)
        else:
            picture = no_daemon(opener)
        (PLACE / f"{name}.png").write_bytes(picture)


def main() -> int:
    """Take those that are named, or all."""
    lacking = [words for need in _NEEDS if (words := missing(need)) is not None]
    if lacking:
        print(f"no screenshots without {', '.join(lacking)}", file=sys.stderr)
        return 1
    PLACE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or [*SHOTS, "no-daemon"]:
        take(name)
        print(f"{PLACE.relative_to(REPOSITORY)}/{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
