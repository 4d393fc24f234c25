"""Metrics: what is counted of a host, on every sample host, and what the documents say of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Literal

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from nodedevd.cli.embedded import Embedded
from nodedevd.client import Client
from nodedevd.host.processes import Process, Vm
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.metrics.families import collect
from nodedevd.metrics.family import Family, Metrics, Sample
from nodedevd.metrics.reading import Reader
from nodedevd.metrics.text import openmetrics_text, prometheus_text
from nodedevd.model.layout import LAYOUT_STATES, AwaitedCard, CardLayout
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Followed, LayoutCounts, LayoutStatus
from nodedevd.questions.in_use import REASONS, InUse, Use, UseReason
from nodedevd.text import printable
from tests.support.ctl import on
from tests.support.golden import Golden
from tests.support.hosts import HOSTS, host_file, snapshot_of
from tests.support.running import REPOSITORY
from tests.support.search import cases

UUID = re.compile("[0-9a-f]{8}[-_]([0-9a-f]{4}[-_]){3}[0-9a-f]{12}")
DOCUMENT = REPOSITORY / "docs" / "metrics.md"


@cache
def counted(host: str, *, followed: bool = False) -> Metrics:
    """Return the metrics of a sample host, as of a scan or as of a daemon."""
    return collect(Reader(Embedded(str(host_file(host))), followed=followed).read())


def samples(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Return the values by the name of the family and the values of the labels."""
    return {
        family.sample_name: {" ".join(one.labels.values()): one.value for one in family.samples}
        for family in metrics.families
    }


@pytest.mark.parametrize("host", cases(HOSTS))
def test_text_is_read_by_the_parsers_of_prometheus_client(host: str) -> None:
    """Both formats have every value, with its labels, under the name that it is queried by."""
    families = counted(host, followed=True).families
    wanted = {
        (
            family.sample_name,
            tuple(sorted((name, printable(text)) for name, text in one.labels.items())),
        ): one.value
        for family in families
        for one in family.samples
    }
    for text, parse in (
        (openmetrics_text(families), parse_openmetrics),
        (prometheus_text(families), parse_prometheus),
    ):
        read = [one for family in parse(text.decode()) for one in family.samples]
        found = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in read}
        assert found == wanted
        assert len(read) == len(wanted)  # none is there twice


@pytest.mark.parametrize("host", cases(HOSTS))
def test_labels_are_of_cards_and_types_and_never_of_a_uuid(host: str) -> None:
    """A card is a device of the host, or the parent that a definition waits for."""
    snapshot = snapshot_of(host)
    waited_for = {
        mdev.parent_addr
        for device in snapshot
        if (mdev := device.capability(MdevChild)) is not None
    }
    for family in counted(host, followed=True).families:
        for one in family.samples:
            assert not any(map(UUID.search, one.labels.values()))
            card = one.labels.get("card")
            address = (card or "").removeprefix("pci_").replace("_", ":", 2).replace("_", ".")
            assert card is None or card in snapshot.names or {card, address} & waited_for


@pytest.mark.parametrize("host", ["vgpu-sriov", "vgpu-two-generations"])
def test_metrics_are_as_approved(host: str, golden: Golden) -> None:
    """The whole text of a host, but for the time that a scan takes."""
    text = openmetrics_text(counted(host, followed=True).families).decode()
    golden.check(f"{host}/metrics.txt", re.sub("(?m)^(nodedev_scan_seconds) .*", r"\1 0", text))


@pytest.mark.parametrize("host", cases(HOSTS))
def test_vgpus_are_those_of_the_command_types(host: str) -> None:
    """Every count that is known, and none that is unknown."""
    found = samples(counted(host))
    rows = [one for one in on(host).json("types", "--json")["types"] if one["type"] is not None]
    for count in ("available", "sure", "active", "ceiling"):
        assert found[f"nodedev_vgpu_{count}"] == {
            " ".join((one["card"], one["type"], one["type_name"] or "", one["framework"])): value
            for one in rows
            if (value := one[count]) is not None
        }


@pytest.mark.parametrize("host", cases(HOSTS))
def test_findings_are_those_of_the_command_doctor(host: str) -> None:
    """By code and severity."""
    report = json.loads(on(host).invoke("doctor", "--json").stdout)
    counts = Counter(f"{one['code']} {one['severity']}" for one in report["findings"])
    assert samples(counted(host))["nodedev_doctor_findings"] == counts


def test_type_of_two_sizes_has_none() -> None:
    """A value that depends on the card is not given without the card."""
    embedded = Embedded(str(host_file("vgpu-sriov")))
    reading = Reader(embedded, followed=False).read()
    [first, *_] = reading.types.types
    assert first.facts is not None
    facts = msgspec.structs.replace(first.facts, framebuffer_bytes=1)
    other = msgspec.structs.replace(first, card="another", facts=facts)
    types = msgspec.structs.replace(reading.types, types=(*reading.types.types, other))
    found = samples(collect(msgspec.structs.replace(reading, types=types)))
    label = f"{first.type} {first.type_name}"
    assert label in samples(counted("vgpu-sriov"))["nodedev_vgpu_framebuffer_bytes"]
    assert label not in found["nodedev_vgpu_framebuffer_bytes"]


