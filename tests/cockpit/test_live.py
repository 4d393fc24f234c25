"""What changes on the host while the page is open, and what the page shows of a device."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.client import Client
from tests.cockpit.marks import MARKS
from tests.cockpit.opened import Opened, Opener
from tests.support.hosts import host_file, unpacked
from tests.support.played_control import play
from tests.support.running import Running, ctl, running
from tests.support.trees import Tree

pytestmark = MARKS
CARD = "/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0"
UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
NAME = f"mdev_{UUID.replace('-', '_')}"


class Host:
    """A host that changes under a daemon."""

    def __init__(self, tree: Tree, daemon: Running) -> None:
        self.tree = tree
        self._daemon = daemon

    def write(self, path: str, value: str) -> None:
        """Do what the kernel does for a write, and have the daemon read the host again."""
        play(self.tree, path, value)
        self._daemon.process.send_signal(signal.SIGHUP)


@pytest.fixture
def host(opener: Opener) -> Iterator[Host]:
    """Serve a host with a card and two mdevs."""
    tree = unpacked("vgpu-pf", opener.directory / "host")
    with running(opener.directory, Path(tree.root)) as daemon:
        yield Host(tree, daemon)


def test_vgpu_that_comes_and_goes_is_shown_at_once(opener: Opener, host: Host) -> None:
    """In the table, the picture, the events and the line of status; without a reload."""
    page = opener.open()
    page.until_text("#picture svg desc", "")
    page.until(lambda: page.shows("#picture svg"))
    page.until_text(".status", "6 devices")
    assert NAME not in page.names
    for _ in range(2):
        host.write(f"{CARD}/mdev_supported_types/nvidia-283/create", UUID)
        page.until(lambda: NAME in page.names, NAME)
        page.until_text(".status", "7 devices")
        page.until(lambda: page.shows(f"#picture [data-device='{NAME}']"), "a slice")
        assert page.texts("#events tbody tr")[-1] or page.texts("#events tbody tr")[0]
        assert any("added" in row and NAME in row for row in page.texts("#events tbody tr"))
        host.write(f"{CARD}/{UUID}/remove", "1")
        page.until(lambda: NAME not in page.names, f"no {NAME}")
        page.until(lambda: not page.shows(f"#picture [data-device='{NAME}']"), "no slice")
        page.until_text(".status", "6 devices")
        assert any("removed" in row and NAME in row for row in page.texts("#events tbody tr"))
    assert page.js("return window.loadedOnce")


def test_focus_outlives_what_is_made_anew(opener: Opener, host: Host) -> None:
    """On a link of the events it stays; from a row that goes it moves to the filter."""
    page = opener.open()
    page.until(lambda: len(page.names) == 6)
    host.write(f"{CARD}/mdev_supported_types/nvidia-283/create", UUID)
    link = f"#events a[href='#/device/{NAME}']"
    page.until(lambda: page.shows(link))
    other = UUID.replace("1001", "1002")
    page.js("document.querySelector(arguments[0]).focus()", link)
    host.write(f"{CARD}/mdev_supported_types/nvidia-283/create", other)
    page.until_text("#events tbody", other.replace("-", "_"))
    assert page.focus == NAME
    page.js("document.querySelector(arguments[0]).focus()", f"#devices a[href='#/device/{NAME}']")
    host.write(f"{CARD}/{UUID}/remove", "1")
    page.until(lambda: NAME not in page.names)
    assert page.focus == "Text"


def test_details_of_a_device_that_goes_say_so_and_come_back(opener: Opener, host: Host) -> None:
    """What was known of it stays in sight."""
    host.write(f"{CARD}/mdev_supported_types/nvidia-283/create", UUID)
    page = opener.open()
    page.until(lambda: NAME in page.names)
    page.js("location.hash = arguments[0]", f"#/device/{NAME}")
    page.until_text("#properties", UUID)
    host.write(f"{CARD}/{UUID}/remove", "1")
    page.until_text(".gone", "This device is no longer present.")
    assert UUID in page.text("#properties")
    host.write(f"{CARD}/mdev_supported_types/nvidia-283/create", UUID)
    page.until(lambda: page.text(".gone") == "")
    page.click("nav a")
    page.until(lambda: page.shows(f"#picture [data-device='{NAME}']"), "a slice of what came since")


def test_details_are_those_of_the_daemon(opener: Opener, host: Host) -> None:
    """A list of terms, the XML in both formats, links to other devices, and the way back."""
    page = opener.open()
    page.until(lambda: len(page.names) == 6)
    mdev = next(name for name in page.names if name.startswith("mdev_"))
    with Client(str(opener.directory / "nodedevd.sock")) as client:
        native = client.dump_xml([mdev])
        libvirt = client.dump_xml([mdev], form="libvirt")
    page.click(f"#devices a[href='#/device/{mdev}']")
    page.until_text("h1", mdev)
    assert page.js("return document.activeElement.tagName") == "H1"
    terms = dict(zip(page.texts("#properties dt"), page.texts("#properties dt + dd"), strict=True))
    assert terms["Driver"] == "vfio_mdev"
    assert terms["Type name"] == "GRID P40-4C"
    assert terms["IOMMU group"] == "40"
    xml = "return document.querySelector('#xml pre').textContent"
    page.until(lambda: page.js(xml) == native, "the XML")
    page.choose("#xml select", "libvirt")
    page.until(lambda: page.js(xml) == libvirt, "libvirt's XML")
    page.click("#properties a[href='#/device/pci_0000_02_00_0']")
    page.until_text("h1", "pci_0000_02_00_0")
    page.until_text("#children", mdev)
    page.driver.back()
    page.until_text("h1", mdev)
    page.click("nav a")
    page.until_text("h1", "Node devices")
    assert len(page.names) == 6
    page.js("location.hash = '#/device/no_such_device'")
    page.until_text(".gone", "There is no device named no_such_device.")


_COUNTED = """
window.asked = [];
const { channel } = cockpit;
cockpit.channel = options => {
    const made = channel(options), { send } = made;
    made.send = bytes => {
        window.asked.push(new TextDecoder().decode(bytes));
        return send.call(made, bytes);
    };
    return made;
};
"""


def test_what_changes_without_an_event_is_looked_at_again(opener: Opener, host: Host) -> None:
    """When the user comes back to the page: the picture, and who has a device open."""
    page = opener.open()
    page.until(lambda: page.shows("#picture svg"))
    mdev = next(name for name in page.names if name.startswith("mdev_"))
    page.js(_COUNTED)
    focus = "window.asked.length = 0; window.dispatchEvent(new Event('focus'))"
    asked = "return window.asked.filter(one => one.includes(arguments[0])).length"
    page.js("document.querySelector('#picture svg').dataset.same = 'yes'")
    page.js(focus)
    page.until(lambda: page.js(asked, "Devices.Draw"), "Draw")
    assert "4 × 4 GB" in page.text("#picture")
    assert page.js("return document.querySelector('#picture svg').dataset.same") == "yes"
    host.tree.file(f"{CARD}/mdev_supported_types/nvidia-283/available_instances", "3\n")
    page.until(lambda: page.js(focus) or "3 × 4 GB" in page.text("#picture"), "another picture")
    page.js("location.hash = arguments[0]", f"#/device/{mdev}")
    page.until_text("#properties", "unknown")
    page.js(focus)
    page.until(lambda: page.js(asked, "Devices.InUse"), "InUse")


def test_click_on_the_picture_shows_the_device(opener: Opener, host: Host) -> None:
    """A slice leads to the details of its vGPU."""
    page = opener.open()
    page.until(lambda: page.shows("#picture [data-device^='mdev_']"))
    name = page.js(
        "return document.querySelector(\"#picture [data-device^='mdev_']\").dataset.device"
    )
    page.click(f"#picture [data-device='{name}'] rect")
    page.until_text("h1", name)


def test_table_is_filtered_by_text_and_capability(opener: Opener) -> None:
    """Both at once; the words may stand in any part of a device."""
    with running(opener.directory, host_file("vgpu-sriov")):
        page = opener.open()
        page.until(lambda: len(page.names) == 30)
        page.choose("#devices select", "mdev_child")
        page.until(lambda: len(page.names) == 5)
        page.fill("#devices input", "A2-4Q c3d7")
        page.until(lambda: page.names == ["mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03"])
        page.until_text("#devices [role=status]", "1 of 30")
        page.fill("#devices input", "nothing has this")
        page.until_text("#devices", "No device matches the filter.")
        page.click("#devices .empty-state button")
        page.until(lambda: len(page.names) == 30)
        page.fill("#devices input", "intel ethernet i40e")
        page.until(lambda: page.names == ["pci_0000_81_00_0", "pci_0000_81_00_1"])


def test_findings_are_those_of_doctor(opener: Opener) -> None:
    """All of them, the worst first, with the commands that mend them."""
    host = host_file("vgpu-sriov")
    expected = json.loads(ctl("--sysroot", str(host), "doctor", "--json").stdout)["findings"]
    with running(opener.directory, host):
        page = opener.open()
        page.until_text("#findings", f"{len(expected)} findings; 30 devices checked.")
        found = page.js(
            "return [...document.querySelectorAll('.finding-list > li')].map(one => ["
            "one.querySelector('.finding-text').textContent, one.querySelector('a')?.textContent,"
            "one.querySelector('details > p').textContent,"
            "one.querySelector('details pre')?.textContent ?? ''])"
        )
        assert found == [
            [one["text"], one["device"], one["advice"], "\n".join(one["mend"])] for one in expected
        ]
        page.click("#findings summary")
        assert page.shows("#findings details pre")
        page.click("#findings .finding-head a")
        page.until_text("h1", expected[0]["device"])
        page.until_text("#device-findings", expected[0]["advice"][:20] and "What to do")


def fits(page: Opened, kind: str, count: int) -> str:
    """Ask where vGPUs fit, and return the answer."""
    page.fill(page.label("Type of vGPU"), kind)
    page.fill("#fits input[type=number]", str(count))
    before = page.text("#fits .verdict")
    page.click("#fits button[type=submit]")
    page.until(lambda: page.text("#fits .verdict") != before, "another answer")
    return page.text("#fits .answer")


def test_where_it_fits_is_answered_with_reasons(opener: Opener, host: Host) -> None:
    """Yes and no by card; a type that nobody offers is told with those nearest to it."""
    page = opener.open()
    page.until(lambda: page.js("return document.querySelectorAll('datalist option').length > 0"))
    assert "Yes: 2 × P40-4C fit." in (answer := fits(page, "P40-4C", 2))
    assert "Room for 4" in answer
    assert "No: 9 × P40-4C do not fit." in fits(page, "P40-4C", 9)
    answer = fits(page, "P40-8Q", 1)
    assert "No: 1 × P40-8Q do not fit." in answer or "no device offers" in answer
    assert "no device offers the type 'X9-1Q'; the nearest are" in fits(page, "X9-1Q", 1)
    assert "Room for 4" in fits(page, "P40-4C", 1)
    host.write(f"{CARD}/mdev_supported_types/nvidia-283/create", UUID)
    type_file = f"{CARD}/mdev_supported_types/nvidia-283/available_instances"
    host.tree.file(type_file, "3\n")
    page.until_text("#fits .answer", "Room for 3")


_NOTED = """
window.noted = [];
const answer = document.querySelector("#fits .answer");
const note = all => window.noted.push(...all.map(one => one.target.className || one.target.role));
new MutationObserver(note).observe(answer, { childList: true, subtree: true, characterData: true });
"""


def test_answer_that_is_the_same_is_not_read_aloud_again(opener: Opener, host: Host) -> None:
    """Only the verdict is a status, and a card of which nothing has changed keeps its element."""
    page = opener.open()
    page.until(lambda: page.js("return document.querySelectorAll('datalist option').length > 0"))
    fits(page, "P40-4C", 2)
    assert page.texts("#fits [role=status]") == [page.text("#fits .verdict")]
    page.js(_COUNTED + _NOTED)
    asked = "return window.asked.filter(one => one.includes('Devices.Fits')).length"
    host.write(f"{CARD}/numa_node", "1")
    page.until(lambda: page.js(asked), "asked again")
    page.click("#fits button[type=submit]")
    page.until(lambda: page.js(asked) >= 2, "asked a third time")
    host.write(f"{CARD}/mdev_supported_types/nvidia-283/available_instances", "3")
    page.until_text("#fits .answer", "Room for 3")
    assert page.js("return window.noted") == ["card-list"]


_CARDS = """
const [done] = arguments;
const page = "/cockpit/@localhost/nodedevd";
const cards = Array.from({ length: 60 }, (_one, at) => ({
    card: `card_${at + 10}`, type: "t", reason: null, available: 1, sure: 1,
    functions: [], others: [],
}));
Promise.all([import(`${page}/views/fits.js`), import(`${page}/varlink/frames.js`)])
    .then(([{ FitsView }, { encode }]) => {
        const { channel } = cockpit;
        cockpit.channel = options => {
            if (options.unix !== "/x")
                return channel(options);
            const handlers = {};
            const reply = encode({ parameters: { answer: "yes", count: 1, cards } });
            return {
                addEventListener: (name, handler) => { handlers[name] = handler },
                send: () => setTimeout(() => handlers.message(null, reply)),
                close: () => {},
            };
        };
        const view = new FitsView({ path: "/x" }, new Map(), () => {});
        document.querySelector("h1").after(view.element);
        done();
    });
