"""The script: every write that libvirt's clients know, well and badly asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from tests.vm.guest.writes.records import Call

PARENT, TYPE, OTHER = "mtty_mtty", "mtty-1", "mtty-2"
ATTRIBUTE = "<attr name='power/control' value='{}'/>"
NO_ATTRIBUTE = "<attr name='no_such' value='1'/>"
NOBODY = "no_such_device"
NET = "<capability type='net'><interface>eth9</interface></capability>"
DRM = "<capability type='drm'><type>primary</type></capability>"
ENTITY = "<!DOCTYPE device [<!ENTITY kind 'mtty-1'>]>"


class Play(Protocol):
    """What the script asks of its player."""

    version: tuple[int, int]

    def section(self, title: str) -> None:
        """Begin anew: no mdevs, no definitions."""

    def ask(self, call: Call) -> None:
        """Make a call, and note all that comes of it."""

    def held(self, one: str, *, only_group: bool) -> AbstractContextManager[None]:
        """Have an mdev open, as a virtual machine has, or its IOMMU group alone."""

    def fill(self) -> None:
        """Create mdevs behind the daemon's back until there is no room."""

    def outside(self, *command: str) -> None:
        """Run another program that changes the host, and wait until the daemon shows it."""


def uuid(number: int) -> str:
    """Return one of the script's uuids."""
    return f"83b8f4f2-509f-382f-3c1e-e6bfe0fa{number:04x}"


def name(number: int) -> str:
    """Return the name of an mdev of the script."""
    return f"mdev_{uuid(number).replace('-', '_')}_mtty"


def document(
    number: int | None = None,
    kind: str | None = TYPE,
    extra: str = "",
    *,
    parent: str | None = PARENT,
    named: bool = False,
    outside: str = "",
) -> str:
    """Return the XML of an mdev to be."""
    inner = f"<type id='{kind}'/>" if kind is not None else ""
    inner += f"<uuid>{uuid(number)}</uuid>" if number is not None else ""
    return (
        "<device>"
        + ("<name>new</name>" if named else "")
        + (f"<parent>{parent}</parent>" if parent is not None else "")
        + f"<capability type='mdev'>{inner}{extra}</capability>{outside}</device>"
    )


def of(capability: str, parent: str = "computer") -> str:
    """Return the XML of a device that is no mdev."""
    return f"<device><name>new</name><parent>{parent}</parent>{capability}</device>"


def look(play: Play, number: int) -> None:
    """Ask for all there is to know of an mdev."""
    play.ask(Call("info", name(number)))
    play.ask(Call("dumpxml", name(number)))
    if play.version >= (10, 1):
        play.ask(Call("dumpxml", name(number), options=("--inactive",)))


def lists(play: Play) -> None:
    """Ask for each list of mdevs."""
    for options in ((), ("--inactive",), ("--all",)):
        play.ask(Call("list", options=("--cap", "mdev", *options)))
    if play.version >= (10, 1):
        for option in ("--persistent", "--transient"):
            play.ask(Call("list", options=("--cap", "mdev", option)))


def create(play: Play) -> None:
    """Create: with and without uuid, with attributes, and everything wrong with it."""
    play.section("create")
    make = "create"
    play.ask(Call(make, document=document(1)))
    look(play, 1)
    play.ask(Call(make, document=document()))
    lists(play)
    play.ask(Call(make, document=document(2, OTHER, ATTRIBUTE.format("on"))))
    look(play, 2)
    for extra in (NO_ATTRIBUTE, ATTRIBUTE.format("bogus")):
        play.ask(Call(make, document=document(3, OTHER, extra)))
    play.ask(Call(make, document=document(3, OTHER, "<attr name='no_value'/>")))
    play.ask(Call(make, document=document(1)))
    play.ask(Call(make, document=document(1, OTHER)))
    play.ask(Call(make, document=document(4).replace(uuid(4), uuid(4).upper())))
    play.ask(Call(make, document=document(5).replace(uuid(5), uuid(5).replace("-", ""))))
    play.ask(Call(make, document=document(6, "mtty-9")))
    for parent in (NOBODY, "computer", "pci_0000_00_02_0", ""):
        play.ask(Call(make, document=document(6, parent=parent)))
    refused_documents(play, make)
    play.ask(Call(make, document=document(7), options=("--validate",)))
    play.ask(Call(make, document=document(7, named=True), options=("--validate",)))
    ignored = "<parent_addr>mdpy</parent_addr><start>auto</start><bogus/>"
    play.ask(Call(make, document=document(8, extra=ignored)))
    play.ask(Call(make, document=document(9), read_only=True))
    play.fill()
    play.ask(Call(make, document=document(9)))
    play.ask(Call(make, document=document()))


