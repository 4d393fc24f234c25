"""nodedevctl: what a user types and sees, with a daemon and without."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from lxml import etree

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.main import main
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices
from nodedevd.model.status import Status
from tests.support.hosts import FIXTURES, HOSTS
from tests.support.running import REPOSITORY, running
from tests.support.trees import Tree

COMMANDS = [
    *("list", "tree", "dumpxml", "show", "types", "status", "schema", "record"),
    *("events", "wait", "hostdev", "fits", "resolve", "doctor", "in-use"),
]
CARD = "pci_0000_02_00_0"
MDEV = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"

GVTG_TREE = """\
computer
  |
  +- pci_0000_00_00_0
  +- pci_0000_00_02_0
  |   |
  |   +- mdev_f0b7b1f4_2d0c_4c0e_9a7e_8d1f6e5c4b01
  |@@
  +- pci_0000_00_14_0
  +- pci_0000_00_1f_0
  +- pci_0000_00_1f_6
@
""".replace("@", "    ").replace("|        ", "|     ")

SAMPLES_TYPES = """\
PARENT         TYPE           NAME                API       AVAILABLE  ACTIVE  DESCRIPTION
mbochs_mbochs  mbochs-large   mbochs-large        vfio-pci  3          0       virtual display, 64 MB video memory
mbochs_mbochs  mbochs-medium  mbochs-medium       vfio-pci  15         1       virtual display, 16 MB video memory
mbochs_mbochs  mbochs-small   mbochs-small        vfio-pci  60         0       virtual display, 4 MB video memory
mdpy_mdpy      mdpy-hd        mdpy-hd             vfio-pci  3          1       virtual display, 1920x1080 framebuffer
mdpy_mdpy      mdpy-vga       mdpy-vga            vfio-pci  3          0       virtual display, 640x480 framebuffer
mdpy_mdpy      mdpy-xga       mdpy-xga            vfio-pci  3          0       virtual display, 1024x768 framebuffer
mtty_mtty      mtty-1         Single port serial  vfio-pci  21         1       -
mtty_mtty      mtty-2         Dual port serial    vfio-pci  10         1       -
"""  # noqa: E501


@dataclass
class Ctl:
    """nodedevctl with the options that come before the command."""

    options: Sequence[str]

    def run(self, *arguments: str, status: int = 0) -> Result:
        """Run a command, which has to end with this exit status."""
        result = CliRunner().invoke(main, [*self.options, *arguments], prog_name="nodedevctl")
        assert result.exit_code == status, result.output
        return result

    def out(self, *arguments: str) -> str:
        """Return what a command prints; it says nothing else."""
        result = self.run(*arguments)
        assert result.stderr == ""
        return result.stdout

    def json(self, *arguments: str) -> Any:
        """Return the decoded JSON a command prints."""
        return json.loads(self.out(*arguments))


def on(host: str) -> Ctl:
    """Return nodedevctl on a recorded host, without a daemon."""
    return Ctl(["--sysroot", str(FIXTURES / host)])


@pytest.fixture(scope="module", params=HOSTS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ctl, Ctl]]:
    """Return nodedevctl on each recorded host, without a daemon and through one."""
    directory = tmp_path_factory.mktemp("daemon")
    with running(directory, FIXTURES / request.param):
        yield on(request.param), Ctl(["--socket", str(directory / "nodedevd.sock")])


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "list --json",
        "list --cap system,pci",
        "list --cap mdev_types,mdev --json",
        "tree",
        "dumpxml --all",
        "dumpxml computer",
        "dumpxml --all --format libvirt",
        "dumpxml computer computer",
        "show --all",
        "show computer",
        "types",
        "types --json",
        "schema",
    ],
)
def test_output_through_a_daemon_equals_the_embedded_one(
    both: tuple[Ctl, Ctl], command: str
) -> None:
    """Where the devices come from cannot be seen in what is shown of them."""
    embedded, through_daemon = both
    assert through_daemon.out(*command.split()) == embedded.out(*command.split()) != ""


def test_several_devices_through_a_daemon_equal_the_embedded_ones(both: tuple[Ctl, Ctl]) -> None:
    """All devices by name, last first, come out alike, in the order asked for."""
    embedded, through_daemon = both
    names = embedded.out("list").split()[::-1]
    for command in ("show", "dumpxml"):
        assert through_daemon.out(command, *names) == embedded.out(command, *names)
    shown = embedded.json("show", *names)
    assert [device["name"] for device in shown["devices"]] == names


def test_each_device_through_a_daemon_equals_the_embedded_one(both: tuple[Ctl, Ctl]) -> None:
    """Every device of a host can be asked for by its name and by its path."""
    embedded, through_daemon = both
    for device in embedded.json("show", "--all")["devices"]:
        assert through_daemon.json("show", device["name"]) == device
        assert embedded.json("show", device["path"] or "computer") == device


def test_list_prints_a_name_a_line() -> None:
    """Names are for scripts: nothing but one a line, sorted as virsh sorts them."""
    assert on("vgpu-pf").out("list").splitlines() == [
        "computer",
        "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01",
        "mdev_83c32df7_d52e_4ec1_9668_1f3c7e4df107",
        "pci_0000_00_00_0",
        "pci_0000_00_02_0",
        "pci_0000_02_00_0",
    ]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--cap", "pci"], 3),
        (["--cap", "mdev_parent"], 1),
        (["--cap", "mdev_types"], 1),
        (["--cap", "mdev_child"], 2),
        (["--cap", "mdev"], 2),
        (["--cap", "system"], 1),
        (["--cap", "mdev_parent", "--cap", "mdev_child"], 3),
        (["--cap", "mdev_parent,mdev_child"], 3),
        (["--cap", "pci,mdev", "--cap", "system"], 6),
    ],
)
def test_list_with_capabilities_prints_devices_with_any_of_them(
    options: list[str], count: int
) -> None:
    """--cap may be repeated, or given several words, by our names and libvirt's."""
    assert len(on("vgpu-pf").out("list", *options).splitlines()) == count


