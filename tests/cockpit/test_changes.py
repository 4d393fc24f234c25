"""Create, remove, start and stop from the page, by the control service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.client import Control
from tests.cockpit.marks import MARKS
from tests.cockpit.opened import Opened, Opener
from tests.support.hosts import unpacked
from tests.support.played_control import controlled
from tests.support.running import running

pytestmark = MARKS
NOT_OURS = "mdev_a2c1a9b0_5c3e_4f27_b6d4_0d6e2f9b7c02"
STOPPED = "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03"
ACT = "dialog button[type=submit]"


@pytest.fixture
def page(opener: Opener) -> Iterator[Opened]:
    """Open the page for a host with a card that has room, and its control service."""
    tree = unpacked("vgpu-sriov", opener.directory / "host")
    with (
        running(opener.directory, Path(tree.root), "--reconcile", "0.3"),
        controlled(Path(tree.root)),
    ):
        page = opener.open()
        page.until(lambda: page.shows(".page-actions button"))
        yield page


def planned(page: Opened) -> str:
    """Wait for the plan in the dialog, and return it."""
    page.until(lambda: page.js(f"return document.querySelector('{ACT}')?.disabled === false"))
    return page.text("dialog .plan")


def act(page: Opened, action: str, name: str) -> None:
    """Press a button in the row of a device."""
    page.click(f"#devices button[aria-label='{action} {name}']")
    page.until(lambda: page.shows("dialog"))


def test_vgpu_is_created_and_removed_by_its_owner_alone(opener: Opener, page: Opened) -> None:
    """Each with its plan first; the refusal of another owner is shown as it was told."""
    page.click(".page-actions button")
    page.until_text("dialog h2", "Create vGPU")
    page.choose(page.label("Type"), "nvidia-746")
    page.fill(page.label("Owner"), "vm-7")
    plan = planned(page)
    uuid = page.js("return document.querySelector(arguments[0]).value", page.label("UUID"))
    assert "These steps will be taken:" in plan
    assert uuid in plan
    name = f"mdev_{uuid.replace('-', '_')}"
    assert name not in page.names
    page.click(ACT)
    page.until_text(".messages", f"{name} is created.")
    page.until(lambda: name in page.names)
    with Control(str(opener.directory / "control.sock")) as control:
        [made] = [one for one in control.list().devices if one.name == name]
        assert (made.origin, made.owner) == ("client", "vm-7")

    act(page, "Remove", name)
    page.until_text("dialog [role=alert]", f"{name} belongs to 'vm-7'; give that owner")
    page.until_text("dialog [role=alert]", "nodedevctl control shows whose each device is")
    page.until_text("dialog", "Made by nodedevd for a client. Owner: vm-7")
    assert page.js(f"return document.querySelector('{ACT}').disabled")
    page.fill(page.label("Owner"), "vm-7")
    assert f"remove the mdev {uuid}" in planned(page) or uuid in planned(page)
    page.click(ACT)
    page.until_text(".messages", f"{name} is removed.")
    page.until(lambda: name not in page.names)
    page.until(lambda: page.focus in ("Text", "Node devices"), "the focus, whose button is gone")


def test_definition_is_started_and_stopped(page: Opened) -> None:
    """Its row changes from defined to active and back."""
    row = f"#devices tr:has(button[aria-label$='{STOPPED}'])"
    page.until_text(row, "defined")
    act(page, "Start", STOPPED)
    assert "c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03" in planned(page)
    page.click(ACT)
    page.until_text(".messages", f"{STOPPED} is started.")
    page.until_text(row, "active")
    act(page, "Stop", STOPPED)
    planned(page)
    page.click(ACT)
    page.until_text(".messages", f"{STOPPED} is stopped.")
    page.until_text(row, "defined")


def test_what_others_have_made_takes_force(page: Opened) -> None:
    """The box appears with the refusal that it would get past, and the plan is made anew."""
    act(page, "Remove", NOT_OURS)
    page.until_text("dialog [role=alert]", f"{NOT_OURS} was made by somebody else, not by nodedevd")
    page.until(lambda: page.shows("dialog .check"))
    page.click("dialog .check input")
    planned(page)
    assert page.text("dialog [role=alert]") == ""
    page.click(ACT)
    page.until(lambda: NOT_OURS not in page.names)


def test_refusal_of_a_plan_is_shown_and_cancel_changes_nothing(page: Opened) -> None:
    """A type that is full, by the sentence of the service; the focus goes back to the button."""
    before = page.names
    page.click(".page-actions button")
    page.find("dialog")
    page.choose(page.label("Type"), "nvidia-742")
    page.until_text("dialog [role=alert]", "no room for the type 'nvidia-742'")
    page.until_text("dialog [role=alert]", "nodedevctl fits shows what each card has room for")
    assert page.js(f"return document.querySelector('{ACT}').disabled")
    page.choose(page.label("Type"), "nvidia-746")
    page.fill("dialog input[type=number]", "0")
    page.until_text("dialog .plan", "Fill in the fields")
    page.fill("dialog input[type=number]", "2")
    assert planned(page).count("create") >= 1 or planned(page)
    page.find("dialog").send_keys("\ue00c")  # Escape
    page.until(lambda: not page.shows("dialog"))
    assert page.js("return document.activeElement.textContent") == "Create vGPU"
    assert page.names == before


def test_vgpu_is_created_where_the_plan_says_or_not_at_all(opener: Opener, page: Opened) -> None:
    """If the function is taken meanwhile, that is said, and a new plan has another one."""
    before = page.names
    page.click(".page-actions button")
    page.find("dialog")
    page.choose(page.label("Type"), "nvidia-746")
    function = planned(page).split()[-1]
    with Control(str(opener.directory / "control.sock")) as control:
        control.create("nvidia-746", names=[function])
    for kind in (opener.directory / f"host/{function}/mdev_supported_types").iterdir():
        (kind / "available_instances").write_text("0\n")  # the driver's part
    page.click(ACT)
    page.until_text("dialog [role=alert]", "no room for the type 'nvidia-746': none on")
    page.until(lambda: len(page.names) == len(before) + 1, "what took the function")
    page.click("dialog .alert button")
    other = planned(page).split()[-1]
    assert other != function
    page.click(ACT)
    page.until_text(".messages", "is created.")
    page.until(lambda: len(page.names) == len(before) + 2, "the vGPU")


_IN_PROGRESS = """
const [done] = arguments;
const page = "/cockpit/@localhost/nodedevd";
Promise.all([import(`${page}/changes/dialog.js`), import(`${page}/varlink/errors.js`)])
    .then(([{ openDialog }, { Refused }]) => {
        const error = "org.nodedevd.Control.StepFailed";
        const given = { step: "write x", detail: "the driver refuses it", left: ["second"] };
        openDialog({
            plan: async () => ({ steps: ["write x"], notes: [] }),
            change: () => new Promise((resolve, reject) => {
                window.succeed = resolve;
                window.fail = () => reject(new Refused(error, given));
            }),
        }, {
            title: "Remove", about: null, fields: [], parameters: () => ({ name: "x" }),
            method: "Remove", label: "Remove", danger: true,
            done: () => { window.succeeded = true },
        });
        done();
    });