def refused_documents(play: Play, make: str) -> None:
    """Ask with documents that say too little, something else, or nothing."""
    second = "<capability type='mdev'><type id='mtty-2'/></capability>"
    vport = "<wwnn>2001001b32a9da4e</wwnn><wwpn>2101001b32a9da4e</wwpn>"
    host = "<capability type='scsi_host'><capability type='fc_host'>{}</capability></capability>"
    for text in (
        document(6, parent=None),
        document(6, kind=None),
        document(6, kind=""),
        document(6).replace(uuid(6), "not-a-uuid"),
        document(6).replace(uuid(6), ""),
        f"<device><parent>{PARENT}</parent></device>",
        f"<device><parent>{PARENT}</parent><capability/></device>",
        f"<device><parent>{PARENT}</parent><capability type='nonsense'/></device>",
        "<device>",
        "",
        "nothing",
        "<domain/>",
        "<device/>",
        document(6).replace("</device>", ""),
        of(NET),
        of(DRM),
        of("<capability type='scsi_host'/>"),
        of(host.format(vport)),
    ):
        play.ask(Call(make, document=text))
    play.ask(Call(make, document=document(10, outside=second)))


def destroy(play: Play) -> None:
    """Destroy: active, twice, unknown, no mdev, open."""
    play.section("destroy")
    play.ask(Call("create", document=document(1)))
    play.ask(Call("destroy", name(1), read_only=True))
    play.ask(Call("destroy", name(1)))
    for device in (name(1), "computer", PARENT, "pci_0000_00_02_0", NOBODY, ""):
        play.ask(Call("destroy", device))
    for only_group in (True, False):
        play.ask(Call("create", document=document(2)))
        with play.held(uuid(2), only_group=only_group):
            play.ask(Call("destroy", name(2)))
            play.ask(Call("info", name(2)))
        play.ask(Call("destroy", name(2)))
    play.ask(Call("create", document=document(1)))
    look(play, 1)
    lists(play)


def define(play: Play) -> None:
    """Define, start, autostart, undefine: a definition's life."""
    play.section("define")
    play.ask(Call("define", document=document(1)))
    look(play, 1)
    play.ask(Call("define", document=document(kind=OTHER)))
    play.ask(Call("define", document=document(2, OTHER, ATTRIBUTE.format("on"))))
    both = ATTRIBUTE.format("on") + ATTRIBUTE.format("auto")
    play.ask(Call("define", document=document(3, OTHER, both)))
    look(play, 3)
    if play.version >= (10, 1):  # before, what is defined cannot be defined again
        play.ask(Call("define", document=document(1, OTHER)))
        look(play, 1)
    for parent in (NOBODY, "computer", ""):
        play.ask(Call("define", document=document(5, parent=parent)))
    refused_documents(play, "define")
    play.ask(Call("define", document=document(6), options=("--validate",)))
    play.ask(Call("define", document=document(6, named=True), options=("--validate",)))
    play.ask(Call("define", document=document(7), read_only=True))
    lists(play)
    start(play)
    autostart(play)
    undefine(play)


def start(play: Play) -> None:
    """Start what is defined, twice, and what is not."""
    play.ask(Call("destroy", name(1)))
    play.ask(Call("start", name(1), read_only=True))
    play.ask(Call("start", name(1)))
    look(play, 1)
    for device in (name(1), name(3), NOBODY, "computer", PARENT):
        play.ask(Call("start", device))
    look(play, 3)
    play.ask(Call("create", document=document(2)))
    lists(play)


def autostart(play: Play) -> None:
    """Have it started with its parent, or not."""
    play.ask(Call("autostart", name(1), read_only=True))
    for options in ((), (), ("--disable",), ("--disable",)):
        play.ask(Call("autostart", name(1), options=options))
        play.ask(Call("info", name(1)))
    for device in ("computer", PARENT, NOBODY):
        play.ask(Call("autostart", device))
    play.ask(Call("create", document=document(8)))
    play.ask(Call("autostart", name(8)))
    play.ask(Call("autostart", name(8), options=("--disable",)))


def undefine(play: Play) -> None:
    """Take definitions away: of what runs, of what does not, of what has none."""
    for device in (name(8), "computer", PARENT, NOBODY):
        play.ask(Call("undefine", device))
    play.ask(Call("define", document=document(8)))
    look(play, 8)
    play.ask(Call("undefine", name(1), read_only=True))
    play.ask(Call("undefine", name(1)))
    look(play, 1)
    play.ask(Call("destroy", name(1)))
    play.ask(Call("undefine", name(1)))
    play.ask(Call("destroy", name(8)))
    play.ask(Call("info", name(8)))
    play.ask(Call("undefine", name(8)))
    lists(play)


