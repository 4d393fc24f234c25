"""A fleet of simulated hosts over one server, or a cluster of three: its costs and latencies.

Real publishers in a few processes write the devices of sample hosts, and change them; a reader in
a process of its own follows. Both share the processors with the servers: orders of magnitude.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.asynchronous import AsyncFleet
from nodedevd.client.fleet.fitting import fleet_fits
from tests.support.hosts import snapshot_of
from tests.support.nats_server import NatsServer, nats_cluster, nats_server
from tests.support.played_fleet import PlayedHost, PlayedSource, configuration, make_bucket
from tests.support.running import NODEDEVCTL, REPOSITORY

SAMPLES = ("vgpu-pf", "vgpu-sriov", "server-storage-fc", "vgpu-vendor-vfio", "a100-mig")
PATIENCE_SECONDS = 300.0

_EPILOG = """\
Example: how the figures grow
  make bench-fleet ARGS="--hosts 10 100 1000"

Exit status: 0 the reader had the hosts' own state; 1 it did not; 2 wrong usage."""


# -- a process of publishers -------------------------------------------------------------------


async def publish(urls: Sequence[str], directory: Path, first: int, count: int) -> None:
    """Publish hosts; change them as lines on standard input say, until it ends."""
    hosts = []
    for number in range(first, first + count):
        made = configuration(
            urls, directory, f"h{number}", heartbeat_seconds=15.0, publish_seconds=1.0
        )
        host = PlayedHost(made)
        host.source = PlayedSource(SAMPLES[number % len(SAMPLES)], costly=True)
        hosts.append(host)
        host.start()
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    rate = seconds = 0.0
    while line := await lines.readline():
        rate, seconds = map(float, line.split())
        until = time.monotonic() + seconds
        number = 0
        due = time.monotonic()
        with (directory / f"changes-{first}").open("a") as file:
            while time.monotonic() < until:
                host = hosts[number % len(hosts)]
                number += 1
                host.source.change()
                file.write(f"{host.id} {host.source.generation} {time.monotonic()}\n")
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        print("done", flush=True)
    for host in hosts:
        await host.kill()


# -- a process that reads ----------------------------------------------------------------------


async def read(urls: Sequence[str], directory: Path) -> None:
    """Follow the fleet, and note when each state was told, until standard input ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    ended = asyncio.ensure_future(lines.readline())
    watch = AsyncFleet(Access(tuple(urls))).watch()
    with (directory / "told").open("w", buffering=1) as file:
        async with watch:
            while not ended.done():
                event = await watch.next(0.2)
                if event is not None:
                    file.write(
                        f"{event.host or event.event} {event.generation or 0} {time.monotonic()}\n"
                    )
    print(f"{cpu_seconds(os.getpid())} {rss_mib(os.getpid())}", flush=True)


# -- measuring ---------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def disk_mib(server: NatsServer) -> float:
    """Return what a server's store takes on the disk."""
    blocks = 0
    for one in server.store.rglob("*"):
        with suppress(FileNotFoundError):
            blocks += one.stat().st_blocks
    return blocks * 512 / 2**20


