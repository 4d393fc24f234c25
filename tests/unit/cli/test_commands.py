"""nodedevctl: the output of its commands, without a daemon."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from lxml import etree

from nodedevd.cli import embedded
from nodedevd.cli.embedded import Embedded
from nodedevd.cli.main import main
from nodedevd.cli.schema import CHANGES
from nodedevd.client import blocking, brief
from nodedevd.model.brief import DeviceList
from nodedevd.model.listing import Devices
from nodedevd.model.status import Status
from tests.support.ctl import Ctl, on
from tests.support.hosts import HOSTS, host_file
from tests.support.running import REPOSITORY
from tests.support.search import cases
from tests.support.trees import Tree

COMMANDS = [
    *("list", "tree", "draw", "dumpxml", "show", "types", "status", "schema", "record"),
    *("events", "wait", "hostdev", "fits", "resolve", "doctor", "in-use", "control", *CHANGES),
    *("layout", "layout check", "layout diff", "layout schema", "layout show", "metrics", "nfd"),
]
CARD = "pci_0000_02_00_0"
CARD_WITH_ODD = "pci_0000_00_02_0"
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
mbochs_mbochs (mdev)
  TYPE           AVAILABLE  SURE  ACTIVE  DEFINED  CEILING  ON  NAME
  mbochs-large   3          3     0       0        -        1   mbochs-large
  mbochs-medium  15         15    1       0        -        1   mbochs-medium
  mbochs-small   60         60    0       1        -        1   mbochs-small

mdpy_mdpy (mdev)
  TYPE      AVAILABLE  SURE  ACTIVE  DEFINED  CEILING  ON  NAME
  mdpy-hd   3          3     1       0        -        1   mdpy-hd
  mdpy-vga  3          3     0       0        -        1   mdpy-vga
  mdpy-xga  3          3     0       0        -        1   mdpy-xga

mtty_mtty (mdev)
  TYPE    AVAILABLE  SURE  ACTIVE  DEFINED  CEILING  ON  NAME
  mtty-1  21         21    1       0        -        1   Single port serial
  mtty-2  10         10    1       1        -        1   Dual port serial
"""


def test_list_prints_a_name_a_line() -> None:
    """The output is for scripts: one name a line, sorted as virsh sorts them."""
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
    """--cap may be repeated or have several words, ours or those of libvirt."""
    assert len(on("vgpu-pf").out("list", *options).splitlines()) == count


@pytest.mark.parametrize("word", ["usb_hub", "", "pci,", "PCI", "mdev parent"])
def test_list_with_an_unknown_capability_is_wrong_usage(word: str) -> None:
    """An unknown word must not give an empty list, or a full one."""
    result = on("vgpu-pf").run("list", "--cap", word, status=2)
    assert "unknown capability '" in result.stderr
    assert "known are system, pci, css, ap_matrix, mdev_parent, mdev_types, " in result.stderr
    assert result.stdout == ""


def test_list_as_json_is_a_device_list() -> None:
    """--json prints a DeviceList of the model."""
    out = on("vgpu-pf").out("list", "--json", "--cap", "mdev_parent")
    listed = msgspec.json.decode(out, type=DeviceList)
    assert [(entry.name, entry.capabilities) for entry in listed.devices] == [
        (CARD, ("pci", "mdev_parent"))
    ]


def test_list_shows_inactive_mdevs_on_request() -> None:
    """The default is the active devices, as in virsh; --cap narrows the result."""
    host = on("vgpu-sriov")
    active = host.out("list").splitlines()
    inactive = host.out("list", "--inactive").splitlines()
    assert inactive == [
        "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03",
        "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03_c12a2c15",
        "mdev_d9e0f3a6_1b4c_4d72_8c38_5e6b9a0f2d04",
    ]
    marked = [f"{name} (inactive)" for name in inactive]
    assert host.out("list", "--all").splitlines() == sorted(active + marked)
    assert len(host.out("list", "--cap", "mdev").splitlines()) == 2
    assert len(host.out("list", "--cap", "mdev", "--all").splitlines()) == 5
    assert host.out("list", "--cap", "pci", "--inactive") == ""