@pytest.mark.parametrize("word", ["usb_hub", "", "pci,", "PCI", "mdev parent"])
def test_list_with_an_unknown_capability_is_wrong_usage(word: str) -> None:
    """A word that is none must not come out as an empty list, or as a full one."""
    result = on("vgpu-pf").run("list", "--cap", word, status=2)
    assert "is none of system, pci, css, ap_matrix, mdev_parent, mdev_types, " in result.stderr
    assert result.stdout == ""


def test_list_as_json_is_a_device_list() -> None:
    """--json gives what the model calls a DeviceList."""
    out = on("vgpu-pf").out("list", "--json", "--cap", "mdev_parent")
    listed = msgspec.json.decode(out, type=DeviceList)
    assert [(entry.name, entry.capabilities) for entry in listed.devices] == [
        (CARD, ("pci", "mdev_parent"))
    ]


def test_list_shows_mdevs_that_are_only_defined_if_it_is_asked_for_them() -> None:
    """Without a word those that are there, as virsh; with filters by capability, too."""
    host = on("vgpu-sriov")
    active = host.out("list").splitlines()
    inactive = host.out("list", "--inactive").splitlines()
    assert inactive == [
        "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03",
        "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03_c12a2c15",
        "mdev_d9e0f3a6_1b4c_4d72_8c38_5e6b9a0f2d04",
    ]
    assert host.out("list", "--all").splitlines() == sorted(active + inactive)
    assert len(host.out("list", "--cap", "mdev").splitlines()) == 2
    assert len(host.out("list", "--cap", "mdev", "--all").splitlines()) == 5
    assert host.out("list", "--cap", "pci", "--inactive") == ""


