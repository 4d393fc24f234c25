"""nodedevd-metrics and nodedevctl metrics with a daemon, and Prometheus's own programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
import varlink

from nodedevd.metrics.listening import listening
from tests.support.hosts import host_file, unpacked
from tests.support.monitoring import MONITORING, expressions
from tests.support.prometheus import (
    REPORT,
    fetch,
    metrics_service,
    node_exporter,
    prometheus,
    promtool,
)
from tests.support.running import PATIENCE_SECONDS, REPOSITORY, ctl, running
from tests.support.serving import listening as unix_listening

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
AVAILABLE = "NVIDIA A2-4Q"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory for a daemon and its service."""
    (tmp_path / "metrics").mkdir()
    return tmp_path


@pytest.mark.slow
def test_service_serves_what_the_command_prints(directory: Path) -> None:
    """Over HTTP and io.systemd.Metrics; without a daemon it says so, and goes on."""
    report = directory / "org.nodedevd.Devices"
    path = str(directory / "nodedevd.sock")
    with metrics_service(directory, "--report", str(report)) as (service, url):
        with pytest.raises(urllib.error.HTTPError, match="503") as raised:
            fetch(url)
        assert b"no nodedevd answers on" in raised.value.read()
        for _ in range(2):  # the second one is another process
            with running(directory, host_file("vgpu-sriov")):
                printed = ctl("--socket", path, "metrics", "--quiet").stdout.encode()
                while True:
                    try:
                        served = fetch(url, OPENMETRICS)
                    except urllib.error.HTTPError as error:  # for a second it is known to be down
                        error.close()
                        continue
                    break
                changing = re.compile(rb"(?m)^nodedev_(?:clients|scan_seconds) .*$")
                assert changing.sub(b"", served) == changing.sub(b"", printed)
                with (
                    varlink.Client(f"unix:{report}") as client,
                    client.open("io.systemd.Metrics") as metrics,
                ):
                    listed = list(metrics.List(_more=True))
                    described = list(metrics.Describe(_more=True))
                    information = client.get_interface("io.systemd.Metrics").name
        assert information == "io.systemd.Metrics"
        assert len(listed) == len(
            [line for line in served.splitlines() if not line.startswith(b"#")]
        )
        assert {one["name"] for one in listed} <= {one["name"] for one in described}
        assert all(one["name"].startswith(f"{report.name}.") for one in described)
        log = service.log
    assert "Traceback" not in log
    assert "nodedev_vfio_open is missing" in log


ACTIVATED = """
import os, sys
from nodedevd.metrics.__main__ import main

http, report, *arguments = sys.argv[1:]
os.dup2(int(report), 4)
os.dup2(int(http), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:report"}
main(arguments)
"""


@pytest.mark.slow
def test_service_takes_the_sockets_of_systemd(directory: Path) -> None:
    """That for systemd-report is known by its family."""
    path = directory / "org.nodedevd.Devices"
    with (
        listening("127.0.0.1:0") as http,
        unix_listening(path) as report,
        running(directory, host_file("vgpu-pf")),
    ):
        os.set_inheritable(http.fileno(), True)
        os.set_inheritable(report.fileno(), True)
        numbers = (str(http.fileno()), str(report.fileno()))
        with subprocess.Popen(
            [
                *(sys.executable, "-c", ACTIVATED, *numbers),
                *("--socket", str(directory / "nodedevd.sock")),
            ],
            cwd=REPOSITORY,
            close_fds=False,
        ) as process:
            try:
                with (
                    varlink.Client(f"unix:{path}") as client,
                    client.open("io.systemd.Metrics") as metrics,
                ):
                    assert list(metrics.List(_more=True))
                assert b"nodedev_devices{" in fetch(
                    f"http://127.0.0.1:{http.getsockname()[1]}/metrics"
                )
            finally:
                process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--listen", "0.0.0.0:1"), 1, "no loopback address"),
        (("--report", "/nowhere/x", "--listen", "127.0.0.1:0"), 1, "does not exist"),
        (("--nothing",), 2, "No such option"),
    ],
)
def test_service_that_cannot_serve_says_why(
    arguments: tuple[str, ...], status: int, words: str
) -> None:
    """In one line, with an exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "nodedevd.metrics", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["prometheus_client", "h11"])
def test_missing_library_is_named(missing: str, tmp_path: Path) -> None:
    """The error says how to install it, for the service and for the command."""
    hide = f"import sys; sys.modules[{missing!r}] = None\n"
    service = "from nodedevd.metrics.__main__ import main; main(['--listen', '127.0.0.1:0'])"
    command = "from nodedevd.cli.main import main; main(['--sysroot', sys.argv[1], 'metrics'])"
    for program in [service, command] if missing == "prometheus_client" else [service]:
        done = subprocess.run(
            [sys.executable, "-c", hide + program, str(host_file("empty"))],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "Debian's package python3-" in done.stderr
        assert "Traceback" not in done.stderr


def test_textfile_is_replaced_at_once(tmp_path: Path) -> None:
    """Whoever reads it has the old text or the new one; nothing else is left beside it."""
    from click.testing import CliRunner

    from nodedevd.cli.main import main

    file = tmp_path / "nodedev.prom"
    file.write_text("old")
    with file.open() as reader:
        arguments = ["--sysroot", str(host_file("vgpu-pf")), "metrics", "--textfile", str(file)]
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.stdout) == (0, "")
        assert reader.read() == "old"
    assert file.read_text().startswith("# HELP nodedev_devices ")
    assert (file.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o644, [file])
    for odd, status in ((tmp_path / "nodedev", 2), (tmp_path / "gone" / "x.prom", 1)):
        result = CliRunner().invoke(main, [*arguments[:-1], str(odd)])
        assert result.exit_code == status
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
@pytest.mark.needs("promtool")
@pytest.mark.parametrize("host", ["vgpu-sriov", "vgpu-two-generations", "broken"])
def test_promtool_has_nothing_to_say_about_metrics(host: str) -> None:
    """Names, types and help texts are as Prometheus wants them."""
    text = ctl("--sysroot", str(host_file(host)), "metrics", "-q", "--format", "prometheus").stdout
    assert promtool("check", "metrics", stdin=text.encode()) == ""


@pytest.mark.slow
@pytest.mark.needs("promtool")
def test_promtool_passes_the_alerts_and_their_tests() -> None:
    """Every alert fires when it should, and does not before."""
    assert "13 rules found" in promtool("check", "rules", str(MONITORING / "alerts.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(MONITORING / "alerts-test.yml"))


@pytest.mark.slow
@pytest.mark.needs("promtool")
def test_promtool_parses_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, since that is what it checks."""
    asked = enumerate(dict.fromkeys(expressions()))
    rules = [{"record": f"x{number}", "expr": one} for number, one in asked]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


