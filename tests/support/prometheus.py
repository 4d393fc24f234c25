"""Prometheus, node_exporter and nodedevd-metrics as processes on free ports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.descriptors import opened
from tests.support.running import PATIENCE_SECONDS, REPOSITORY, Running, started

METRICS = (sys.executable, "-m", "nodedevd.metrics")
REPORT = Path("/usr/lib/systemd/systemd-report")
_FUNCTION = (
    'node_pcidevice_info{segment="0000",bus="08",device="00",function="0",vendor_id="0x10de",'
    'device_id="0x25b6"} 1\n'
)
"""The card of vgpu-sriov, as the collector has it."""
_LISTENS = "0A"  # TCP_LISTEN, include/net/tcp_states.h


def fetch(url: str, accept: str = "*/*") -> bytes:
    """Return the body of an answer. Raises urllib.error.HTTPError."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return bytes(answer.read())


@contextmanager
def metrics_service(directory: Path, *arguments: str) -> Iterator[tuple[Running, str]]:
    """Start nodedevd-metrics on a free port; return it with the address of the metrics."""
    options = ("--socket", str(directory / "nodedevd.sock"), "--listen", "127.0.0.1:0")
    with started(directory / "metrics", *options, *arguments, command=METRICS) as service:
        service.wait_notified("READY=1")
        [url] = re.findall(r"serving (http://\S+)", service.log)
        yield service, url
        if service.process.poll() is None:
            assert service.stop() == 0


@contextmanager
def listening_process(directory: Path, command: Sequence[str]) -> Iterator[str]:
    """Start a program that is told to listen on port 0; return its address."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{_wait_for_port(process, directory / 'log')}"
    finally:
        process.kill()
        process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        sockets = opened(process.pid)
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS and f"socket:[{fields[9]}]" in sockets:
                return int(fields[1].partition(":")[2], 16)
        time.sleep(0.01)
    raise AssertionError(f"it listens nowhere: {log.read_text()}")


class Prometheus:
    """A Prometheus server that was started."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the elements of an expression's vector; none as long as it does not answer."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            answer = json.loads(fetch(f"http://{self._address}/api/v1/query?{query}"))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 503:  # it is starting
                return []
            raise
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """Wait until an expression has elements, and return them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, f"nothing comes of {expression}"
            time.sleep(0.05)
        return found


@contextmanager
def prometheus(directory: Path, targets: dict[str, str], rules: Path) -> Iterator[Prometheus]:
    """Start Prometheus, which scrapes a target of each job every half second."""
    configuration = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [target]}],
                "relabel_configs": [{"target_label": "instance", "replacement": "host1"}],
            }
            for job, target in targets.items()
        ],
    }
    directory.mkdir()
    file = directory / "prometheus.yml"
    file.write_text(json.dumps(configuration))  # which is YAML, too
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--log.level=warn",
    ]
    with listening_process(directory, command) as address:
        yield Prometheus(address)


@contextmanager
def node_exporter(directory: Path, textfiles: Path, sysfs: Path) -> Iterator[str]:
    """Start node_exporter with textfiles and the PCI functions of a host; return its address.

    Before release 1.10 it has no collector of PCI functions: then one textfile has a function.
    """
    directory.mkdir()
    command = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={textfiles}",
        "--web.listen-address=127.0.0.1:0",
        f"--path.sysfs={sysfs}",
    ]
    known = subprocess.run([command[0], "--help"], capture_output=True, text=True, check=False)
    if "--collector.pcidevice" in known.stdout + known.stderr:
        command.append("--collector.pcidevice")
    else:
        (textfiles / "pci.prom").write_text(_FUNCTION)
    with listening_process(directory, command) as address:
        yield address


def promtool(*arguments: str, stdin: bytes | None = None) -> str:
    """Return what promtool prints; it must succeed."""
    done = subprocess.run(
        ["promtool", *arguments], cwd=REPOSITORY, input=stdin, capture_output=True, check=False
    )
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    return text