def test_list_as_json_tells_what_is_active() -> None:
    """The words filter JSON as they filter names."""
    out = on("vgpu-sriov").out("list", "--json", "--all", "--cap", "mdev")
    listed = msgspec.json.decode(out, type=DeviceList)
    assert [(entry.active, (entry.path or "")[:5]) for entry in listed.devices] == [
        (True, "/sys/"),
        (True, "/sys/"),
        (False, "/etc/"),
        (False, "/etc/"),
        (False, "/etc/"),
    ]
    out = on("vgpu-sriov").out("list", "--json", "--inactive")
    assert len(msgspec.json.decode(out, type=DeviceList).devices) == 3


def test_list_of_inactive_and_all_is_wrong_usage() -> None:
    """They contradict each other."""
    result = on("samples").run("list", "--inactive", "--all", status=2)
    assert "give --inactive or --all" in result.stderr


def test_tree_shows_mdevs_that_are_only_defined_if_it_is_asked_for_them() -> None:
    """They hang where they would appear, or below the root."""
    host = on("vgpu-sriov")
    golden = (REPOSITORY / "tests/golden/vgpu-sriov/tree.txt").read_text(encoding="utf-8")
    assert host.out("tree", "--all") == golden
    assert "mdev_27b42a51" in host.out("tree")
    assert "mdev_c3d7b1e4" not in host.out("tree")
    assert "mdev_d9e0f3a6" not in host.out("tree")


def test_tree_is_drawn_as_virsh_does() -> None:
    """The drawing is that of `virsh nodedev-list --tree`, blank for blank."""
    assert on("igpu-gvtg").out("tree") == GVTG_TREE


@pytest.mark.parametrize("name", [CARD, "0000:02:00.0", "/sys/bus/pci/devices/0000:02:00.0"])
def test_dumpxml_of_one_device_is_a_device(name: str) -> None:
    """One device, by any of its names, is the root of its document."""
    root = etree.fromstring(on("vgpu-pf").out("dumpxml", name))
    assert root.tag == "device"
    assert root.findtext("name") == CARD


def test_dumpxml_of_several_devices_is_a_document_in_the_order_asked_for() -> None:
    """Several devices are children of <devices>; one asked for twice is there once."""
    root = etree.fromstring(on("vgpu-pf").out("dumpxml", MDEV, "computer", MDEV.upper()))
    assert root.tag == "devices"
    assert [one.findtext("name") for one in root] == [f"mdev_{MDEV.replace('-', '_')}", "computer"]


def test_dumpxml_of_all_devices_has_every_device() -> None:
    """--all is what it says."""
    root = etree.fromstring(on("vgpu-pf").out("dumpxml", "--all"))
    assert [one.findtext("name") for one in root] == on("vgpu-pf").out("list").split()


@pytest.mark.parametrize("command", ["dumpxml", "show"])
@pytest.mark.parametrize("arguments", [[], ["--all", "computer"]])
def test_neither_names_nor_all_is_wrong_usage(command: str, arguments: list[str]) -> None:
    """Which devices are meant has to be said, in one way."""
    result = on("vgpu-pf").run(command, *arguments, status=2)
    assert "give the names of devices, or --all" in result.stderr


def test_show_prints_one_device_as_an_object() -> None:
    """One device is an object, which the model reads back."""
    device = msgspec.json.decode(on("vgpu-pf").out("show", MDEV), type=Device)
    assert device.parent == CARD
    assert device.types == ("mdev_child",)


def test_show_prints_several_devices_once_each_as_a_document() -> None:
    """Several names give a document, as --all does; the same device is not shown twice."""
    ctl = on("vgpu-pf")
    shown = msgspec.json.decode(ctl.out("show", MDEV, CARD, f"mdev_{MDEV}"), type=Devices)
    assert [device.name for device in shown.devices] == [f"mdev_{MDEV.replace('-', '_')}", CARD]
    everything = msgspec.json.decode(ctl.out("show", "--all"), type=Devices)
    assert set(shown.devices) < set(everything.devices)


