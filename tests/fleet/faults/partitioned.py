"""A partition of a cluster, played in the network namespace that this process is in.

Three servers in namespaces of their own hang on a bridge. The leader of the bucket is cut off from
the others, together with a reader and a publisher that know it alone.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tests.support.namespace import Namespace
from tests.support.nats_server import NatsServer, cluster_config
from tests.support.played_fleet import (
    PlayedFleet,
    PlayedHost,
    configuration,
    leader_of,
    make_bucket,
)
from tests.support.running import NODEDEVCTL

_PORT, _ROUTE = 4222, 6222
_FILTER = """
table inet cut {
  chain in { type filter hook input priority 0; iifname "eth0" drop; }
  chain out { type filter hook output priority 0; oifname "eth0" drop; }
}
"""


def ip(command: str) -> None:
    """Run the command `ip` in this namespace."""
    subprocess.run(["ip", *command.split()], check=True)


def address(number: int) -> str:
    """Return the address of a server."""
    return f"10.77.0.{number + 1}"


def attach(namespace: Namespace, number: int) -> None:
    """Connect a namespace to the bridge."""
    ip(f"link add v{number} type veth peer name eth0 netns {namespace.pid}")
    ip(f"link set v{number} master br0 up")
    namespace.ip(f"addr add {address(number)}/24 dev eth0")
    namespace.ip("link set eth0 up")
    namespace.ip("link set lo up")


def cut(how: str, namespace: Namespace, number: int) -> None:
    """Cut a namespace off."""
    if how == "filter":
        namespace.run("nft", "-f", "-", text=_FILTER)
    else:
        ip(f"link set v{number} down")


def heal(how: str, namespace: Namespace, number: int) -> None:
    """Connect it again."""
    if how == "filter":
        namespace.run("nft", "delete table inet cut")
    else:
        ip(f"link set v{number} up")


def begun(command: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a program."""
    with output.open("wb") as file:
        return subprocess.Popen(command, stdout=file)


async def played_host(url: str, directory: str) -> None:
    """Publish a host until this process is killed."""
    host = PlayedHost(configuration([url], Path(directory), "cut-off"))
    host.start()
    while True:
        host.source.change()
        await asyncio.sleep(1)


async def partition(
    how: str, directory: Path, servers: Sequence[NatsServer], namespaces: Sequence[Namespace]
) -> None:
    """Cut the leader off, and look at both sides, during and after."""
    urls = [one.url for one in servers]
    await make_bucket(urls, replicas=3)
    name = await leader_of(urls)
    number = [one.name for one in servers].index(name)
    inside, url = namespaces[number], urls[number]
    output = directory / "events"
    program = (
        "from tests.fleet.faults.partitioned import *; asyncio.run(played_host(*sys.argv[1:]))"
    )
    arguments = ["--fleet", url, "events", "--initial", "--json"]
    reader = begun([*inside.enter, *NODEDEVCTL, *arguments], output)
    command = [sys.executable, "-c", program, url, str(directory)]
    publisher = begun([*inside.enter, *command], directory / "publisher")

    def told() -> list[dict[str, object]]:
        lines = output.read_bytes().splitlines(keepends=True)
        return [msgspec.json.decode(line) for line in lines if line.endswith(b"\n")]

    async def until(reached: Callable[[], bool]) -> float:
        since = asyncio.get_running_loop().time()
        async with asyncio.timeout(90):
            while not reached():
                assert reader.poll() is None
                await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time() - since

    try:
        await until(lambda: any(one["host"] == "cut-off" for one in told()))
        async with PlayedFleet(urls, directory, count=10, ignored="cut-off") as fleet:
            watching = fleet.reader
            assert watching is not None

            def state() -> str:
                return watching.known["cut-off"].state

            before = len(told())
            cut(how, inside, number)
            took = await until(lambda: any(one["event"] == "unreachable" for one in told()))
            print(f"unreachable after {took:.1f} s on the side without a majority")
            at_cut = told()[before:]
            took = await until(lambda: state() == "gone")
            print(f"gone after another {took:.1f} s on the other side")
            generations = {one.id: one.source.generation for one in fleet.hosts}
            await until(
                lambda: all(
                    (watching.known[one].summary or 0)
                    and watching.known[one].state == "alive"
                    and watching.known[one].summary.generation > generation  # type: ignore[union-attr]
                    for one, generation in generations.items()
                )
            )
            quiet = len(told())
            assert at_cut
            await asyncio.sleep(5)
            assert len(told()) == quiet, "told without knowing"
            heal(how, inside, number)
            took = await until(lambda: state() == "alive")
            print(f"alive {took:.1f} s after it is healed")
            await fleet.until_true()
            wanted = {one.id: one.source.generation for one in fleet.hosts}

            def known() -> dict[object, object]:
                return {one["host"]: one["generation"] for one in told() if one["generation"]}

            took = await until(lambda: wanted.items() <= known().items())
            print(f"true after another {took:.1f} s there")
    finally:
        for process in (reader, publisher):
            process.kill()
            process.wait()


def main(how: str, directory: Path) -> None:
    """Make the namespaces and servers, and play."""
    ip("link set lo up")
    ip("link add br0 type bridge")
    ip("addr add 10.77.0.254/24 dev br0")
    ip("link set br0 up")
    routes = [f"{address(number)}:{_ROUTE}" for number in range(3)]
    with Namespace() as one, Namespace() as two, Namespace() as three:
        namespaces = (one, two, three)
        servers = []
        for number, namespace in enumerate(namespaces):
            attach(namespace, number)
            server = NatsServer(
                directory / f"n{number}",
                _PORT,
                name=f"n{number}",
                address=address(number),
                extra=cluster_config(address(number), _ROUTE, routes),
                enter=namespace.enter,
            )
            server.start()
            servers.append(server)
        try:
            for server in servers:
                server.wait_until_accepts()
            asyncio.run(partition(how, directory, servers, namespaces))
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
