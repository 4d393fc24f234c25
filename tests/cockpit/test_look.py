"""Widths, dark and light, and what axe-core finds; by keyboard alone; in Cockpit's own shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cockpit.marks import MARKS
from tests.cockpit.opened import Opened, Opener
from tests.support.axe import FILE
from tests.support.hosts import host_file, unpacked
from tests.support.played_control import controlled
from tests.support.running import running

pytestmark = MARKS
TAB, ENTER, SHIFT, ESCAPE = "\ue004", "\ue007", "\ue008", "\ue00c"
NOT_OURS = "mdev_a2c1a9b0_5c3e_4f27_b6d4_0d6e2f9b7c02"
MOST_TABS = 60

_AXE = """
const done = arguments[0];
axe.run(document, { resultTypes: ["violations"], preload: false }).then(
    result => done(result.violations.map(one => [one.id, one.nodes.map(node => node.html)])),
    error => done([["error", String(error)]]));
"""


@pytest.fixture
def served(opener: Opener) -> Iterator[Opener]:
    """Serve a host and its control service."""
    tree = unpacked("vgpu-sriov", opener.directory / "host")
    with running(opener.directory, Path(tree.root)), controlled(Path(tree.root)):
        yield opener


def violations(page: Opened) -> object:
    """Return what axe-core finds."""
    page.js(FILE.read_text(encoding="utf-8"))
    return page.driver.execute_async_script(_AXE)


def overflow(page: Opened) -> list[str]:
    """Return what makes the page wider than the window."""
    return list(
        page.js(
            "const width = document.documentElement.clientWidth;"
            "return document.documentElement.scrollWidth <= width ? [] :"
            " [...document.querySelectorAll('body *')].filter("
            "   one => one.getBoundingClientRect().right > width + 1).map(one => one.outerHTML)"
        )
    )


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_everybody_can_use_every_part_of_the_page(served: Opener, width: int, scheme: str) -> None:
    """No violation and no scrolling sideways: the page, remedies, details, dialog, refusal."""
    page = served.open(width=width, scheme=scheme)
    page.until(lambda: page.shows("#picture svg"))
    page.until_text("#findings", "5 findings")
    page.until(lambda: page.shows(".page-actions button"))
    assert page.js("return document.documentElement.classList.contains('dark')") == (
        scheme == "dark"
    )
    page.js("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.fill(page.label("Type of vGPU"), "A2-4Q")
    page.click("#fits button[type=submit]")
    page.until_text("#fits .answer", "Yes")
    assert violations(page) == []
    assert overflow(page) == []
    page.click("#devices tbody button")
    page.until(lambda: page.text("dialog .steps") or page.text("dialog [role=alert]"))
    assert violations(page) == []
    assert overflow(page) == []
    page.find("dialog").send_keys(ESCAPE)
    page.until(lambda: not page.shows("dialog"))
    page.js("location.hash = '#/device/pci_0000_08_00_7'")
    page.until_text("#xml pre", "<device>")
    assert violations(page) == []
    assert overflow(page) == []


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_page_without_a_daemon(opener: Opener, scheme: str) -> None:
    """Also after it was lost."""
    page = opener.open(state="absent", scheme=scheme, width=400)
    assert violations(page) == []
    assert overflow(page) == []
    with running(opener.directory, host_file("vgpu-pf")):
        page.until_state("ready")
        page.until(lambda: page.shows("#picture svg"))
    page.until_text(".connection", "was lost")
    assert violations(page) == []
    assert overflow(page) == []


@pytest.mark.parametrize("host", ["vgpu-vendor-vfio", "s390x-ap-ccw", "broken", "a100-mig"])
def test_no_host_makes_the_page_scroll_sideways(opener: Opener, host: str) -> None:
    """Whatever its names, on a narrow page and on a wide one."""
    with running(opener.directory, host_file(host)):
        page = opener.open(width=320)
        page.until(lambda: page.shows("#picture svg"))
        assert overflow(page) == []
        page.resize(1000)
        page.until(
            lambda: page.js("return document.querySelector('#picture svg').clientWidth > 800")
        )
        assert overflow(page) == []
        page.resize(1400)
        page.until(
            lambda: page.js("return document.querySelector('#picture svg').clientWidth > 1200")
        )
        assert overflow(page) == []


def test_page_is_dark_when_cockpit_is(opener: Opener) -> None:
    """Cockpit's choice comes before the system's, and is followed at once."""
    with running(opener.directory, host_file("vgpu-pf")):
        page = opener.open(scheme="light")
        page.until(lambda: page.shows("#picture svg"))

        def ground() -> str:
            return str(page.js("return getComputedStyle(document.body).backgroundColor"))

        assert ground() == "rgb(240, 240, 240)"
        change = (
            "localStorage.setItem('shell:style', arguments[0]);"
            "window.dispatchEvent(new CustomEvent('cockpit-style', { detail: {} }))"
        )
        page.js(change, "dark")
        assert ground() == "rgb(21, 21, 21)"
        assert page.js(
            "return document.querySelector('#picture svg').classList.contains('nd-dark')"
        )
        page.js(change, "light")
        assert ground() == "rgb(240, 240, 240)"
        page.js(change, "auto")
        page.prefer("dark")
        page.until(lambda: ground() == "rgb(21, 21, 21)")


class Keyboard:
    """A user who has a keyboard, and no mouse."""

    def __init__(self, page: Opened) -> None:
        self._page = page

    def press(self, keys: str) -> None:
        """Press keys."""
        from selenium.webdriver import ActionChains

        ActionChains(self._page.driver).send_keys(keys).perform()

    def back(self) -> None:
        """Go back to what has the focus before."""
        from selenium.webdriver import ActionChains

        chain = ActionChains(self._page.driver)
        chain.key_down(SHIFT).send_keys(TAB).key_up(SHIFT).perform()

    def reach(self, name: str) -> None:
        """Press Tab until something of this name has the focus, which has to be seen."""
        for _ in range(MOST_TABS):
            if self._page.focus == name:
                outline = "return getComputedStyle(document.activeElement).outlineStyle"
                assert self._page.js(outline) != "none", f"the focus on {name} is not seen"
                return
            self.press(TAB)
        pytest.fail(f"{name} cannot be reached by Tab; the focus is on {self._page.focus}")


def test_everything_can_be_done_by_keyboard(served: Opener) -> None:
    """Filter, details and back, a change with its plan, a remedy, where it fits."""
    page = served.open()
    page.until(lambda: page.shows(".page-actions button"))
    page.until_text("#findings", "5 findings")
    keys = Keyboard(page)
    keys.reach("Check again")
    page.js("document.querySelector('summary').focus()")
    keys.press(ENTER)
    page.until(lambda: page.shows("#findings details pre"))
    keys.reach("Type of vGPU")
    keys.press(f"A2-4Q{ENTER}")
    page.until_text("#fits .answer", "Yes")
    keys.reach("Text")
    keys.press("a2c1a9b0")
    page.until(lambda: page.names == [NOT_OURS])
    keys.reach(f"Remove {NOT_OURS}")
    keys.press(ENTER)
    page.until_text("dialog [role=alert]", "use force")
    keys.reach("Force: change also what is in use, or belongs to others")
    keys.press(" ")
    page.until(lambda: page.js("return !document.querySelector('dialog [type=submit]').disabled"))
    keys.press(ESCAPE)
    page.until(lambda: not page.shows("dialog"))
    assert page.focus == f"Remove {NOT_OURS}"
    for _ in range(2):
        keys.back()
    assert page.focus == NOT_OURS
    keys.press(ENTER)
    page.until_text("h1", NOT_OURS)
    page.until(lambda: page.focus == NOT_OURS)
    keys.reach("Format")
    keys.press("l")
    page.until_text("#xml pre", "<capability type='mdev'>")
    page.driver.back()
    page.until_text("h1", "Node devices")
    assert page.names == [NOT_OURS]


@pytest.mark.needs("cockpit-system")
def test_page_is_in_the_menu_of_cockpit(opener: Opener) -> None:
    """In the shell, as people see it, where it is found by its keywords."""
    with running(opener.directory, host_file("vgpu-pf")):
        page = opener.open(path="/nodedevd", state="")
        frame = "iframe[name='cockpit1:localhost/nodedevd']"
        page.until(lambda: page.shows(frame), "the frame of the page")
        page.until_text("#host-apps", "Node devices")
        page.driver.switch_to.frame(page.driver.find_element("css selector", frame))
        page.until_state("ready")
        page.until(lambda: len(page.names) == 6)
        page.until(lambda: page.shows("#picture svg"))
