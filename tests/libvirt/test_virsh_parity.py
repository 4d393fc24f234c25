"""virsh beside itself: on nodedevd it prints what it does on a real libvirtd, and ends alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from nodedevd.cli.tree_drawing import draw
from tests.libvirt.test_libvirtd import needs_libvirtd, ours
from tests.libvirt.test_virsh import VIRSH_9, needs_virsh, served
from tests.support import libvirtd
from tests.support.hosts import unpacked
from tests.support.libvirtd import Printed
from tests.unit.server.libvirt.test_session import WORDS

pytestmark = [needs_libvirtd, needs_virsh]

EXTRA: Mapping[str, Mapping[str, str]] = {
    "vgpu-sriov": {},
    "samples": {"mbochs_mbochs": "computer", "mdpy_mdpy": "computer"},
    "server-storage-fc": {"block_sr2": "scsi_3_0_0_0"},
    "laptop-usb-wifi": {"drm_card192": "computer", "usb_1_10": "usb_usb1"},
}
"""Hosts, and the devices there that nodedevd alone shows: below each stands what is below it in
libvirtd. They are the deviations `parent`, `udev` and `minor`."""

Command: TypeAlias = tuple[str, ...]

NOBODY = "nobody"
NO_HOST = "1111111111111111,2222222222222222"
TREES: Sequence[Command] = (
    ("nodedev-list", "--tree"),
    ("nodedev-list", "--tree", "--all"),
    ("nodedev-list", "--tree", "--inactive"),
)
LISTS: Sequence[Command] = (
    ("nodedev-list",),
    ("nodedev-list", "--all"),
    ("nodedev-list", "--inactive"),
    *(("nodedev-list", "--cap", word) for word in WORDS[:VIRSH_9]),
    *(("nodedev-list", "--all", "--cap", word) for word in ("mdev", "pci,net")),
)
MISTAKES: Sequence[Command] = (
    ("nodedev-list", "--cap", "nonsense"),
    ("nodedev-list", "--tree", "--cap", "pci"),
    ("nodedev-info",),
    ("nodedev-dumpxml", ""),
    ("nodedev-dumpxml", "a,b"),
    ("nodedev-event", "--event", "nonsense"),
    ("nodedev-event", "--event", "lifecycle", "--device", NOBODY),
    *(
        (f"nodedev-{word}", NOBODY)
        for word in (
            *("info", "dumpxml", "destroy", "start", "undefine", "autostart"),
            *("detach", "reattach", "reset"),
        )
    ),
)
ASIDE: Sequence[Command] = (("uri",), ("nodedev-event", "--list"))

REFUSED = "nodedevd changes nothing for libvirt's clients without --libvirt-writes"
UNSUPPORTED = "this function is not supported by the connection driver"
WORDED: Mapping[Command, tuple[str, str]] = {
    ("nodedev-dumpxml", NO_HOST): (
        "An error occurred, but the cause is unknown",
        f"Node device not found: no node device with matching name '{NO_HOST}'",
    ),
    ("nodedev-create", "/dev/null"): (
        "(node_device_definition):1: Document is empty",
        f"Operation not supported: {REFUSED}: NODE_DEVICE_CREATE_XML",
    ),
    ("nodedev-define", "/dev/null"): (
        "(node_device_definition):1: Document is empty",
        f"Operation not supported: {REFUSED}: NODE_DEVICE_DEFINE_XML",
    ),
    ("capabilities",): (
        f"{UNSUPPORTED}: virConnectGetCapabilities",
        f"{UNSUPPORTED}: CONNECT_GET_CAPABILITIES",
    ),
    ("sysinfo",): (
        f"{UNSUPPORTED}: virConnectGetSysinfo",
        f"{UNSUPPORTED}: CONNECT_GET_SYSINFO",
    ),
    ("list",): (f"{UNSUPPORTED}: virConnectNumOfDomains", "unknown procedure: 51"),
    ("nodeinfo",): (f"{UNSUPPORTED}: virNodeGetInfo", "unknown procedure: 6"),
}
"""Both refuse these, in other words: what libvirtd says, what nodedevd does."""

MORE: Mapping[Command, str] = {
    ("hostname",): f"{UNSUPPORTED}: virConnectGetHostname",
    ("version",): f"{UNSUPPORTED}: virConnectGetVersion",
}
"""nodedevd alone answers these; what libvirtd says."""


class Both:
    """What came of the same commands on libvirtd and on nodedevd, over one sample host."""

    def __init__(self, host: str, directory: Path) -> None:
        root = Path(unpacked(host, directory / "host").root)
        self.extra = EXTRA[host]
        self.infos = [("nodedev-info", name) for name in ours(root)]
        script = [*TREES, *LISTS, *MISTAKES, *ASIDE, *WORDED, *MORE, *self.infos]
        self.theirs = dict(zip(script, libvirtd.virsh(root, script), strict=True))
        with served(directory, root) as daemon:
            self.ours = {
                command: _at(libvirtd.URI, daemon.uri, libvirtd.run_virsh(daemon.uri, command))
                for command in script
            }


def _at(uri: str, own: str, printed: Printed) -> Printed:
    """Put one URI in the place of another."""
    status, output, errors = printed
    return Printed(status, output.replace(own, uri), errors.replace(own, uri))


@pytest.fixture(scope="module", params=EXTRA)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Return what came of all commands, for each host."""
    return Both(request.param, tmp_path_factory.mktemp("virsh"))


