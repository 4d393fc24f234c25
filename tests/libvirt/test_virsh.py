"""A running daemon, and libvirt's own clients as Debian ships them: virsh and libvirt-python."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from nodedevd import __version__
from nodedevd.cli.tree_drawing import draw
from nodedevd.client import Client
from nodedevd.errors import NoSuchDevice
from nodedevd.server.libvirt.session import LIBVIRT_VERSION
from tests.support import namespace
from tests.support.ctl import Ctl
from tests.support.hosts import HOSTS, host_file, unpacked
from tests.support.needs import DEBIAN_PYTHON
from tests.support.running import COMMAND, PATIENCE_SECONDS, REPOSITORY, Running, running, started
from tests.support.units import UNITS, analyze, unit
from tests.unit.server.libvirt.test_session import VERSION, WORDS, serving, words_of

VIRSH = shutil.which("virsh")
CARD = "pci_0000_02_00_0"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"
VIRSH_9 = 22
"""virsh 9.0 has so many of the words for --cap."""

needs_virsh = pytest.mark.needs("virsh")
needs_python = pytest.mark.needs("libvirt-python")


class Served:
    """A running daemon, and its sockets for libvirt's clients."""

    def __init__(self, directory: Path, daemon: Running) -> None:
        self.directory = directory
        self.daemon = daemon
        self.socket = directory / "libvirt"
        self.uri = f"nodedev:///system?socket={self.socket}"

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs virsh on the daemon."""
        return [str(VIRSH), "-c", self.uri, *arguments]

    def virsh(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run virsh."""
        return subprocess.run(
            self.command(*arguments),
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def printed(self, *arguments: str, text: str | None = None) -> str:
        """Run virsh, which succeeds, and return its output without the last line feed."""
        done = self.virsh(*arguments, text=text)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.removesuffix("\n")

    def interactive(self, commands: Sequence[str], *options: str) -> list[str]:
        """Give virsh several commands, and return the output of each."""
        done = self.virsh("-q", *options, text="".join(f"{one}\n" for one in commands))
        assert done.returncode == 0
        _, *printed = re.split("^virsh # ", done.stdout, flags=re.MULTILINE)
        echoed = [one.partition("\n")[::2] for one in printed]
        assert [command for command, _ in echoed] == [*commands, ""]
        return [text for _, text in echoed[:-1]]

    def xml(self) -> dict[str, str]:
        """Return the XML of all devices in libvirt's format, from the daemon's own protocol."""
        found = {}
        with Client(str(self.directory / "nodedevd.sock")) as client:
            for device in etree.fromstring(client.dump_xml(form="libvirt")):
                name = device.findtext("path") or device.findtext("name") or ""
                found[device.findtext("name") or ""] = client.dump_xml([name], form="libvirt")
        return found

    def generation(self) -> int:
        """Return the current generation."""
        with Client(str(self.directory / "nodedevd.sock")) as client:
            return client.status().generation

    def wait_watched(self, by: int = 1) -> None:
        """Wait until so many clients are registered for events."""
        with Client(str(self.directory / "nodedevd.sock")) as client:
            while client.status().watchers < by:
                assert self.daemon.process.poll() is None


@contextmanager
def served(directory: Path, host: Path, *options: str) -> Iterator[Served]:
    """Run a daemon, and check that it logged no error at the end."""
    writable, read_only = str(directory / "libvirt"), str(directory / "libvirt-ro")
    sockets = ("--libvirt-socket", writable, "--libvirt-socket-ro", read_only)
    with running(directory, host, *sockets, *options) as daemon:
        yield Served(directory, daemon)
        assert "Traceback" not in daemon.log
        assert "ERROR" not in daemon.log


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a daemon that serves a host with a card and two mdevs."""
    with served(tmp_path_factory.mktemp("card"), host_file("vgpu-pf")) as daemon:
        yield daemon


@pytest.fixture(scope="module", params=[*HOSTS, "/"])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Return a daemon for each of the sample hosts, and one for this machine."""
    root = Path("/") if request.param == "/" else host_file(request.param)
    with served(tmp_path_factory.mktemp("host"), root) as daemon:
        yield daemon


def steady(served: Served, check: Callable[[dict[str, str]], None]) -> None:
    """Check something, again if a device changed meanwhile: on this machine, one may."""
    while True:
        generation = served.generation()
        try:
            check(served.xml())
        except (AssertionError, NoSuchDevice):
            if served.generation() == generation:
                raise
        else:
            return


def lines(text: str) -> list[str]:
    """Return the lines of a list printed by virsh."""
    return text.splitlines()


# -- virsh: output --------------------------------------------------------------


@needs_virsh
def test_virsh_lists_every_device(host: Served) -> None:
    """Without a filter, active and inactive, all of them, in virsh's order."""

    def check(xml: dict[str, str]) -> None:
        inactive = {name for name, one in xml.items() if etree.fromstring(one).find("path") is None}
        inactive -= {"computer"}
        assert set(lines(host.printed("nodedev-list"))) == set(xml) - inactive
        assert set(lines(host.printed("nodedev-list", "--inactive"))) == inactive
        everything = lines(host.printed("nodedev-list", "--all"))
        assert everything == sorted(xml, key=lambda name: (name.lower(), name))

    steady(host, check)


@needs_virsh
def test_virsh_draws_the_tree(host: Served) -> None:
    """By the parent in each device's XML, and complete."""

    def check(xml: dict[str, str]) -> None:
        parents = {name: etree.fromstring(one).findtext("parent") for name, one in xml.items()}
        # virsh leaves out a device whose parent is not in the list.
        assert {parent for parent in parents.values() if parent is not None} <= set(parents)
        assert host.printed("nodedev-list", "--tree", "--all") == draw(parents)

    steady(host, check)


@needs_virsh
def test_virsh_filters_by_every_word(host: Served) -> None:
    """Each word selects the devices whose XML has it."""

    def check(xml: dict[str, str]) -> None:
        printed = host.interactive([f"nodedev-list --all --cap {word}" for word in WORDS[:VIRSH_9]])
        for word, names in zip(WORDS, printed, strict=False):
            expected = {name for name, one in xml.items() if word in words_of(one)}
            assert set(lines(names)) == expected, word

    steady(host, check)


@needs_virsh
def test_virsh_dumps_the_xml_of_every_device(host: Served) -> None:
    """Equal to that of nodedevd's own client, by one virsh in interactive mode."""

    def check(xml: dict[str, str]) -> None:
        printed = host.interactive([f"nodedev-dumpxml {name}" for name in xml])
        assert dict(zip(xml, printed, strict=True)) == xml

    steady(host, check)


@needs_virsh
def test_virsh_tells_the_state_of_every_device(host: Served) -> None:
    """Name, parent, and the states of the host itself and of all devices but mdevs."""

    def check(xml: dict[str, str]) -> None:
        printed = host.interactive([f"nodedev-info {name}" for name in xml])
        for (name, one), text in zip(xml.items(), printed, strict=True):
            told = dict(re.split(" *: *", line, maxsplit=1) for line in lines(text))
            device = etree.fromstring(one)
            assert told["Name"] == name
            assert told["Parent"] == (device.findtext("parent") or "")
            assert set(told) == {"Name", "Parent", "Active", "Persistent", "Autostart"}
            if name == "computer":
                assert [told[key] for key in ("Active", "Persistent", "Autostart")] == ["yes"] * 3
            elif device.find("capability[@type='mdev']") is None:
                assert told["Active"] == "yes"
                assert [told[key] for key in ("Persistent", "Autostart")] == ["no"] * 2

    steady(host, check)


@needs_virsh
def test_virsh_evaluates_an_xpath(card: Served) -> None:
    """Over the XML of a device."""
    printed = card.printed("nodedev-dumpxml", "--xpath", "//product", CARD)
    assert printed == '<product id="0x1b38">GP102GL [Tesla P40]</product>\n'
    wrapped = card.printed("nodedev-dumpxml", CARD, "--xpath", "//type", "--wrap")
    types = etree.fromstring(card.xml()[CARD]).findall(".//type")
    assert [one.get("id") for one in etree.fromstring(wrapped)] == [one.get("id") for one in types]


@needs_virsh
def test_virsh_finds_a_host_by_its_world_wide_names(tmp_path: Path) -> None:
    """Written with a comma between the two."""
    with served(tmp_path, host_file("server-storage-fc")) as daemon:
        found = 0
        for xml in daemon.xml().values():
            device = etree.fromstring(xml)
            wwnn, wwpn = device.findtext(".//wwnn"), device.findtext("capability/capability/wwpn")
            if device.find("capability[@type='scsi_host']") is None or wwnn is None:
                continue
            assert daemon.printed("nodedev-dumpxml", f"{wwnn},{wwpn}") == xml
            found += 1
        assert found > 0


@needs_virsh
def test_virsh_tells_versions_and_uri(card: Served) -> None:
    """Nodedevd's version, and the version of the protocol."""
    assert card.printed("uri") == f"{card.uri}\n"
    assert card.printed("hostname") == f"{os.uname().nodename}\n"
    version = card.printed("version")
    assert f"Running hypervisor: nodedev {__version__}\n" in version
    assert re.search("^Using API: nodedev [0-9.]+$", version, re.MULTILINE)


@needs_virsh
def test_virsh_reads_on_the_read_only_socket(card: Served) -> None:
    """By a path of its own."""
    uri = f"nodedev:///system?socket={card.directory / 'libvirt-ro'}"
    done = subprocess.run(
        [str(VIRSH), "-r", "-c", uri, "nodedev-dumpxml", CARD], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{card.xml()[CARD]}\n")


# -- virsh: refusals ---------------------------------------------------------

UNSUPPORTED = (
    "error: Operation not supported: nodedevd changes nothing for libvirt's clients without"
    " --libvirt-writes"
)
NO_SUPPORT = "error: this function is not supported by the connection driver"


@needs_virsh
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nodedev-destroy", MDEV], f"{UNSUPPORTED}: NODE_DEVICE_DESTROY"),
        (["nodedev-undefine", MDEV], f"{UNSUPPORTED}: NODE_DEVICE_UNDEFINE"),
        (["nodedev-start", MDEV], f"{UNSUPPORTED}: NODE_DEVICE_CREATE"),
        (["nodedev-autostart", MDEV], f"{UNSUPPORTED}: NODE_DEVICE_SET_AUTOSTART"),
        (["nodedev-create", "/etc/hostname"], f"{UNSUPPORTED}: NODE_DEVICE_CREATE_XML"),
        (["nodedev-define", "/etc/hostname"], f"{UNSUPPORTED}: NODE_DEVICE_DEFINE_XML"),
        (["nodedev-detach", CARD], f"{NO_SUPPORT}: virNodeDeviceDettach"),
        (["nodedev-reattach", CARD], f"{NO_SUPPORT}: virNodeDeviceReAttach"),
        (["nodedev-reset", CARD], f"{NO_SUPPORT}: virNodeDeviceReset"),
        (
            ["nodedev-dumpxml", "nobody"],
            "error: Node device not found: no node device with matching name 'nobody'",
        ),
        (
            ["nodedev-info", "1111111111111111,2222222222222222"],
            (
                "error: Node device not found: no node device with matching name "
                "'1111111111111111,2222222222222222'"
            ),
        ),
        (["list"], "error: unknown procedure: 51"),
        (
            ["capabilities"],
            (
                "error: this function is not supported by the connection driver: "
                "CONNECT_GET_CAPABILITIES"
            ),
        ),
    ],
)
def test_virsh_says_why_it_is_refused(card: Served, arguments: list[str], said: str) -> None:
    """With libvirt's line and nodedevd's, and exit status 1; the daemon continues."""
    done = card.virsh(*arguments)
    assert done.returncode == 1
    assert lines(done.stderr)[-1] == said
    assert done.stdout.strip() == ""