def test_numbers_of_a_daemon_are_left_out_without_one() -> None:
    """A zero would say that no event was lost."""
    alone, followed = counted("vgpu-pf"), counted("vgpu-pf", followed=True)
    assert samples(followed).keys() - samples(alone).keys() == {
        *("nodedev_clients", "nodedev_changes_total", "nodedev_events_total"),
        *("nodedev_events_lost_total", "nodedev_rescans_total"),
    }
    assert Followed().events == 0


def used(**opens: str) -> InUse:
    """Return an answer about devices of the sample host."""
    names = {"mdev": "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01", "card": "pci_0000_02_00_0"}
    uses = []
    for name, word in opens.items():
        is_open, _, reason = word.partition(" ")
        uses.append(Use(names.get(name, name), None, is_open, (), reason or None))  # type: ignore[arg-type]
    return InUse(1, 0, tuple(uses))


def test_open_devices_are_counted_by_card() -> None:
    """An mdev counts for the card of its parent; what has left meanwhile is not counted."""
    reader = Reader(
        Embedded(str(host_file("vgpu-pf"))),
        followed=False,
        in_use=lambda: used(mdev="yes", card="unknown group-shared", gone="no"),
    )
    found = collect(reader.read())
    assert samples(found)["nodedev_vfio_open"] == {
        "pci_0000_02_00_0 open": 1,
        "pci_0000_02_00_0 unknown": 1,
    }


@pytest.mark.parametrize("reason", ["processes-unseen", "other-host"])
def test_processes_that_cannot_be_seen_are_said_and_not_counted(reason: str) -> None:
    """A part of the devices would look like all of them."""
    reader = Reader(
        Embedded(str(host_file("vgpu-pf"))),
        followed=False,
        in_use=lambda: used(mdev="yes", card=f"unknown {reason}"),
    )
    found = collect(reader.read())
    assert "nodedev_vfio_open" not in samples(found)
    assert "nodedev_vm_devices" not in samples(found)
    assert found.missing == (
        f"nodedev_vfio_open is missing: {REASONS[reason]}",  # type: ignore[index]
        f"nodedev_vm_devices is missing: {REASONS[reason]}",  # type: ignore[index]
    )


VM_UUID = "3f0c2b5e-7a41-4d1c-9c55-0b8f6e2d4a17"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"


def held(*uses: Use) -> Metrics:
    """Return the metrics of the sample host with these uses."""
    embedded = Embedded(str(host_file("vgpu-pf")))
    reader = Reader(embedded, followed=False, in_use=lambda: InUse(1, 0, uses))
    return collect(reader.read())


def use(name: str, *vms: Vm | None, is_open: Literal["yes", "unknown"] = "yes") -> Use:
    """Return the use of a device that processes have open, each with its VM."""
    holders = [Process(pid, "qemu-system-x86", vm) for pid, vm in enumerate(vms, 1)]
    reason: UseReason | None = "group-shared" if is_open == "unknown" else None
    return Use(name, None, is_open, tuple(holders), reason)


def test_devices_that_a_vm_has_open_are_counted_by_its_name() -> None:
    """A VM whose processes both have a device open has it once."""
    web, database = Vm("web", VM_UUID), Vm("db", None)
    found = held(use(MDEV, web, web, database, None), use("pci_0000_02_00_0", web))
    assert samples(found)["nodedev_vm_devices"] == {
        "pci_0000_02_00_0 web": 2,
        "pci_0000_02_00_0 db": 1,
    }
    assert found.missing == ()


def test_names_of_vms_that_are_printed_the_same_are_one_series() -> None:
    """A process can say what it likes on its command line."""
    found = held(use(MDEV, Vm("a\x1b", None), Vm(r"a\x1b", None)))
    assert samples(found)["nodedev_vm_devices"] == {r"pci_0000_02_00_0 a\x1b": 1}


@pytest.mark.parametrize("name", [None, VM_UUID, f"vm-{VM_UUID}".replace("-", "_").upper()])
def test_vm_without_a_name_of_its_own_has_no_label(name: str | None) -> None:
    """A UUID would make a series for each guest that ever ran."""
    found = held(use(MDEV, Vm(name, VM_UUID)))
    assert samples(found)["nodedev_vm_devices"] == {"pci_0000_02_00_0 ": 1}


def test_vm_that_may_have_a_device_open_is_not_counted() -> None:
    """Nor is another program."""
    found = held(use(MDEV, Vm("web", None), is_open="unknown"), use("pci_0000_02_00_0", None))
    assert samples(found)["nodedev_vm_devices"] == {}