def child(role: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process of this module."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet", f"--{role}", *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def pairs(path: Path) -> list[tuple[str, int, float]]:
    """Return what a process has noted: host, generation, time."""
    found = []
    for line in path.read_text().splitlines():
        host, generation, when = line.split()
        found.append((host, int(generation), float(when)))
    return found


async def until_all_are_alive(urls: Sequence[str], count: int) -> float:
    """Wait until so many hosts are alive; return for how long."""
    begun = time.monotonic()
    async with AsyncFleet(Access(tuple(urls))) as fleet:
        while True:
            with suppress(Exception):
                found = await fleet.hosts()
                if sum(one.state == "alive" for one in found.hosts) >= count:
                    return time.monotonic() - begun
            assert time.monotonic() - begun < PATIENCE_SECONDS
            await asyncio.sleep(0.5)


async def new_reader(urls: Sequence[str]) -> dict[str, float]:
    """Return the times of a reader that begins: of the hosts, of `fits` and of a tree."""
    whole, fitting, tree = [], [], []
    for _ in range(5):
        begun = time.monotonic()
        async with AsyncFleet(Access(tuple(urls))) as fleet:
            found = await fleet.hosts()
            whole.append(time.monotonic() - begun)
            begun = time.monotonic()
            fleet_fits(found, "A2-4Q", 2)
            fitting.append(time.monotonic() - begun)
            begun = time.monotonic()
            await fleet.tree_of(found.hosts[0])
            tree.append(time.monotonic() - begun)
    return {
        "new reader, s": statistics.median(whole),
        "fits over it, s": statistics.median(fitting),
        "one tree, s": statistics.median(tree),
    }


def measure(
    servers: Sequence[NatsServer], directory: Path, hosts: int, rate: float, seconds: float
) -> dict[str, Any]:
    """Return the figures of a fleet of so many hosts."""
    urls = [one.url for one in servers]
    asyncio.run(make_bucket(urls, replicas=len(servers), max_bytes=1 << 29))
    for sample in SAMPLES:
        snapshot_of(sample)
    processes = min(4, hosts)
    share = [hosts // processes + (number < hosts % processes) for number in range(processes)]
    publishers = []
    first = 0
    for count in share:
        publishers.append(child("publish", ",".join(urls), directory, first, count))
        first += count
    reader = child("read", ",".join(urls), directory)
    try:
        row: dict[str, Any] = {"hosts": hosts, "servers": len(servers)}
        row["all published, s"] = asyncio.run(until_all_are_alive(urls, hosts))
        time.sleep(3)
        row |= asyncio.run(new_reader(urls))
        begun = time.monotonic()
        command = [*NODEDEVCTL, "--fleet", ",".join(urls), "fits", "--type", "A2-4Q", "--json"]
        asked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
        row["nodedevctl fits, s"] = time.monotonic() - begun
        assert json.loads(asked.stdout)["hosts"]
        pids = [one.process.pid for one in servers if one.process is not None]
        used, begun = sum(map(cpu_seconds, pids)), time.monotonic()
        for one in publishers:
            assert one.stdin is not None
            one.stdin.write(f"{rate / processes} {seconds}\n")
            one.stdin.flush()
        for one in publishers:
            assert one.stdout is not None
            assert one.stdout.readline() == "done\n"
        took = time.monotonic() - begun
        row["server CPU, % of one"] = 100 * (sum(map(cpu_seconds, pids)) - used) / took
        row["server RSS, MiB"] = max(map(rss_mib, pids))
        row["disk a server, MiB"] = max(map(disk_mib, servers))
        changes = [one for path in directory.glob("changes-*") for one in pairs(path)]
        newest = {host: generation for host, generation, _ in changes}
        begun = time.monotonic()
        while True:
            told = pairs(directory / "told")
            known = {host: generation for host, generation, _ in told}
            if all(known.get(host) == generation for host, generation in newest.items()):
                break
            if time.monotonic() - begun > PATIENCE_SECONDS:
                raise SystemExit("the reader does not have the hosts' own state")
            time.sleep(0.2)
        row |= latencies(changes, told)
        row["changes a second"] = len(changes) / took
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.close()
        row["reader RSS, MiB"] = float(reader.stdout.readline().split()[1])
        return row
    finally:
        for one in (*publishers, reader):
            one.kill()
            one.wait()


def latencies(
    changes: Sequence[tuple[str, int, float]], told: Sequence[tuple[str, int, float]]
) -> dict[str, float]:
    """Return how long after a change it, or a later one of the same host, was told."""
    by_host: dict[str, list[tuple[int, float]]] = {}
    for host, generation, when in told:
        by_host.setdefault(host, []).append((generation, when))
    found = []
    for host, generation, when in changes:
        found.append(next(at - when for known, at in by_host.get(host, ()) if known >= generation))
    found.sort()
    return {
        "event p50, ms": 1000 * found[len(found) // 2],
        "event p99, ms": 1000 * found[int(len(found) * 0.99)],
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, and print a table of Markdown."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.fleet",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=[1000])
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second, of all hosts")
    parser.add_argument("--seconds", type=float, default=12.0, help="of changes")
    parser.add_argument("--servers", type=int, choices=[1, 3], nargs="+", default=[1, 3])
    parser.add_argument("--publish", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.publish:
        urls, directory, first, count = given.publish
        asyncio.run(publish(urls.split(","), Path(directory), int(first), int(count)))
        return
    if given.read:
        asyncio.run(read(given.read[0].split(","), Path(given.read[1])))
        return
    rows = []
    for size in given.servers:
        for hosts in given.hosts:
            with tempfile.TemporaryDirectory() as temporary:
                directory = Path(temporary)
                rate = min(given.rate, hosts / 2)
                if size == 1:
                    with nats_server(directory / "nats") as server:
                        rows.append(measure([server], directory, hosts, rate, given.seconds))
                else:
                    with nats_cluster(directory / "nats", size) as servers:
                        rows.append(measure(servers, directory, hosts, rate, given.seconds))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print("| |" + "|".join(f" {one['hosts']}, {one['servers']} server(s) " for one in rows) + "|")
    print("| --- |" + " --- |" * len(rows))
    for key in rows[0]:
        if key not in ("hosts", "servers"):
            print(f"| {key} |" + "|".join(f" {one[key]:.3g} " for one in rows) + "|")


if __name__ == "__main__":
    main(sys.argv[1:])