@needs_virsh
def test_virsh_is_refused_another_uri(card: Served) -> None:
    """Nodedevd is not a hypervisor."""
    uri = f"qemu:///system?socket={card.socket}"
    done = subprocess.run([str(VIRSH), "-c", uri, "list"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "unexpected URI 'qemu:///system', try nodedev:///system" in done.stderr


@needs_virsh
def test_virsh_on_the_socket_for_varlink_says_so(card: Served) -> None:
    """Virsh prints the message of the daemon, which names the option of the right socket."""
    uri = f"nodedev:///system?socket={card.directory / 'nodedevd.sock'}"
    done = subprocess.run([str(VIRSH), "-c", uri, "nodedev-list"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "this is nodedevd's socket for Varlink; give virsh the path of" in done.stderr


def test_nodedevctl_on_a_socket_of_libvirt_says_so(card: Served) -> None:
    """The connection alone would only be lost."""
    for command in ("list", "status", "events", "wait --device computer"):
        result = Ctl(["--socket", str(card.socket)]).run(*command.split(), status=1)
        assert result.stderr == (
            f"nodedevctl: {card.socket} is a socket for libvirt's clients, such as virsh; give"
            " --socket the Varlink socket of nodedevd\n"
        )


@needs_virsh
def test_two_virsh_at_once_do_not_notice_each_other(card: Served) -> None:
    """Each has its own connection, one in the middle of its commands."""
    one = subprocess.Popen(
        card.command("-q"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write("nodedev-info computer\n")
    one.stdin.flush()
    while "Autostart" not in one.stdout.readline():
        assert one.poll() is None
    expected = card.printed("nodedev-list")
    rest, _ = one.communicate("nodedev-list\n", timeout=PATIENCE_SECONDS)
    assert one.returncode == 0
    assert expected in rest


# -- virsh: events ---------------------------------------------------------------------


class Following:
    """A virsh that prints events, on a terminal, so that each line appears at once."""

    def __init__(self, served: Served, *arguments: str) -> None:
        master, slave = pty.openpty()
        self.process = subprocess.Popen(
            served.command("nodedev-event", *arguments), stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self._terminal = os.fdopen(master, "rb", buffering=0)
        self._text = b""

    def line(self) -> str:
        """Return the next line."""
        while b"\n" not in self._text:
            try:
                self._text += self._terminal.read(1 << 16)
            except OSError:  # as a terminal tells that nobody is at its other end
                raise EOFError(self._text) from None
        line, _, self._text = self._text.partition(b"\n")
        return line.decode().rstrip("\r")

    def close(self, *, interrupt: bool) -> int:
        """End it if necessary, and return its exit status."""
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(PATIENCE_SECONDS)
        self._terminal.close()
        return status


class Changing:
    """A host with two PCI devices that are not plugged yet; a daemon looks for changes.

    It looks at any time: what it is to see is changed in one step.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "host"
        tree = unpacked("vgpu-pf", self.root)
        self._links = {}
        for name in ("pci_0000_00_08_0", "pci_0000_00_09_0"):
            address = "0000:" + name[9:-2].replace("_", ":") + ".0"
            tree.pci(address, vendor=0x1234, device=0x1111, class_=0x030000, numa_node=0)
            link = self.root / "sys/bus/pci/devices" / address
            self._links[name] = link, link.readlink(), link.resolve()
            link.unlink()

    def plug(self, name: str) -> None:
        """Plug a device."""
        link, target, _ = self._links[name]
        link.symlink_to(target)

    def unplug(self, name: str) -> None:
        """Unplug it."""
        self._links[name][0].unlink()

    def change(self, name: str, numa_node: int) -> None:
        """Change a device's NUMA node."""
        other = self.root / "other"
        other.write_text(f"{numa_node}\n")
        other.rename(self._links[name][2] / "numa_node")


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[tuple[Changing, Served]]:
    """Return a host that changes, and the daemon that serves it."""
    host = Changing(tmp_path)
    with served(tmp_path, host.root, "--reconcile", "0.05") as daemon:
        yield host, daemon


def wait_shown(served: Served, name: str, *, shown: bool = True) -> None:
    """Wait until the daemon shows a device, or no longer shows it."""
    with Client(str(served.directory / "nodedevd.sock")) as client:
        while (name in {one.name for one in client.list().devices}) != shown:
            assert served.daemon.process.poll() is None


@needs_virsh
def test_virsh_prints_lifecycle_events(changing: tuple[Changing, Served]) -> None:
    """With --loop all of them and their number, with --timestamp the time."""
    host, served = changing
    following = Following(served, "--event", "lifecycle", "--loop", "--timestamp")
    served.wait_watched()
    name = "pci_0000_00_09_0"
    told = []
    for act in (host.plug, host.unplug):
        act(name)
        told.append(following.line())
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0000"
    for line, what in zip(told, ("Created", "Deleted"), strict=True):
        assert re.fullmatch(f"{stamp}: event 'lifecycle' for node device {name}: {what}", line)
    assert following.close(interrupt=True) == 0


@needs_virsh
def test_virsh_prints_the_first_update_of_a_device(changing: tuple[Changing, Served]) -> None:
    """Only of the selected device; then it ends."""
    host, served = changing
    other, name = "pci_0000_00_08_0", "pci_0000_00_09_0"
    host.plug(other)
    host.plug(name)
    wait_shown(served, name)
    following = Following(served, "--event", "update", "--device", name)
    served.wait_watched()
    host.change(other, 1)
    host.change(name, 1)
    assert following.line() == f"event 'update' for node device {name}"
    assert following.line() == "events received: 1"
    assert following.close(interrupt=False) == 0


@needs_virsh
def test_virsh_that_follows_sees_the_daemon_end(tmp_path: Path) -> None:
    """It says that it was disconnected, and how many events there were."""
    with served(tmp_path, host_file("empty")) as daemon:
        following = Following(daemon, "--event", "lifecycle", "--loop")
        daemon.wait_watched()
        assert daemon.daemon.stop() == 0
        said = [following.line()]
        while "events received: 0" not in said:
            said.append(following.line())
        assert any("Disconnected from nodedev" in line for line in said)
        assert following.close(interrupt=False) == 1


@needs_virsh
def test_virsh_with_keepalive_stays_connected(card: Served) -> None:
    """Its pings are answered: it waits for its whole timeout."""
    waiting = ("nodedev-event", "--event", "lifecycle", "--loop", "--timeout", "3")
    done = card.virsh("-k", "1", "-K", "1", *waiting)
    assert (done.returncode, done.stderr) == (1, "")
    assert "event loop timed out" in done.stdout


@needs_virsh
async def test_virsh_answers_pings(tmp_path: Path) -> None:
    """A server that drops clients without pongs keeps it connected."""
    async with serving(tmp_path, keepalive_seconds=0.1, keepalive_count=5) as bench:
        uri = f"nodedev:///system?socket={bench.path}"
        waiting = ("nodedev-event", "--event", "lifecycle", "--loop", "--timeout", "2")
        virsh = await asyncio.create_subprocess_exec(
            str(VIRSH), "-c", uri, *waiting, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        printed, errors = await virsh.communicate()
        assert b"event loop timed out" in printed
        assert errors == b""


@needs_virsh
def test_counts_are_fresh_in_xml(tmp_path: Path) -> None:
    """What the kernel says when the XML is asked for, though no uevent told of it."""
    unpacked("vgpu-pf", tmp_path / "host")
    [available] = (tmp_path / "host/sys/devices").rglob("nvidia-283/available_instances")
    with served(tmp_path, tmp_path / "host", "--reconcile", "0", "--count-age", "0") as daemon:
        for count in ("3", "2"):
            available.write_text(f"{count}\n")
            xml = etree.fromstring(daemon.printed("nodedev-dumpxml", CARD))
            assert xml.findtext(".//type[@id='nvidia-283']/availableInstances") == count


# -- default sockets ----------------------------------------------------------------


@needs_virsh
@pytest.mark.needs("namespaces")
def test_virsh_finds_the_daemon_where_libvirt_has_it(tmp_path: Path) -> None:
    """Without a path in its URI; with -r on the other socket."""
    sockets = {"": "virtnodedevd-sock", "-ro": "virtnodedevd-sock-ro"}
    own = str(tmp_path / "nodedevd.sock")
    arguments = ["--sysroot", str(host_file("vgpu-pf")), "--socket", own]
    for suffix, name in sockets.items():
        arguments += [f"--libvirt-socket{suffix}", f"/run/libvirt/{name}"]
    with namespace.Namespace() as inside:
        make = ["sh", "-c", 'mkdir -p /run/libvirt && exec "$@"', "sh"]
        command = [*inside.enter, *make, *COMMAND]
        path = {"PYTHONPATH": str(REPOSITORY)}
        with started(tmp_path, *arguments, command=command, environment=path) as daemon:
            daemon.wait_notified("READY=1")
            virsh = (str(VIRSH), "-c", "nodedev:///system")
            assert CARD in lines(inside.run(*virsh, "nodedev-list"))
            inside.run("rm", f"/run/libvirt/{sockets['']}")
            assert CARD in lines(inside.run(*virsh, "-r", "nodedev-list"))
            assert daemon.stop() == 0
        assert inside.run("find", "/run/libvirt", "-type", "s") == ""


@needs_virsh
@pytest.mark.needs("systemd-socket-activate")
def test_sockets_of_systemd_are_told_apart_by_their_names(tmp_path: Path) -> None:
    """`libvirt` and `libvirt-ro` are for libvirt's clients, any other for nodedevd's."""
    names = {"libvirt-ro": "libvirt-ro", "varlink": "nodedevd.sock", "libvirt": "libvirt"}
    listen = [f"--listen={tmp_path / path}" for path in names.values()]
    command = [
        "systemd-socket-activate",
        *listen,
        f"--fdname={':'.join(names)}",
        "-E",
        "NOTIFY_SOCKET",
    ]
    arguments = ("--sysroot", str(host_file("vgpu-pf")))
    with started(tmp_path, *arguments, command=[*command, *COMMAND]) as daemon:
        daemon.wait_logged("Listening on")
        found = Served(tmp_path, daemon)
        assert found.printed("nodedev-dumpxml", CARD) == found.xml()[CARD]
        uri = f"nodedev:///system?socket={tmp_path / 'libvirt-ro'}"
        done = subprocess.run([str(VIRSH), "-r", "-c", uri, "nodedev-list"], capture_output=True)
        assert CARD in lines(done.stdout.decode())
        assert daemon.stop() == 0
    assert {path.name for path in tmp_path.iterdir()} >= set(names.values())


def test_units_listen_where_libvirt_looks() -> None:
    """With the names that the daemon expects, in place of libvirt's own units."""
    for name, path in (("libvirt", "virtnodedevd-sock"), ("libvirt-ro", "virtnodedevd-sock-ro")):
        socket = unit(f"nodedevd-{name}.socket")
        assert socket["Socket"]["ListenStream"] == f"/run/libvirt/{path}"
        assert socket["Socket"]["FileDescriptorName"] == name
        assert socket["Socket"]["Service"] == "nodedevd.service"
        conflicts = set(socket["Unit"]["Conflicts"].split())
        assert conflicts >= {f"virtnodedevd{one}" for one in (".service", ".socket", "-ro.socket")}


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", ["nodedevd-libvirt.socket", "nodedevd-libvirt-ro.socket"])
def test_unit_passes_systemd_analyze_verify(tmp_path: Path, name: str) -> None:
    """Systemd knows every setting and prints nothing."""
    for path in UNITS.iterdir():
        text = re.sub("^ExecStart=.*", f"ExecStart={sys.executable}", path.read_text(), flags=re.M)
        (tmp_path / path.name).write_text(text)
    verified = analyze("verify", "--man=no", str(tmp_path / name))
    assert (verified.returncode, verified.stdout) == (0, "")


# -- libvirt-python --------------------------------------------------------------------


def python(script: str, *arguments: str) -> Any:
    """Run a script on Debian's Python, and return the JSON that it prints."""
    done = subprocess.run(
        [
            str(DEBIAN_PYTHON),
            "-c",
            f"import json, libvirt, sys\n{textwrap.dedent(script)}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@contextmanager
def started_python(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a script on Debian's Python; it is gone in the end."""
    command = [str(DEBIAN_PYTHON), "-c", f"import json, libvirt, sys\n{textwrap.dedent(script)}"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as client:
        try:
            yield client
        finally:
            client.kill()


@needs_python
def test_python_reads_every_device(host: Served) -> None:
    """List, XML, parent, capabilities and state, by the methods of its objects."""
    script = """
        connection = libvirt.open(sys.argv[1])
        print(json.dumps({
            device.name(): [device.XMLDesc(0), device.parent(), device.numOfCaps(),
                            device.listCaps(), device.isActive(), device.isPersistent(),
                            device.autostart()]
            for device in connection.listAllDevices(0)
        }))
        assert connection.close() == 0
    """

    def check(xml: dict[str, str]) -> None:
        told = python(script, host.uri)
        assert {name: one[0] for name, one in told.items()} == xml
        for one, parent, number, caps, active, persistent, autostart in told.values():
            device = etree.fromstring(one)
            assert parent == device.findtext("parent")
            assert (number, set(caps)) == (len(caps), words_of(one))
            assert {active, persistent, autostart} <= {0, 1}

    steady(host, check)


@needs_python
def test_python_uses_the_old_calls(card: Served) -> None:
    """Counting, names by a capability, looking up, and errors by their codes."""
    script = """
        def code(function, *arguments):
            try:
                function(*arguments)
            except libvirt.libvirtError as error:
                return [error.get_error_code(), error.get_error_domain()]

        libvirt.registerErrorHandler(lambda context, error: None, None)
        connection = libvirt.open(sys.argv[1])
        computer = connection.nodeDeviceLookupByName("computer")
        print(json.dumps([
            connection.numOfDevices(None), sorted(connection.listDevices(None)),
            connection.listDevices("mdev_types"), connection.listDevices("nonsense"),
            connection.getType(), connection.getURI(), connection.getHostname(),
            connection.getVersion(), connection.isSecure(), connection.getLibVersion(),
            connection.isAlive(),
            code(connection.nodeDeviceLookupByName, "nobody"),
            code(computer.destroy), code(computer.reset), code(connection.listAllDevices, 1 << 25),
            code(connection.nodeDeviceCreateXML, "<device/>"), code(connection.getCapabilities),
            code(connection.listAllDomains),
        ]))
    """
    names = sorted(card.xml())
    told = python(script, card.uri)
    assert told[:4] == [len(names), names, [CARD], []]
    assert told[4] == "nodedev"
    assert told[6:11] == [os.uname().nodename, VERSION, 1, LIBVIRT_VERSION, 1]
    unsupported, domain_of_connection = [84, 22], 20
    assert told[11:15] == [[53, 22], unsupported, [3, 22], [8, 22]]
    assert told[15:17] == [unsupported, [3, domain_of_connection]]
    assert told[17][0] == 3


@needs_python
def test_python_is_told_of_events_by_its_event_loop(changing: tuple[Changing, Served]) -> None:
    """Both kinds, in order, with keepalive, and none after a deregistration."""
    host, served = changing
    script = """
        import threading

        libvirt.virEventRegisterDefaultImpl()
        connection = libvirt.open(sys.argv[1])
        connection.setKeepAlive(1, 3)
        told = []

        def lifecycle(connection, device, event, detail, opaque):
            told.append(["lifecycle", device.name(), event, detail, opaque])

        def update(connection, device, opaque):
            told.append(["update", device.name(), opaque])

        first = connection.nodeDeviceEventRegisterAny(
            None, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, lifecycle, "a")
        connection.nodeDeviceEventRegisterAny(
            None, libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE, update, "b")
        print(json.dumps(True), flush=True)
        while len(told) < 2:
            libvirt.virEventRunDefaultImpl()
        connection.nodeDeviceEventDeregisterAny(first)
        print(json.dumps(told), flush=True)
        while len(told) < 3:
            libvirt.virEventRunDefaultImpl()
        print(json.dumps(told[2:]), flush=True)
    """
    name = "pci_0000_00_09_0"
    with started_python(script, served.uri) as client:
        assert client.stdout is not None
        assert json.loads(client.stdout.readline()) is True
        host.plug(name)
        wait_shown(served, name)
        host.change(name, 1)
        expected = [["lifecycle", name, 0, 0, "a"], ["update", name, "b"]]
        assert json.loads(client.stdout.readline()) == expected
        for act, shown in ((host.unplug, False), (host.plug, True)):
            act(name)
            wait_shown(served, name, shown=shown)
        host.change(name, 0)
        assert json.loads(client.stdout.readline()) == [["update", name, "b"]]
        assert client.wait(PATIENCE_SECONDS) == 0


@needs_python
def test_python_calls_from_several_threads_on_one_connection(card: Served) -> None:
    """Each thread gets the answers to its own calls."""
    script = """
        from concurrent.futures import ThreadPoolExecutor

        connection = libvirt.open(sys.argv[1])
        names = connection.listDevices(None)

        def read(number):
            name = names[number % len(names)]
            return name, connection.nodeDeviceLookupByName(name).XMLDesc(0)

        with ThreadPoolExecutor(8) as pool:
            print(json.dumps(list(pool.map(read, range(400)))))
    """
    xml = card.xml()
    told = python(script, card.uri)
    assert len(told) == 400
    assert dict(told) == xml
    assert all(xml[name] == one for name, one in told)
