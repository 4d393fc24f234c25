"""The Cockpit page in the guest's Cockpit and Chromium: real mdevs made and removed from it.

It takes a VM with more packages: make vm-test ARGS="--cockpit -k test_cockpit".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cockpit.browser import slow_browser
from tests.cockpit.opened import PAGE_PATH, Opened
from tests.cockpit.web import session
from tests.vm.guest import control, vm

PATIENCE_SECONDS = 1200.0
"""A browser under emulation takes minutes."""
# Chromium itself needs too much time under emulation.
CHROMIUM = Path("/usr/bin/chromium-headless-shell")
PACKAGE = Path("/usr/share/cockpit/nodedevd")
ACT = "dialog button[type=submit]"

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.usefixtures("no_mdevs"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="the VM was built without --cockpit"),
]


@pytest.fixture
def page(devices: None, tmp_path: Path) -> Iterator[Opened]:
    """Install the page as the guide says, and open it as root, with the control service enabled."""
    shutil.copytree("/share/cockpit", PACKAGE, dirs_exist_ok=True)
    environment = {"HOME": "/root", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    with (
        control.enabled(),
        session(tmp_path / "cockpit.log", environment) as address,
        slow_browser(CHROMIUM, PATIENCE_SECONDS) as driver,
    ):
        driver.set_page_load_timeout(PATIENCE_SECONDS)
        driver.set_script_timeout(PATIENCE_SECONDS)
        page = Opened(driver, PATIENCE_SECONDS)
        page.resize(1400)
        driver.get(address + PAGE_PATH)
        page.until_state("ready")
        yield page


def planned(page: Opened) -> str:
    """Wait for the plan in the dialog, and return it."""
    page.until(lambda: page.js(f"return document.querySelector('{ACT}')?.disabled === false"))
    return page.text("dialog .plan")


def test_mtty_is_made_and_removed_from_the_page(page: Opened) -> None:
    """Each with its plan; the kernel has what the page shows, and the page what the kernel has."""
    page.until(lambda: page.shows("#picture svg"))
    page.until_text("#findings", "devices checked")
    page.until(lambda: page.shows(".page-actions button"))

    page.click(".page-actions button")
    page.find("dialog")
    page.choose(page.label("Type"), "mtty-2")
    page.fill(page.label("Owner"), "vm-1")
    plan = planned(page)
    made = page.js("return document.querySelector(arguments[0]).value", page.label("UUID"))
    assert made in plan
    assert not (vm.MDEVS / made).exists()
    page.click(ACT)
    name = vm.mdev_name(made)
    page.until(lambda: name in page.names, name)
    assert (vm.MDEVS / made).exists()
    (listed,) = control.made("client")
    assert (listed.name, listed.owner) == (name, "vm-1")

    by_hand = vm.new_uuid()
    vm.create("mtty", by_hand)
    page.until(lambda: vm.mdev_name(by_hand) in page.names, by_hand)
    page.until_text("#events tbody", vm.mdev_name(by_hand))
    vm.remove(by_hand)
    page.until(lambda: vm.mdev_name(by_hand) not in page.names, f"no {by_hand}")

    page.click(f"#devices button[aria-label='Remove {name}']")
    page.until_text("dialog [role=alert]", "belongs to 'vm-1'")
    page.fill(page.label("Owner"), "vm-1")
    planned(page)
    with vm.opened(made):
        page.click(ACT)
        page.until_text("dialog [role=alert]", "is in use")
        assert (vm.MDEVS / made).exists()
    page.fill(page.label("Owner"), "vm-1")
    planned(page)
    page.click(ACT)
    page.until(lambda: name not in page.names, f"no {name}")
    assert not (vm.MDEVS / made).exists()
    assert page.complaints == []


def test_page_follows_a_service_that_is_restarted(page: Opened) -> None:
    """Without a reload, and with the devices that there are then."""
    page.js("window.loadedOnce = true")
    vm.run("systemctl", "stop", "nodedevd.socket", "nodedevd.service")
    page.until_text(".connection", "was lost")
    vm.run("systemctl", "start", "nodedevd.socket", "nodedevd.service")
    page.until_state("ready")
    page.until(lambda: page.text(".connection") == "")
    assert page.js("return window.loadedOnce")
