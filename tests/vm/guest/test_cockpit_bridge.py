"""Cockpit's bridge, without a browser: the page's package, and what the page asks for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodedevd.varlink import encode_call
from tests.vm.guest import control, vm

BRIDGE = Path("/usr/bin/cockpit-bridge")
CONTROL = "org.nodedevd.Control"

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.usefixtures("no_mdevs"),
    pytest.mark.skipif(not BRIDGE.exists(), reason="the VM has no cockpit-bridge"),
]


class Bridge:
    """A bridge of root's, as a session of Cockpit has it.

    Source: https://github.com/cockpit-project/cockpit/blob/main/doc/protocol.md
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self._channels = 0
        self._control(command="init", version=1, host="localhost", superuser=False)

    def _send(self, channel: str, payload: bytes) -> None:
        message = channel.encode() + b"\n" + payload
        self._to.write(b"%d\n%s" % (len(message), message))
        self._to.flush()

    def _control(self, **fields: Any) -> None:
        self._send("", json.dumps(fields).encode())

    def _receive(self) -> tuple[str, bytes]:
        length = int(self._from.readline())
        channel, _, payload = self._from.read(length).partition(b"\n")
        return channel.decode(), payload

    def _of_channel(self, channel: str) -> Iterator[bytes]:
        """Yield what comes on a channel, until it is closed for a problem."""
        while True:
            of, payload = self._receive()
            if of == channel:
                yield payload
            elif not of:
                said = json.loads(payload)
                if said.get("channel") == channel and said["command"] == "close":
                    assert "problem" not in said, said
                    return

    def call(self, path: Path, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a Varlink service on a channel of its own, and return the parameters it answers."""
        channel = self._opened(payload="stream", unix=str(path), binary="raw")
        self._send(channel, encode_call(method, parameters))
        received = b""
        for part in self._of_channel(channel):
            received += part
            if b"\0" in received:
                break
        self._control(command="close", channel=channel)
        reply = json.loads(received.partition(b"\0")[0])
        assert "error" not in reply, reply
        return dict(reply.get("parameters") or {})

    def spawn(self, *command: str) -> bytes:
        """Run a program, and return what it prints."""
        channel = self._opened(payload="stream", spawn=list(command), err="message", binary="raw")
        self._control(command="done", channel=channel)
        return b"".join(self._of_channel(channel))

    def _opened(self, **options: Any) -> str:
        self._channels += 1
        self._control(command="open", channel=str(self._channels), **options)
        return str(self._channels)


@contextmanager
def bridge() -> Iterator[Bridge]:
    """Have a bridge run."""
    pipe = subprocess.PIPE
    with subprocess.Popen([BRIDGE], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            yield Bridge(process)
        finally:
            process.kill()


def test_page_is_a_package_of_cockpits() -> None:
    """By the Debian package; the name of its directory is that of the page's address."""
    if not Path("/usr/lib/python3/dist-packages/nodedevd").exists():
        pytest.skip("nodedevd is not installed by its packages")
    packages = [line.split() for line in vm.run(BRIDGE, "--packages").splitlines()]
    paths = [words[-1] for words in packages if words[0] == "nodedevd"]
    assert paths == ["/usr/share/cockpit/nodedevd"]


def test_page_reaches_the_daemon_and_the_control_service() -> None:
    """An mdev is made and removed by the calls of the page, and seen by the daemon."""
    one = vm.new_uuid()
    name = vm.mdev_name(one)
    with control.enabled(), bridge() as page:
        assert page.call(vm.SOCKET, "org.nodedevd.Devices.GetStatus")["generation"]
        call = {"type": "mtty-2", "names": ["mtty_mtty"], "uuid": one, "owner": "vm-1"}
        page.call(control.SOCKET, f"{CONTROL}.Create", **call, dry_run=True)
        assert control.active() == {}
        page.call(control.SOCKET, f"{CONTROL}.Create", **call)
        assert control.active() == {one: ("mtty", "mtty-2")}
        [device] = page.call(vm.SOCKET, "org.nodedevd.Devices.Describe", name=name)["devices"]
        assert device["name"] == name
        page.call(control.SOCKET, f"{CONTROL}.Remove", name=name, owner="vm-1")
        assert control.active() == {}


def test_page_runs_doctor() -> None:
    """As the findings do."""
    with bridge() as page:
        script = "nodedevctl doctor --json; [ $? = 0 ] || [ $? = 5 ]"
        assert "findings" in json.loads(page.spawn("sh", "-c", script))