def update(play: Play) -> None:
    """Update, which virsh has since 10.1; an older one says that it has not."""
    play.section("update")
    play.ask(Call("define", document=document(1)))
    new = document(1, OTHER, ATTRIBUTE.format("on"), named=True)
    play.ask(Call("update", name(1), new, ("--config",)))
    if play.version < (10, 1):
        return
    play.ask(Call("dumpxml", name(1), options=("--inactive",)))
    play.ask(Call("update", name(1), document(1), ("--config",)))
    for options in (("--live",), ()):
        play.ask(Call("update", name(1), document(1, OTHER, named=True), options))
    play.ask(Call("update", name(1), document(2, named=True), ("--config",)))
    for changed in (
        document(1, named=True, parent="computer"),
        document(1, None, named=True),
        document(None, named=True),
        document(1, named=True, parent=None),
        of(NET),
        "<device>",
    ):
        play.ask(Call("update", name(1), changed, ("--config",)))
    play.ask(Call("start", name(1)))
    ways: list[tuple[str, ...]] = [("--live",), ("--live", "--config"), ()]
    for way in ways:
        same = document(1, TYPE, ATTRIBUTE.format("auto"), named=True)
        play.ask(Call("update", name(1), same, way))
    play.ask(Call("update", name(1), new, ("--live",)))
    play.ask(Call("update", name(1), new, ("--config",)))
    look(play, 1)
    play.ask(Call("create", document=document(2)))
    play.ask(Call("update", name(2), document(2, named=True), ("--config",)))
    for device in ("computer", PARENT, NOBODY):
        play.ask(Call("update", device, document(2, named=True), ("--config",)))
    play.ask(Call("update", name(1), new, ("--config",), read_only=True))


def others(play: Play) -> None:
    """Detach, reattach and reset, which only a hypervisor's driver does."""
    play.section("detach")
    for device in ("pci_0000_00_02_0", "computer", NOBODY):
        for verb in ("detach", "reattach", "reset"):
            play.ask(Call(verb, device))
    play.ask(Call("detach", "pci_0000_00_02_0", options=("--driver", "vfio")))
    play.ask(Call("reset", "pci_0000_00_02_0", read_only=True))


def unlike(play: Play) -> None:
    """What both do, each in its own way; the documented differences are shown here."""
    for step in (_stored, _reread, _foreign, _of_others, _twice, _of_other_parents):
        play.section("unlike")
        step(play)


def _stored(play: Play) -> None:
    """Definitions that cannot be started."""
    for number, text in enumerate(
        (
            document(1, "mtty-9"),
            document(2, parent="pci_0000_00_02_0"),
            document(3, extra="<attr name='../x' value='1'/>"),
        ),
        start=1,
    ):
        play.ask(Call("define", document=text))
        play.ask(Call("start", name(number)))


def _reread(play: Play) -> None:
    """A definition again, which is to start with its parent."""
    play.ask(Call("define", document=document(1)))
    play.ask(Call("autostart", name(1)))
    play.ask(Call("define", document=document(1, OTHER)))
    play.ask(Call("info", name(1)))
    play.ask(Call("define", document=document(1, OTHER)))
    if play.version >= (10, 1):
        play.ask(Call("autostart", name(1)))
        play.ask(Call("update", name(1), document(1, TYPE, named=True), ("--config",)))
        play.ask(Call("info", name(1)))


def _foreign(play: Play) -> None:
    """Documents with entities, or with other namespaces."""
    play.ask(Call("create", document=ENTITY + document(1, "&kind;")))
    play.ask(Call("create", document=document(2, extra="<x xmlns='urn:x'/>")))


def _of_others(play: Play) -> None:
    """An mdev that another program has made."""
    play.outside("mdevctl", "start", "-u", uuid(1), "-p", "mtty", "-t", TYPE)
    play.ask(Call("create", document=document(1)))
    play.ask(Call("destroy", name(1)))


def _twice(play: Play) -> None:
    """Two definitions of one uuid."""
    for parent, kind in (("mtty", TYPE), ("mdpy", "mdpy-vga")):
        play.outside("mdevctl", "define", "-u", uuid(1), "-p", parent, "-t", kind)
    play.ask(Call("start", name(1)))
    play.ask(Call("undefine", name(1)))


def _of_other_parents(play: Play) -> None:
    """A parent that libvirt does not list."""
    play.ask(Call("create", document=document(1, "mdpy-vga", parent="mdpy_mdpy")))
    play.ask(Call("define", document=document(2, "mdpy-vga", parent="mdpy_mdpy")))


SECTIONS = (create, destroy, define, update, others, unlike)


def script(play: Play) -> None:
    """Play all of it."""
    for section in SECTIONS:
        section(play)
    play.section("end")