"""


def test_dialog_stays_until_its_change_has_ended(opener: Opener) -> None:
    """However often Escape is pressed: a failure and what is left of it are to be seen."""
    page = opener.open(state="absent")
    page.driver.execute_async_script(_IN_PROGRESS)
    for end in ("fail", "succeed"):
        planned(page)
        page.click(ACT)
        page.until_text(ACT, "In progress")
        for _ in range(4):  # the page can prevent one of them for each click
            page.driver.switch_to.active_element.send_keys("\ue00c")  # Escape
        page.until(lambda: page.shows("dialog:modal"), "the dialog")
        page.js(f"window.{end}()")
        if end == "fail":
            page.until_text("dialog [role=alert]", "could not write x: the driver refuses it")
            assert "second" in page.text("dialog [role=alert]")
            page.click("dialog .alert button")
    page.until(lambda: page.js("return window.succeeded && !document.querySelector('dialog')"))


def test_details_have_the_same_buttons(page: Opened) -> None:
    """And say who made the device."""
    page.js("location.hash = arguments[0]", f"#/device/{NOT_OURS}")
    page.until_text("#properties", "Not made by nodedevd.")
    page.until_text(".page-actions", "Remove")
    page.js("location.hash = arguments[0]", f"#/device/{STOPPED}")
    page.until_text(".page-actions", "Start")
    page.click(".page-actions button")
    planned(page)
    page.click(ACT)
    page.until_text(".page-actions", "Stop")
    page.until(lambda: page.focus == STOPPED, "the focus, whose button is gone")
    page.js("location.hash = '#/device/pci_0000_08_00_7'")
    page.until_text("h1", "pci_0000_08_00_7")
    page.click(".page-actions button")
    page.until_text("dialog h2", "Create vGPU")
    chosen = page.js("return document.querySelector(arguments[0]).value", page.label("Place"))
    assert chosen == "pci_0000_08_00_7"


def test_card_with_room_has_a_button_that_creates_there(page: Opened) -> None:
    """With the type that was asked for."""
    page.fill(page.label("Type of vGPU"), "A2-4C")
    page.click("#fits button[type=submit]")
    page.click("#fits .card-list button")
    page.until_text("dialog h2", "Create vGPU")
    value = "return document.querySelector(arguments[0]).selectedOptions[0].text"
    assert "NVIDIA A2-4C" in page.js(value, page.label("Type"))
    assert page.js(value, page.label("Place")) == "pci_0000_08_00_0"
    assert "create the mdev" in planned(page)


def test_without_the_control_service_there_are_no_buttons(opener: Opener) -> None:
    """And one that ends while its dialog is open is told with how it is enabled."""
    tree = unpacked("vgpu-sriov", opener.directory / "host")
    with running(opener.directory, Path(tree.root)):
        with controlled(Path(tree.root)):
            page = opener.open()
            page.until(lambda: page.shows(".page-actions button"))
            page.click(".page-actions button")
            page.find("dialog")
            page.choose(page.label("Type"), "nvidia-746")
            planned(page)
        page.click(ACT)
        page.until_text("dialog [role=alert]", "systemctl enable --now nodedevd-control.socket")
        with controlled(Path(tree.root)):
            page.click("dialog .alert button")
            planned(page)
        page.click("dialog .dialog-buttons .link")
        (opener.directory / "control.sock").unlink(missing_ok=True)
        page.driver.refresh()
        page.until_state("ready")
        page.until_text("#findings", "findings")
        assert not page.shows(".page-actions button")
        assert page.texts("#devices tbody button") == []