def parents(tree: str) -> dict[str, str | None]:
    """Read a tree that virsh has drawn: each device's parent."""
    found: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^(?:(.*)\+- )?(\w+)$", tree, re.MULTILINE):
        while above and above[-1][0] >= len(indent):
            above.pop()
        found[name] = above[-1][1] if above else None
        above.append((len(indent), name))
    return found


def without(extra: Mapping[str, str], tree: dict[str, str | None]) -> dict[str, str | None]:
    """Hang what is below the extra devices where libvirtd has it."""
    return {
        name: extra.get(parent or "", parent) for name, parent in tree.items() if name not in extra
    }


def test_lists_are_the_same(both: Both) -> None:
    """Plain, with every state and by every word, but for the devices nodedevd alone shows."""
    for command in LISTS:
        status, output, errors = both.ours[command]
        lines = [
            line for line in output.splitlines(keepends=True) if line.strip() not in both.extra
        ]
        assert Printed(status, "".join(lines), errors) == both.theirs[command], command
    assert "computer" in both.theirs["nodedev-list",].output.splitlines()


def test_trees_are_the_same(both: Both) -> None:
    """Blank for blank; drawn again without the devices nodedevd alone shows."""
    for command in TREES:
        status, output, errors = both.ours[command]
        if both.extra and output.strip():
            output = draw(without(both.extra, parents(output))) + "\n"
        assert Printed(status, output, errors) == both.theirs[command], command
    assert both.theirs["nodedev-list", "--tree"].output.startswith("computer\n  |\n  +- ")


def test_states_are_the_same(both: Both) -> None:
    """Name, parent, active, persistent and autostart of every device that both show."""
    for command in both.infos:
        if command[1] not in both.extra:
            status, output, errors = both.ours[command]
            for name, parent in both.extra.items():
                output = re.sub(rf"^(Parent: +){name}$", rf"\g<1>{parent}", output, flags=re.M)
            assert Printed(status, output, errors) == both.theirs[command], command
            assert status == 0, command


def test_extra_device_is_known_to_nodedevd_alone(both: Both) -> None:
    """What libvirtd does not list, it does not find either."""
    for name in both.extra:
        assert both.ours["nodedev-info", name].status == 0
        assert both.theirs["nodedev-info", name].status == 1


def test_mistakes_are_told_in_the_same_words(both: Both) -> None:
    """On standard error, with exit status 1, whoever finds it: virsh or what it is connected to."""
    for command in MISTAKES:
        assert both.ours[command] == both.theirs[command], command
        assert both.ours[command].status == 1, command
        assert both.ours[command].errors.startswith("error: "), command


def test_uri_and_events_are_the_same(both: Both) -> None:
    """Where it is connected to, and which events there are."""
    for command in ASIDE:
        assert both.ours[command] == both.theirs[command], command
        assert both.ours[command].status == 0, command


def test_refusals_are_no_more_than_worded_otherwise(both: Both) -> None:
    """Exit status 1 and the line of virsh's own are the same, the reasons as documented."""
    for command, (theirs, own) in WORDED.items():
        expected = both.theirs[command]
        assert f"\nerror: {theirs}\n" in f"\n{expected.errors}", command
        first = expected.errors.partition(f"error: {theirs}\n")[0]
        errors = f"{first}error: {own}\n"
        assert both.ours[command] == Printed(1, expected.output, errors), command
        assert expected.status == 1, command


def test_nodedevd_tells_its_name_and_version_too(both: Both) -> None:
    """Of a connection for node devices, libvirtd does not."""
    for command, said in MORE.items():
        assert both.theirs[command].status == 1, command
        assert both.theirs[command].errors.endswith(f"error: {said}\n"), command
        assert (both.ours[command].status, both.ours[command].errors) == (0, ""), command