def test_list_as_json_reports_what_is_active() -> None:
    """--all and --inactive filter JSON as they filter names."""
    out = on("vgpu-sriov").out("list", "--json", "--all", "--cap", "mdev")
    listed = msgspec.json.decode(out, type=DeviceList)
    assert [(entry.state, (entry.path or "")[:5]) for entry in listed.devices] == [
        ("active", "/sys/"),
        ("active", "/sys/"),
        ("inactive", "/etc/"),
        ("inactive", "/etc/"),
        ("inactive", "/etc/"),
    ]
    out = on("vgpu-sriov").out("list", "--json", "--inactive")
    assert len(msgspec.json.decode(out, type=DeviceList).devices) == 3


def test_list_of_inactive_and_all_is_wrong_usage() -> None:
    """The options exclude each other."""
    result = on("samples").run("list", "--inactive", "--all", status=2)
    assert "--inactive and --all exclude each other; give one of them" in result.stderr


def test_tree_shows_inactive_mdevs_on_request() -> None:
    """They are below the parent they would have, or below the root."""
    host = on("vgpu-sriov")
    golden = (REPOSITORY / "tests/golden/vgpu-sriov/tree.txt").read_text(encoding="utf-8")
    drawn = host.out("tree", "--all")
    assert drawn.replace(" (inactive)", "") == golden
    assert [line.split()[-2] for line in drawn.splitlines() if line.endswith(" (inactive)")] == [
        "mdev_d9e0f3a6_1b4c_4d72_8c38_5e6b9a0f2d04",
        "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03",
        "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03_c12a2c15",
    ]
    assert "mdev_27b42a51" in host.out("tree")
    assert "mdev_c3d7b1e4" not in host.out("tree")
    assert "mdev_d9e0f3a6" not in host.out("tree")


def test_tree_is_drawn_as_virsh_does() -> None:
    """The drawing equals that of `virsh nodedev-list --tree`, blanks included."""
    assert on("igpu-gvtg").out("tree") == GVTG_TREE


@pytest.mark.parametrize("name", [CARD, "0000:02:00.0", "/sys/bus/pci/devices/0000:02:00.0"])
def test_dumpxml_of_one_device_is_a_device(name: str) -> None:
    """One device, by any form of its name, is the root of the document."""
    root = etree.fromstring(on("vgpu-pf").out("dumpxml", name))
    assert root.tag == "device"
    assert root.findtext("name") == CARD


def test_dumpxml_of_several_devices_is_a_document_in_the_order_asked_for() -> None:
    """Several devices are children of <devices>; a repeated one is there once."""
    root = etree.fromstring(on("vgpu-pf").out("dumpxml", MDEV, "computer", MDEV.upper()))
    assert root.tag == "devices"
    assert [one.findtext("name") for one in root] == [f"mdev_{MDEV.replace('-', '_')}", "computer"]


def test_dumpxml_of_all_devices_has_every_device() -> None:
    """--all prints every device."""
    root = etree.fromstring(on("vgpu-pf").out("dumpxml", "--all"))
    assert [one.findtext("name") for one in root] == on("vgpu-pf").out("list").split()


@pytest.mark.parametrize("command", ["dumpxml", "show"])
@pytest.mark.parametrize("arguments", [[], ["--all", "computer"]])
def test_neither_names_nor_all_is_wrong_usage(command: str, arguments: list[str]) -> None:
    """Either names or --all must be given."""
    result = on("vgpu-pf").run(command, *arguments, status=2)
    assert "give one or more DEVICE arguments, or --all" in result.stderr


def test_show_prints_one_device_as_it_prints_several() -> None:
    """One device is a document with one device, which decodes to the model; so with --json."""
    out = on("vgpu-pf").out("show", MDEV)
    [device] = msgspec.json.decode(out, type=Devices).devices
    assert device.parent == CARD
    assert device.types == ("mdev_child",)
    assert on("vgpu-pf").out("show", MDEV, "--json") == out


def test_show_prints_several_devices_once_each_as_a_document() -> None:
    """Several names give a document, as --all does; a repeated device is there once."""
    ctl = on("vgpu-pf")
    shown = msgspec.json.decode(ctl.out("show", MDEV, CARD, f"mdev_{MDEV}"), type=Devices)
    assert [device.name for device in shown.devices] == [f"mdev_{MDEV.replace('-', '_')}", CARD]
    everything = msgspec.json.decode(ctl.out("show", "--all"), type=Devices)
    assert set(shown.devices) < set(everything.devices)


def test_types_prints_one_line_for_each_card_and_type() -> None:
    """A heading names the card, and columns are aligned."""
    assert on("samples").out("types") == SAMPLES_TYPES