"""


def test_many_cards_are_shown_when_they_are_asked_for(opener: Opener) -> None:
    """The first 50, and the others by a button, whose focus goes to the first of them."""
    page = opener.open(state="absent")
    page.driver.execute_async_script(_CARDS)
    names = "#fits .card-list a"
    assert "Yes: 1 × t fit." in fits(page, "t", 1)
    page.until(lambda: len(page.texts(names)) == 50)
    page.click("#fits .answer > button")
    assert page.texts(names) == [f"card_{number}" for number in range(10, 70)]
    assert page.focus == "card_60"
    assert not page.shows("#fits .answer > button")


_HOSTILE = (
    '<svg xmlns="http://www.w3.org/2000/svg" class="nd" onload="x()"><script>x()</script>'
    "<style>*{fill:red}</style><foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>x</p>"
    '</foreignObject><a href="javascript:x()"><rect class="nd-open"/></a><image href="x.png"/>'
    '<use href="#x"/><g id="devices" class="nd-page card" data-device="a">'
    '<rect id="nd-1" fill="url(http://x/)" style="x" y="1" onclick="x()"/>'
    '<text fill="url(#nd-hatch)" stroke="a&#10;url(//x)">&lt;b&gt;</text></g></svg>'
)
_TAKE = """
const [texts, done] = arguments;
import("/cockpit/@localhost/nodedevd/views/svg.js").then(({ sanitised }) => done(texts.map(text => {
    try { return sanitised(text).outerHTML } catch (error) { return error.name }
})));
"""


def test_picture_is_shapes_and_texts_and_nothing_else(opener: Opener) -> None:
    """Whatever answers as the daemon: no script, style, link, image, or name of the page's."""
    page = opener.open(state="absent")
    others = ["<html xmlns='http://www.w3.org/1999/xhtml'/>", "<svg/>", "<svg", "x"]
    drawn, *wrong = page.driver.execute_async_script(_TAKE, [_HOSTILE, *others])
    assert drawn == (
        '<svg class="nd"><g data-device="a">'
        '<rect id="nd-1" y="1"></rect><text fill="url(#nd-hatch)">&lt;b&gt;</text></g></svg>'
    )
    assert wrong == ["TypeError"] * 4
    # The policy has refused the styles of what was parsed.
    assert all("Content Security Policy" in one for one in page.complaints)


def test_hostile_names_are_text(opener: Opener) -> None:
    """A host whose attributes hold markup and control characters runs nothing, and is shown."""
    tree = unpacked("vgpu-pf", opener.directory / "host")
    evil = "<img src=x onerror=window.hacked=1>\x07\u202e)1("
    tree.file(f"{CARD}/mdev_supported_types/nvidia-283/name", evil)
    with running(opener.directory, Path(tree.root)):
        page = opener.open()
        page.until(lambda: page.shows("#picture svg"))
        page.fill("#devices input", "img")
        page.until(lambda: page.names)
        shown = r"<img src=x onerror=window.hacked=1>\x07\u202e)1("
        assert shown in page.text("#devices tbody")
        page.click("#devices tbody a")
        page.until_text("#properties", shown)
        assert shown in page.text(".page-head")
        assert page.js("return document.querySelector('img')") is None
        assert page.js("return window.hacked") is None
