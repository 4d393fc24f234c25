"""nodedevd-publish by its own unit and user, and a server of NATS of Debian's."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.nats_server import NatsServer
from tests.vm.guest import vm

nats = pytest.importorskip("nats")
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.usefixtures("no_mdevs"),
    pytest.mark.skipif(shutil.which("nats-server") is None, reason="the VM has no nats-server"),
]

SERVICE = "nodedevd-publish.service"
CONFIGURATION = Path("/etc/nodedevd/fleet.toml")
STATE = Path("/var/lib/nodedevd-publish")
CLIENT = Path(f"/usr/local/lib/python3.{sys.version_info.minor}/dist-packages")
"""where the README has nats-py installed, beside Debian's packages"""


@pytest.fixture(scope="module", autouse=True)
def client(devices: None) -> None:
    """Have the client of NATS for the Python of the packages, unless it has one."""
    if Path("/usr/lib/python3/dist-packages/nodedevd").exists():
        CLIENT.mkdir(parents=True, exist_ok=True)
        (CLIENT / "nats").symlink_to(Path(nats.__file__).parent)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Start a server with an empty bucket, and have this host published to it by default."""
    server = NatsServer(tmp_path / "nats", 4222)
    server.start()
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(f'servers = ["{server.url}"]\nhost = "vm"\nheartbeat_seconds = 2\n')
    try:
        vm.run("nodedevd-publish", "--make-bucket", "--max-bytes", "100000000")
        yield server
    finally:
        CONFIGURATION.unlink()
        server.stop()


@contextmanager
def published() -> Iterator[None]:
    """Have the service run."""
    vm.run("systemctl", "start", SERVICE)
    try:
        yield
    finally:
        vm.run("systemctl", "stop", SERVICE)


def asked(server: NatsServer) -> Callable[..., str]:
    """Return what runs nodedevctl on the fleet of a server."""
    return lambda *arguments: vm.run("nodedevctl", "--fleet", server.url, *arguments)


def test_host_is_published_with_what_comes_and_goes(server: NatsServer) -> None:
    """By a user of its own without a capability; the fleet sees what nodedevd sees."""
    fleet, one = asked(server), vm.new_uuid()
    with published():
        fleet("wait", "--count", "1", "--timeout", f"{vm.PATIENCE_SECONDS:.0f}")
        pid = vm.run("systemctl", "show", "-P", "MainPID", SERVICE).strip()
        assert Path(f"/proc/{pid}").owner() == "nodedevd-publish"
        assert "CapEff:\t" + "0" * 16 in Path(f"/proc/{pid}/status").read_text()
        assert STATE.owner() == "nodedevd-publish"

        vm.create("mtty", one)
        vm.until(lambda: vm.mdev_name(one) in fleet("list"), "for the mdev in the fleet")
        [there] = json.loads(fleet("show", "vm", vm.mdev_name(one), "--json"))["devices"]
        [here] = vm.nodedevctl("show", vm.mdev_name(one))["devices"]
        assert there == here
        vm.remove(one)
        vm.until(lambda: vm.mdev_name(one) not in fleet("list"), "for its end")
    [host] = json.loads(fleet("hosts", "--json"))["hosts"]
    assert (host["id"], host["state"]) == ("vm", "left")


def test_daemon_that_is_down_is_said(server: NatsServer) -> None:
    """The publisher stays, and finds the next daemon."""
    fleet = asked(server)

    def state() -> str:
        [host] = json.loads(fleet("hosts", "--json"))["hosts"]
        return str(host["state"])

    with published():
        fleet("wait", "--count", "1", "--timeout", f"{vm.PATIENCE_SECONDS:.0f}")
        try:
            vm.run("systemctl", "stop", "nodedevd.socket", "nodedevd.service")
            vm.until(lambda: state() == "no-daemon", "for the fleet to see it")
        finally:
            vm.run("systemctl", "start", "nodedevd.socket", "nodedevd.service")
        vm.until(lambda: state() == "alive", "for the publisher to find the daemon")
        assert vm.run("systemctl", "show", "-P", "NRestarts", SERVICE).strip() == "0"