@pytest.mark.parametrize("name", ["/sys/class/mtty/mtty", "mtty_mtty"])
def test_types_of_some_devices_prints_only_their_cards(name: str) -> None:
    """Devices are found by any form of their name."""
    expected = SAMPLES_TYPES.rpartition("\n\n")[2]
    assert on("samples").out("types", name) == expected
    assert on("samples").out("types", "--card", name) == expected


def test_types_of_a_device_that_belongs_to_no_card_says_so() -> None:
    """An empty table alone would look like a full card."""
    result = on("samples").run("types", "computer")
    assert result.stderr == (
        "computer offers no vGPU types: it belongs neither to an mdev parent nor to a card with"
        " vendor VFIO\n"
    )
    assert result.stdout == ""


def test_types_as_json_has_every_field() -> None:
    """In JSON, counts are numbers and unknown values are null."""
    found = on("broken").json("types", "--json", "0000:00:02.0")
    assert found["generation"] == 1
    by_id = {one["type"]: one for one in found["types"]}
    assert by_id["odd-good"]["available"] == by_id["odd-good"]["sure"] == 4
    assert by_id["odd-many"]["available"] is None
    assert by_id["odd-many"]["reason"] == "unknown"
    assert by_id["odd-good"]["card"] == by_id["odd-good"]["functions"][0]["name"] == CARD_WITH_ODD
    assert by_id["odd-good"]["active"] == 6


def test_types_shows_the_unknown_as_such() -> None:
    """An unreadable value is neither 0 nor left out."""
    lines = on("broken").out("types", "0000:00:02.0").splitlines()
    many = next(line for line in lines if " odd-many " in line)
    assert many.split() == ["odd-many", "unknown", "0", "0", "0", "-", "1", "Odd", "many"]


@pytest.mark.parametrize("command", ["types", "status", "list", "tree"])
def test_control_characters_of_a_host_never_reach_the_terminal(command: str) -> None:
    """Text of a driver cannot move the cursor, change colours or reverse the writing."""
    out = on("broken").out(command)
    assert [line for line in out.split("\n") if not line.isprintable()] == []


def test_control_characters_are_shown_escaped() -> None:
    """They are not removed, either."""
    assert r"Bell\x07" in on("broken").out("types", "0000:00:03.0")


def test_one_overlong_text_leaves_other_lines_readable() -> None:
    """A name of 512 characters takes several lines, of 80 columns like the others."""
    lines = on("broken", columns=80).out("types", "0000:00:03.0").splitlines()
    assert sum(line.count("N") for line in lines if "NNNN" in line) == 512
    assert max(len(line) for line in lines if "NNNN" in line) <= 82


def test_status_without_a_daemon_is_that_of_the_scan() -> None:
    """It has the results of the scan, and no line about clients."""
    out = on("vgpu-pf").out("status")
    assert f"Host:        {host_file('vgpu-pf')}\n" in out
    assert "Devices:     6 active\n" in out
    assert "Kinds:       1 system, 3 pci, 1 mdev_parent, 2 mdev_child\n" in out
    assert "Read errors: 0\n" in out
    assert "Clients:" not in out


def test_status_lists_what_could_not_be_read() -> None:
    """Each read error has a line with device, attribute, code and detail."""
    out = on("broken").out("status")
    status = msgspec.json.decode(on("broken").out("status", "--json"), type=Status)
    rows = out.partition("\n\n")[2].splitlines()
    assert rows[0].split() == ["DEVICE", "ATTRIBUTE", "ERROR", "DETAIL"]
    assert len(rows) - 1 == status.error_count == len(status.errors) > 0
    assert ["pci_0000_00_08_0", "vendor", "malformed", "garbage"] in [row.split() for row in rows]