@pytest.mark.slow
@pytest.mark.needs("systemd-report")
def test_systemd_report_has_every_metric(directory: Path) -> None:
    """It takes all names for valid, and skips nothing."""
    sources = directory / "systemd" / "report"
    sources.mkdir(parents=True)
    with (
        running(directory, host_file("vgpu-sriov")),
        metrics_service(directory, "--report", str(sources / "org.nodedevd.Devices")) as (_, url),
    ):
        values = [line for line in fetch(url).splitlines() if not line.startswith(b"#")]
        done = subprocess.run(
            [str(REPORT), "--user", "--json=short", "metrics"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(directory)},
            capture_output=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == len(values)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.needs("prometheus", "node_exporter")
def test_prometheus_scrapes_the_service_and_node_exporter(directory: Path) -> None:
    """Both have the same values; a card joins with its PCI function; an alert sees a change."""
    scraped = directory / "textfiles"
    scraped.mkdir()
    host = unpacked("vgpu-sriov", directory / "host")
    path = str(directory / "nodedevd.sock")
    with (
        running(directory, Path(host.root), "--count-age", "0"),
        metrics_service(directory) as (_, url),
        node_exporter(directory / "exporter", scraped, Path(host.root, "sys")) as exporter,
    ):
        file = str(scraped / "nodedev.prom")
        assert ctl("--socket", path, "metrics", "--quiet", "--textfile", file).returncode == 0
        targets = {"nodedevd": url.split("/")[2], "node": exporter}
        with prometheus(directory / "prometheus", targets, MONITORING / "alerts.yml") as server:
            wanted = f'nodedev_vgpu_available{{type_name="{AVAILABLE}"}}'
            for job in targets:
                [found] = server.wait_for(wanted.replace("}", f',job="{job}"}}'))
                assert found["value"][1] == "2"
                assert found["metric"]["instance"] == "host1"
            [joined] = server.wait_for(
                f'nodedev_vgpu_available{{type_name="{AVAILABLE}",job="nodedevd"}}'
                " * on (instance, card) group_left (segment, bus, device, function)"
                ' nodedev_card_info{job="nodedevd"}'
                " * on (instance, segment, bus, device, function)"
                " group_left (vendor_id, device_id) node_pcidevice_info"
            )
            assert joined["metric"]["device_id"] == "0x25b6"
            [gauge] = server.wait_for('nodedev_devices{capability="pci",job="nodedevd"}')
            assert gauge["value"][1] == "24"
            # The kernel sends no event of this; the daemon reads it again for the next scrape.
            for count in Path(host.root, "sys/devices").rglob("nvidia-746/available_instances"):
                count.write_text("0\n")
            server.wait_for(
                f'nodedev_vgpu_available{{type_name="{AVAILABLE}",job="nodedevd"}} == 0'
            )
            server.wait_for('ALERTS{alertname="NodedevVgpuFull",alertstate="pending"}')
            assert server.query('up{job="nodedevd"} == 0') == []