def test_vms_that_the_daemon_hides_are_said_and_not_counted() -> None:
    """What is open is known to all, and to root alone by which process."""
    found = held(use(MDEV))
    assert samples(found)["nodedev_vfio_open"] == {"pci_0000_02_00_0 open": 1}
    assert "nodedev_vm_devices" not in samples(found)
    [missing] = found.missing
    assert missing.startswith("nodedev_vm_devices is missing: the daemon reports the processes of")


def test_host_that_is_not_there_has_no_findings() -> None:
    """The daemon may see another file system than this process."""
    embedded = Embedded(str(host_file("vgpu-pf")))

    class Elsewhere:
        """A daemon of a host that this process cannot read."""

        types, snapshot, in_use = embedded.types, embedded.snapshot, embedded.in_use

        def status(self) -> object:
            """Return the status."""
            return msgspec.structs.replace(embedded.status(), sysroot="/nowhere")

    found = collect(Reader(Elsewhere(), followed=True).read())  # type: ignore[arg-type]
    assert "nodedev_doctor_findings" not in samples(found)
    assert any("nodedev_doctor_findings is missing: " in one for one in found.missing)


def test_devices_are_fetched_again_only_if_they_have_changed() -> None:
    """The generation of the same daemon says so."""
    embedded = Embedded(str(host_file("vgpu-pf")))
    fetched: list[int] = []

    class Counting:
        """A daemon whose changes are played."""

        types, in_use = embedded.types, embedded.in_use
        generation, pid = 1, 1

        def status(self) -> object:
            """Return the status."""
            return msgspec.structs.replace(
                embedded.status(), generation=self.generation, pid=self.pid
            )

        def snapshot(self) -> object:
            """Return the devices."""
            fetched.append(self.generation)
            return msgspec.structs.replace(embedded.snapshot(), generation=self.generation)

    source = Counting()
    reader = Reader(source, followed=True)  # type: ignore[arg-type]
    reader.read()
    assert reader.read().snapshot.generation == 1
    source.generation = 2
    assert reader.read().snapshot.generation == 2
    source.pid = 2
    reader.read()
    assert fetched == [1, 2, 2]


def test_text_has_no_control_characters() -> None:
    """A label is text of a driver; a line feed of it would begin a line of its own."""
    odd = Family("nodedev_odd", "gauge", "Odd.", (Sample({"type": 'a\nb\x1b"\\'}, 1),))
    for text in (openmetrics_text([odd]), prometheus_text([odd])):
        assert rb'nodedev_odd{type="a, b\\x1b\"\\"} 1.0' in text


def test_document_lists_every_family() -> None:
    """Its table has the name, the labels and the meaning of each, in their order."""
    rows = re.findall(
        r"(?m)^\| `(nodedev_\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", DOCUMENT.read_text()
    )
    labels: dict[str, str] = {}
    families: dict[str, Family] = {}
    of_vm = held(use(MDEV, Vm("web", None)))
    for metrics in (*(counted(host, followed=True) for host in HOSTS), with_layout(), of_vm):
        for family in metrics.families:
            families[family.sample_name] = family
            for one in family.samples:
                labels[family.sample_name] = ", ".join(f"`{name}`" for name in one.labels)
    assert sorted(rows) == sorted(
        (name, family.type, labels.get(name) or "", family.help)
        for name, family in families.items()
    )


def test_client_and_scan_are_sources() -> None:
    """What a reader calls, both of them have."""
    for call in ("status", "types", "snapshot", "in_use"):
        assert callable(getattr(Client, call))
        assert callable(getattr(Embedded, call))


@cache
def with_layout() -> Metrics:
    """Return the metrics of a host with a card as a layout file says, and two that it lacks."""
    reading = Reader(Embedded(str(host_file("vgpu-sriov"))), followed=False).read()
    card = reading.snapshot.lookup("pci_0000_08_00_0")
    drifted = replace(card, layout=CardLayout("drifted", ("one vGPU is missing",), "/etc/a.toml"))
    devices = [drifted if one is card else one for one in reading.snapshot]
    awaited = tuple(
        AwaitedCard(one, "/etc/a.toml", line) for one, line in (("0000:5e:00.0", 9), ("mtty", 12))
    )
    status = replace(reading.status, layout=LayoutStatus(LayoutCounts(0, 1, 0, 2), awaited, 0, ()))
    return collect(replace(reading, snapshot=Snapshot(devices, generation=1), status=status))


def test_each_card_of_a_layout_is_in_one_state() -> None:
    """A card that is not there is pending, by the name that it would have."""
    found = samples(with_layout())["nodedev_layout_state"]
    assert {key for key, value in found.items() if value} == {
        "pci_0000_08_00_0 drifted",
        "pci_0000_5e_00_0 pending",
        "mtty pending",
    }
    assert len(found) == 3 * len(LAYOUT_STATES)