def test_schema_is_json_schema() -> None:
    """The schema names its draft, and defines the model's types."""
    schema = Ctl([]).json("schema")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"Device", "DeviceList", "Devices", "Status", "Pci", "Types", "Fits"} <= set(
        schema["$defs"]
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("host", cases(HOSTS))
def test_raw_record_of_a_host_gives_the_same_devices(host: str, tmp_path: Path) -> None:
    """A recording with unchanged values is scanned to the same tree and the same XML.

    The host `broken` has a directory in place of an attribute, which cannot be recorded.
    """
    copy = tmp_path / "copy"
    result = on(host).run("record", "--raw", str(copy))
    count = len(Embedded(str(host_file(host))).tree)
    assert result.stdout.startswith(f"recorded {count} devices into {copy}: ")
    assert "0 identifying values replaced" in result.stdout
    recorded = Ctl(["--sysroot", str(copy)])
    assert recorded.out("tree") == on(host).out("tree")
    if host != "broken":
        assert recorded.out("dumpxml", "--all") == on(host).out("dumpxml", "--all")


def test_record_of_a_host_gives_the_same_tree_without_its_uuids(tmp_path: Path) -> None:
    """The recording has the same tree, and no value that identifies the machine."""
    copy = tmp_path / "copy"
    done = on("vgpu-pf").json("record", "--json", str(copy))
    recorded = Ctl(["--sysroot", str(copy)])
    assert done["device_count"] == 6
    assert done["replaced"] >= 2
    assert MDEV not in recorded.out("show", "--all")
    names = [line.strip(" |+-") for line in recorded.out("tree").splitlines()]
    originals = [line.strip(" |+-") for line in on("vgpu-pf").out("tree").splitlines()]
    assert [name for name in names if "mdev" not in name] == [
        name for name in originals if "mdev" not in name
    ]
    assert len(names) == len(originals)


def test_record_into_a_file_is_unpacked_and_packed_by_the_same_command(tmp_path: Path) -> None:
    """A recording that was unpacked and packed again is the same file."""
    one, copy, two = (str(tmp_path / name) for name in ("one.ttar", "copy", "two.ttar"))
    result = on("vgpu-pf").run("record", "--raw", one)
    assert result.stdout.startswith(f"recorded 6 devices into {one}: ")
    assert Ctl(["--sysroot", one]).out("tree") == on("vgpu-pf").out("tree")
    Ctl(["--sysroot", one]).out("record", "--raw", copy)
    Ctl(["--sysroot", copy]).out("record", "--raw", two)
    assert Path(one).read_bytes() == Path(two).read_bytes()
    result = on("vgpu-pf").run("record", one, status=1)
    assert result.stderr == f"nodedevctl: {one} already exists; record into a new file\n"


@pytest.mark.parametrize("target", ["host.ttar", "host"])
def test_record_that_is_terminated_leaves_nothing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM at the last step, which makes a link, removes everything, as Ctrl-C does."""
    for call in ("link", "symlink"):
        monkeypatch.setattr(os, call, lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    on("vgpu-pf").run("record", str(tmp_path / target), status=128 + signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_record_into_a_directory_with_something_in_it_fails(tmp_path: Path) -> None:
    """A recording is never mixed with existing files."""
    (tmp_path / "something").touch()
    result = on("vgpu-pf").run("record", str(tmp_path), status=1)
    assert result.stderr == (
        f"nodedevctl: {tmp_path} is not an empty directory; record into a new one\n"
    )
    assert [one.name for one in tmp_path.iterdir()] == ["something"]


def test_one_unknown_device_among_several_fails_the_command() -> None:
    """The command prints no partial answer."""
    result = on("vgpu-pf").run("show", CARD, "nobody", status=1)
    assert result.stdout == ""
    assert "no device named 'nobody'" in result.stderr


def test_device_that_the_format_does_not_show_exits_1() -> None:
    """The error says that the device exists, and that only this format lacks it."""
    result = on("empty").run("dumpxml", "--format", "libvirt", "block_zram0", status=1)
    assert result.stdout == ""
    assert result.stderr == (
        "nodedevctl: the format 'libvirt' does not show block_zram0; the default one does\n"
    )
    assert on("empty").out("dumpxml", "block_zram0").startswith("<device>")


def test_no_daemon_exits_3_and_names_both_remedies(tmp_path: Path) -> None:
    """The error has the socket, how to start a daemon, and how to work without one."""
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


def test_without_a_daemon_this_host_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of standard error says so; a selected socket, or `status`, is an error as before."""
    path = str(tmp_path / "nobody.sock")
    monkeypatch.delenv("NODEDEVD_SOCKET", raising=False)
    for module in (blocking, brief):
        monkeypatch.setattr(module, "candidate_socket_paths", lambda: [path])
    sample = str(host_file("vgpu-pf"))
    monkeypatch.setattr(embedded, "Embedded", lambda root, progress: Embedded(sample))
    for command in ("list", "tree", "types", "show --all", "dumpxml computer", "resolve computer"):
        result = Ctl([]).run(*command.split())
        assert result.stderr == (
            "nodedevctl: no daemon answers (no such file or directory); scanning this host\n"
        )
        assert result.stdout == on("vgpu-pf").out(*command.split())
        assert Ctl(["--socket", path]).run(*command.split(), status=3).stdout == ""
    for command in ("status", "events", "wait --cap pci"):
        assert "start one" in Ctl([]).run(*command.split(), status=3).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_source_is_selected_before_or_after_the_command(command: str, tmp_path: Path) -> None:
    """Both places are equal, and contradict each other as the options do."""
    sample, path = str(host_file("vgpu-pf")), str(tmp_path / "nobody.sock")
    if command in ("list", "tree", "types"):
        assert Ctl([]).out(command, "--sysroot", sample) == on("vgpu-pf").out(command)
        result = Ctl([]).run(command, "--socket", path, status=3)
        assert f"no nodedevd answers on {path}" in result.stderr
    for options in (["--sysroot", sample, "--socket", path], ["--socket", path]):
        result = Ctl(["--sysroot", sample]).run(*command.split(), *options, status=2)
        assert "--sysroot scans without a daemon; omit --socket" in result.stderr


def test_not_a_sysroot_exits_1(tmp_path: Path) -> None:
    """A directory without sys/ is a mistake, not an empty host; so is a missing one."""
    for path in (tmp_path, tmp_path / "gone"):
        result = Ctl(["--sysroot", str(path)]).run("list", status=1)
        assert result.stderr == (
            f"nodedevctl: {path} is not a sysroot: it has no directory sys/;"
            " give a directory that holds one, or a file that `nodedevctl record` wrote\n"
        )


@pytest.mark.parametrize("command", ["list", "record copy.ttar"])
def test_empty_sysroot_is_not_this_host(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of a script may be unset: it is the working directory, as in any path."""
    monkeypatch.chdir(tmp_path)
    result = Ctl(["--sysroot", ""]).run(*command.split(), status=1)
    assert f"{tmp_path} is not a sysroot" in result.stderr


@pytest.mark.parametrize(
    "command", ["list", "tree", "dumpxml", "show", "types", "status", "doctor", "record copy"]
)
def test_file_that_is_no_archive_exits_1(command: str, tmp_path: Path) -> None:
    """The error has the line and the reason; control characters of the file are escaped."""
    path = tmp_path / "host.ttar"
    path.write_text("# A host\n\nDirectory: sys\n\nDirectory: sys\n\u202e\n")
    result = Ctl(["--sysroot", str(path)]).run(*command.split(), status=1)
    assert result.stderr == (
        f"nodedevctl: {path} is not a valid archive of a host:"
        " line 5: '/sys' has an entry already\n"
    )
    path.write_text("\n\u202e\n")
    result = Ctl(["--sysroot", str(path)]).run(*command.split(), status=1)
    assert "line 2: expected Directory:, Path: or End, not '\\u202e'" in result.stderr


def test_sysroot_together_with_socket_is_wrong_usage(tmp_path: Path) -> None:
    """A daemon serves its own sysroot and no other."""
    result = Ctl(["--sysroot", "/", "--socket", str(tmp_path)]).run("list", status=2)
    assert "--sysroot scans without a daemon; omit --socket" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example_line_by_line(command: str) -> None:
    """Every command's help fits 80 columns, and has an example and the exit statuses."""
    out = Ctl([]).out(*command.split(), "--help")
    assert "\n  Example" in out
    assert any(line.startswith("    nodedevctl ") for line in out.splitlines())
    assert "Exit status: 0 " in out
    assert "\\b" not in out
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_help_lists_every_command() -> None:
    """The list has every command, with its whole first sentence."""
    out = Ctl([]).out("--help")
    listed = out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == sorted(one for one in COMMANDS if " " not in one)
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


def test_host_without_devices_is_shown_as_one(tmp_path: Path) -> None:
    """A host with an empty /sys has one device, and every command works."""
    Tree(tmp_path).directory("/sys")
    ctl = Ctl(["--sysroot", str(tmp_path)])
    assert ctl.out("list") == "computer\n"
    assert ctl.out("types") == "No device of this host offers vGPUs.\n"
    assert ctl.json("types", "--json") == {"generation": 1, "types": []}
    assert len(ctl.json("show", "--all")["devices"]) == 1


def test_socket_without_listener_is_no_daemon(tmp_path: Path) -> None:
    """The error for a stale socket differs from that for a missing one."""
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    result = Ctl(["--socket", str(path)]).run("list", status=3)
    assert f"no nodedevd answers on {path} (connection refused); start one" in result.stderr