def test_types_prints_a_table_of_all_parents() -> None:
    """The table has a line a type, and columns as wide as they need to be."""
    assert on("samples").out("types") == SAMPLES_TYPES


def test_types_of_some_parents_prints_theirs_alone() -> None:
    """Parents go by any of their names."""
    lines = on("samples").out("types", "/sys/class/mtty/mtty").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["mtty_mtty", "mtty-1"],
        ["mtty_mtty", "mtty-2"],
    ]


def test_types_of_a_device_that_is_no_parent_says_so() -> None:
    """An empty table alone would leave open whether there is nothing left."""
    result = on("samples").run("types", "computer")
    assert result.stderr == "computer is not an mdev parent: it offers no types\n"
    assert result.stdout.startswith("PARENT")


def test_types_as_json_has_every_field() -> None:
    """--json keeps numbers numbers, and the unknown null."""
    offers = on("broken").json("types", "--json", "0000:00:02.0")
    by_id = {offer["id"]: offer for offer in offers}
    assert by_id["odd-good"]["available_instances"] == 4
    assert by_id["odd-many"]["available_instances"] is None
    assert by_id["odd-good"]["parent"] == "pci_0000_00_02_0"
    assert len(by_id["odd-good"]["devices"]) == 6


def test_types_shows_the_unknown_as_such() -> None:
    """What could not be read is neither 0 nor left out."""
    lines = on("broken").out("types", "0000:00:02.0").splitlines()
    many = next(line for line in lines if " odd-many " in line)
    assert many.split() == [
        *("pci_0000_00_02_0", "odd-many", "Odd", "many", "vfio-pci", "unknown", "0", "-"),
    ]


@pytest.mark.parametrize("command", ["types", "status", "list", "tree"])
def test_control_characters_of_a_host_never_reach_the_terminal(command: str) -> None:
    """A driver's text cannot move the cursor, recolour the screen, or turn the writing round."""
    out = on("broken").out(command)
    assert [line for line in out.split("\n") if not line.isprintable()] == []


def test_control_characters_are_shown_escaped() -> None:
    """They are not swallowed, either."""
    out = on("broken").out("types", "0000:00:03.0")
    assert r"nul \x00, start \x01, tab \t, vertical \x0b, \x1b[31m" in out
    assert r"Bell\x07" in out


def test_one_overlong_text_leaves_other_lines_readable() -> None:
    """A name of 512 characters does not widen its column for every line."""
    lines = on("broken").out("types", "0000:00:03.0").splitlines()
    assert any("N" * 512 in line for line in lines)
    assert len(lines[0]) < 200


def test_status_without_a_daemon_is_that_of_the_scan() -> None:
    """Without a daemon, status tells what the scan found, and nothing of clients."""
    out = on("vgpu-pf").out("status")
    assert f"Host:        {FIXTURES}/vgpu-pf\n" in out
    assert "Devices:     6 (1 system, 3 pci, 1 mdev_parent, 2 mdev_child)\n" in out
    assert "Read errors: 0\n" in out
    assert "Clients:" not in out


def test_status_of_a_daemon_tells_of_its_process(both: tuple[Ctl, Ctl]) -> None:
    """With a daemon, status tells its process, its clients and how old the answers are."""
    embedded, through_daemon = both
    status = msgspec.json.decode(through_daemon.out("status", "--json"), type=Status)
    assert status.clients == 1
    assert status.calls >= 1
    text = through_daemon.out("status")
    assert f"process {status.pid}\n" in text
    assert "Events:      none: changes are found by the reconcile alone\n" in text
    alike = ("version", "sysroot", "devices", "capabilities", "error_count", "errors", "privileged")
    other = msgspec.json.decode(embedded.out("status", "--json"), type=Status)
    for field in alike:
        assert getattr(status, field) == getattr(other, field)


