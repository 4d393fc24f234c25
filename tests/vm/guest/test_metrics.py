"""nodedevd-metrics by its own units, on a real systemd: sockets, a user of its own, a textfile."""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodedevd.varlink import encode_call
from tests.support.prometheus import fetch
from tests.vm.guest import vm

pytestmark = pytest.mark.exhaustive

SERVICE = "nodedevd-metrics.service"
SOCKETS = ("nodedevd-metrics.socket", "nodedevd-metrics-report.socket")
TIMER = "nodedevd-metrics-textfile.timer"
URL = "http://127.0.0.1:9836/metrics"
REPORT = Path("/run/systemd/report/org.nodedevd.Devices")
TEXTFILE = Path("/var/lib/prometheus/node-exporter/nodedev.prom")
VALUE = re.compile(r"(?m)^(nodedev_\w+(?:\{.*\})?) (\S+)$")


@pytest.fixture(scope="module", autouse=True)
def enabled() -> Iterator[None]:
    """Enable the sockets, as the documentation says."""
    vm.run("systemctl", "enable", "-q", "--now", *SOCKETS)
    yield
    vm.run("systemctl", "disable", "-q", "--now", *SOCKETS, TIMER, SERVICE)


def scrape() -> dict[str, str]:
    """Return every value that a scrape gets."""
    return dict(VALUE.findall(fetch(URL).decode()))


def refusal() -> str:
    """Return why a scrape fails with 503; nothing if it does not."""
    try:
        fetch(URL)
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode()}"
    return ""


def show(*properties: str) -> dict[str, str]:
    """Return properties of the unit."""
    lines = vm.run("systemctl", "show", SERVICE, f"--property={','.join(properties)}")
    return dict(line.split("=", 1) for line in lines.splitlines())


def test_first_scrape_starts_the_service() -> None:
    """It serves what the command prints as root."""
    assert show("ActiveState") == {"ActiveState": "inactive"}
    served = scrape()
    assert show("ActiveState", "Type") == {"ActiveState": "active", "Type": "notify"}
    printed = dict(VALUE.findall(vm.run("nodedevctl", "metrics", "--quiet")))
    assert served.keys() | {"nodedev_vfio_open", "nodedev_vm_devices"} >= printed.keys()
    assert served['nodedev_devices{capability="mdev_parent"}'] == f"{len(vm.SAMPLES)}.0"
    findings = {one for one in printed if one.startswith("nodedev_doctor_findings")}
    assert {one: served.get(one) for one in findings} == {one: printed[one] for one in findings}


def test_service_has_a_user_of_its_own_and_no_rights() -> None:
    """It is not root, has no capability, and sees no network."""
    scrape()
    pid = show("MainPID")["MainPID"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert int(re.findall(r"(?m)^Uid:\t(\d+)", status)[0]) > 60_000
    assert re.findall(r"(?m)^Cap(?:Eff|Prm|Bnd|Amb):\t(\w+)$", status) == ["0" * 16] * 4
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


def test_change_is_in_the_next_scrape() -> None:
    """An mdev that comes is counted for the card of its parent, until it goes."""
    vm.load_samples()
    card, type_id = vm.parent_name("mtty"), vm.SAMPLES["mtty"]

    def active() -> float:
        [value] = [
            float(value)
            for name, value in scrape().items()
            if name.startswith(f'nodedev_vgpu_active{{card="{card}",')
            and f'type="{type_id}"' in name
        ]
        return value

    before, one = active(), str(uuid.uuid4())
    vm.create("mtty", one)
    vm.until(lambda: active() == before + 1, "for the mdev")
    assert one not in fetch(URL).decode().replace("_", "-")
    vm.remove(one)
    vm.until(lambda: active() == before, "for its end")


def test_report_socket_sends_every_metric() -> None:
    """Any user may ask."""
    assert REPORT.stat().st_mode & 0o777 == 0o666
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(vm.PATIENCE_SECONDS)
        client.connect(str(REPORT))
        client.sendall(encode_call("io.systemd.Metrics.List", more=True))
        received = b""
        replies: list[dict[str, Any]] = []
        while not replies or replies[-1].get("continues"):
            received += client.recv(1 << 16)
            *messages, received = received.split(b"\0")
            replies += map(json.loads, messages)
    assert len(replies) == len(scrape())
    assert all(one["parameters"]["name"].startswith("org.nodedevd.Devices.") for one in replies)


def test_daemon_that_is_down_is_said() -> None:
    """The scrape fails, so that `up` is 0; the service stays, and finds the next daemon."""
    try:
        vm.run("systemctl", "stop", "nodedevd.socket", "nodedevd.service")
        vm.until(lambda: refusal().startswith("503 no nodedevd answers"), "for a refusal")
    finally:
        vm.run("systemctl", "start", "nodedevd.socket", "nodedevd.service")

    vm.until(lambda: not refusal(), "for a scrape")
    assert show("NRestarts") == {"NRestarts": "0"}


def test_timer_writes_a_textfile() -> None:
    """Root without a capability may write in the directory of node_exporter, as Debian has it."""
    TEXTFILE.parent.mkdir(parents=True, exist_ok=True)
    vm.run("systemctl", "enable", "-q", "--now", TIMER)
    vm.until(TEXTFILE.exists, "for the file")
    found = dict(VALUE.findall(TEXTFILE.read_text()))
    assert 'nodedev_devices{capability="pci"}' in found
    assert TEXTFILE.stat().st_mode & 0o777 == 0o644
    assert list(TEXTFILE.parent.iterdir()) == [TEXTFILE]