def test_status_lists_what_could_not_be_read() -> None:
    """Each read error is a line with its device, attribute, code and detail."""
    out = on("broken").out("status")
    status = msgspec.json.decode(on("broken").out("status", "--json"), type=Status)
    rows = out.partition("\n\n")[2].splitlines()
    assert rows[0].split() == ["DEVICE", "ATTRIBUTE", "ERROR", "DETAIL"]
    assert len(rows) - 1 == status.error_count == len(status.errors) > 0
    assert ["pci_0000_00_08_0", "vendor", "malformed", "garbage"] in [row.split() for row in rows]


def test_schema_is_json_schema() -> None:
    """The schema names its draft, and has the model's types."""
    schema = Ctl([]).json("schema")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"Device", "DeviceList", "Devices", "Status", "Pci"} <= set(schema["$defs"])


@pytest.mark.parametrize("host", HOSTS)
def test_raw_record_of_a_host_gives_the_same_devices(host: str, tmp_path: Path) -> None:
    """A copy that replaces nothing is scanned to the same tree and the same XML.

    But for `broken`: a directory in the place of an attribute cannot be read, and so not copied.
    """
    copy = tmp_path / "copy"
    result = on(host).run("record", "--raw", str(copy))
    count = len(Embedded(str(FIXTURES / host)).tree)
    assert result.stdout.startswith(f"recorded {count} devices into {copy}: ")
    assert "0 identifying values replaced" in result.stdout
    recorded = Ctl(["--sysroot", str(copy)])
    assert recorded.out("tree") == on(host).out("tree")
    if host != "broken":
        assert recorded.out("dumpxml", "--all") == on(host).out("dumpxml", "--all")


def test_record_of_a_host_gives_the_same_tree_without_its_uuids(tmp_path: Path) -> None:
    """The copy has the same shape, and nothing of what identifies the machine."""
    copy = tmp_path / "copy"
    done = on("vgpu-pf").json("record", "--json", str(copy))
    recorded = Ctl(["--sysroot", str(copy)])
    assert done["devices"] == 6
    assert done["replaced"] >= 2
    assert MDEV not in recorded.out("show", "--all")
    names = [line.strip(" |+-") for line in recorded.out("tree").splitlines()]
    originals = [line.strip(" |+-") for line in on("vgpu-pf").out("tree").splitlines()]
    assert [name for name in names if "mdev" not in name] == [
        name for name in originals if "mdev" not in name
    ]
    assert len(names) == len(originals)


def test_record_into_a_directory_with_something_in_it_fails(tmp_path: Path) -> None:
    """A recording never mixes with what was there."""
    (tmp_path / "something").touch()
    result = on("vgpu-pf").run("record", str(tmp_path), status=1)
    assert result.stderr == (
        f"nodedevctl: {tmp_path} is not an empty directory; record into a new one\n"
    )
    assert [one.name for one in tmp_path.iterdir()] == ["something"]


@pytest.mark.parametrize("command", ["show", "dumpxml", "types"])
def test_unknown_device_exits_1_and_names_the_nearest(both: tuple[Ctl, Ctl], command: str) -> None:
    """A name with a slip gives the names it may have been meant for, daemon or not."""
    for ctl in both:
        result = ctl.run(command, "compute", status=1)
        assert result.stderr == ("nodedevctl: no device named 'compute'; did you mean computer?\n")
        assert result.stdout == ""


def test_one_unknown_device_among_several_fails_the_command() -> None:
    """There is no half of an answer."""
    result = on("vgpu-pf").run("show", CARD, "nobody", status=1)
    assert result.stdout == ""
    assert "no device named 'nobody'" in result.stderr


def test_device_that_the_format_does_not_show_exits_1() -> None:
    """It is said that the device is there, and that the format is what lacks it."""
    result = on("empty").run("dumpxml", "--format", "libvirt", "block_zram0", status=1)
    assert result.stdout == ""
    assert result.stderr == (
        "nodedevctl: the format 'libvirt' does not show block_zram0; the default one does\n"
    )
    assert on("empty").out("dumpxml", "block_zram0").startswith("<device>")


def test_no_daemon_exits_3_and_says_both_ways_on(tmp_path: Path) -> None:
    """Who has no daemon learns which socket was tried, how to start one, and how to do without."""
    path = tmp_path / "nobody.sock"
    for ctl in (Ctl(["--socket", str(path)]), Ctl([])):
        result = CliRunner(env={"NODEDEVD_SOCKET": str(path)}).invoke(
            main, [*ctl.options, "tree"], prog_name="nodedevctl"
        )
        assert result.exit_code == 3
        assert result.stderr == (
            f"nodedevctl: no nodedevd answers on {path} (no such file or directory); start one "
            "(systemctl start nodedevd.socket, or run nodedevd), "
            "or scan without a daemon: nodedevctl --sysroot / ...\n"
        )


def test_not_a_sysroot_exits_1(tmp_path: Path) -> None:
    """A directory without sys/ is a slip, not an empty host."""
    result = Ctl(["--sysroot", str(tmp_path)]).run("list", status=1)
    assert result.stderr == f"nodedevctl: {tmp_path} is not a sysroot: it has no directory sys/\n"


def test_sysroot_together_with_socket_is_wrong_usage(tmp_path: Path) -> None:
    """A daemon serves its own sysroot; asking for another is a misunderstanding."""
    result = Ctl(["--sysroot", "/", "--socket", str(tmp_path)]).run("list", status=2)
    assert "--sysroot scans without a daemon; leave out --socket" in result.stderr


def test_answer_of_a_daemon_of_another_version_is_an_error_of_one_line(tmp_path: Path) -> None:
    """What cannot be decoded is said, without a traceback."""
    path = tmp_path / "other.sock"
    child = r"""
import socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    print(flush=True)
    client, _ = server.accept()
    client.recv(1 << 16)
    client.sendall(b'{"parameters":{"generation":"new","devices":[]}}\0')
"""
    with subprocess.Popen(
        [sys.executable, "-c", child, str(path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        result = Ctl(["--socket", str(path)]).run("list", status=1)
    assert result.stderr.startswith("nodedevctl: cannot decode the daemon's reply: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example_line_by_line(command: str) -> None:
    """Every command's help has an example to copy, and the exit statuses."""
    out = Ctl([]).out(command, "--help")
    assert "\n  Example" in out
    assert any(line.startswith("    nodedevctl ") for line in out.splitlines())
    assert "Exit status: 0 done" in out
    assert "\\b" not in out


def test_help_lists_every_command() -> None:
    """The first thing a user sees shows all there is."""
    out = Ctl([]).out("--help")
    listed = out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == sorted(COMMANDS)


@pytest.mark.parametrize("arguments", [["list"], ["show", "--all"], ["types"], ["tree"]])
def test_closed_pipe_prints_no_traceback(arguments: list[str]) -> None:
    """`nodedevctl list | head -1` is nothing to complain about."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from nodedevd.cli.main import main; main()"),
                *("--sysroot", str(FIXTURES / "vgpu-sriov"), *arguments),
            ],
            cwd=REPOSITORY,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


def test_host_without_devices_is_shown_as_one(tmp_path: Path) -> None:
    """An empty /sys is a host with nothing but itself; every command copes."""
    Tree(tmp_path).directory("/sys")
    ctl = Ctl(["--sysroot", str(tmp_path)])
    assert ctl.out("list") == "computer\n"
    assert ctl.out("types").splitlines()[1:] == []
    assert ctl.json("types", "--json") == []
    assert len(ctl.json("show", "--all")["devices"]) == 1


def test_socket_that_nobody_listens_on_is_no_daemon(tmp_path: Path) -> None:
    """A stale socket file is told from a missing one."""
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    result = Ctl(["--socket", str(path)]).run("list", status=3)
    assert f"no nodedevd answers on {path} (connection refused); start one" in result.stderr
