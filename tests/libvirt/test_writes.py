"""Changes by virsh, through nodedevd and nodedevd-control; and how libvirt reads documents."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodedevd.server.libvirt.mdev_document import read_mdev
from nodedevd.server.libvirt.protocol import RpcError
from tests.support.hosts import unpacked
from tests.support.played_control import controlled
from tests.support.running import PATIENCE_SECONDS, running

VIRSH = shutil.which("virsh")
UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
PARENT, ADDRESS, TYPE = "pci_0000_02_00_0", "0000:02:00.0", "nvidia-283"
NAME = f"mdev_{UUID.replace('-', '_')}_0000_02_00_0"
SOCKET = "virtnodedevd-sock"

pytestmark = pytest.mark.needs("virsh")


def document(*, uuid: str | None = UUID, type_id: str = TYPE, parent: str = PARENT) -> str:
    """Return the XML of an mdev."""
    identity = f"<uuid>{uuid}</uuid>" if uuid else ""
    return (
        f"<device><parent>{parent}</parent><capability type='mdev'><type id='{type_id}'/>"
        f"{identity}</capability></device>\n"
    )


class Served:
    """nodedevd and nodedevd-control on a sample host, and virsh.

    Attributes:
        directory: where their sockets are, and the file that virsh is given.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def virsh(self, *arguments: str, ro: bool = False) -> tuple[int, str, str]:
        """Run virsh; return its exit status and what it wrote."""
        path = self.directory / (f"{SOCKET}-ro" if ro else SOCKET)
        command = [str(VIRSH), "-c", f"nodedev:///system?socket={path}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        return done.returncode, done.stdout, done.stderr

    def with_file(self, word: str, xml: str, *names: str) -> tuple[int, str, str]:
        """Run virsh with a file, which is called F in what it writes."""
        file = self.directory / "F"
        file.write_text(xml)
        status, output, errors = self.virsh(f"nodedev-{word}", *names, str(file))
        return status, output.replace(str(file), "F"), errors.replace(str(file), "F")


@pytest.fixture(scope="module")
def host() -> Iterator[Served]:
    """Run both on a copy of a sample host."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as served:
        yield served


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    """Run both below a directory."""
    root = Path(unpacked("vgpu-pf", directory / "host").root)
    configuration = directory / "control.toml"
    configuration.write_text(f'libvirt_sockets = ["{directory / SOCKET}"]\n')
    configuration.chmod(0o600)
    with (
        controlled(root, "--config", str(configuration)) as control,
        running(
            directory,
            root,
            *("--libvirt-writes", "--libvirt-socket", str(directory / SOCKET)),
            *("--libvirt-socket-ro", str(directory / f"{SOCKET}-ro")),
            *("--reconcile", "0.2"),  # nobody sends uevents of such a host
            environment={"NODEDEVD_CONTROL_SOCKET": str(control)},
        ),
    ):
        yield Served(directory)


def test_virsh_takes_an_mdev_through_its_life(host: Served) -> None:
    """With libvirt's words and exit statuses; each step finds what the one before has done."""
    invalid = "error: Requested operation is not valid: "
    assert host.with_file("create", document()) == (
        0,
        f"Node device {NAME} created from F\n\n",
        "",
    )
    assert host.with_file("create", document()) == (
        1,
        "\n",
        (
            "error: Failed to create node device from F\nerror: internal error: Unable to start"
            " mediated device: Error: Device already exists\n\n"
        ),
    )
    assert NAME in host.virsh("nodedev-list", "--cap", "mdev")[1]
    assert host.virsh("nodedev-autostart", NAME) == (
        1,
        "\n",
        (
            f"error: failed to mark device {NAME} as autostarted\n"
            f"{invalid}cannot set autostart for transient device\n"
        ),
    )
    xml = host.virsh("nodedev-dumpxml", NAME)[1]
    assert host.with_file("define", xml) == (0, f"Node device '{NAME}' defined from 'F'\n\n", "")
    assert host.virsh("nodedev-autostart", NAME)[:2] == (
        0,
        f"Device {NAME} marked as autostarted\n\n",
    )
    assert host.virsh("nodedev-destroy", NAME) == (0, f"Destroyed node device '{NAME}'\n\n", "")
    info = host.virsh("nodedev-info", NAME)[1]
    assert [line.split(":")[1].strip() for line in info.strip().split("\n")[2:]] == [
        *("no", "yes", "yes"),
    ]
    assert host.virsh("nodedev-start", NAME) == (0, f"Device {NAME} started\n\n", "")
    assert host.virsh("nodedev-start", NAME)[0] == 1
    assert host.virsh("nodedev-undefine", NAME) == (0, f"Undefined node device '{NAME}'\n\n", "")
    assert host.virsh("nodedev-destroy", NAME)[0] == 0
    assert host.virsh("nodedev-destroy", NAME) == (
        1,
        "\n",
        (
            f"error: Could not find matching device '{NAME}'\nerror: Node device not found: no node"
            f" device with matching name '{NAME}'\n"
        ),
    )


@pytest.mark.parametrize("option", [(), ("-r",)])
def test_virsh_changes_nothing_on_the_read_only_socket(host: Served, option: Sequence[str]) -> None:
    """In libvirt's words, whoever refuses it."""
    status, _, errors = host.virsh(*option, "nodedev-destroy", PARENT, ro=True)
    text = "operation forbidden: read only access prevents virNodeDeviceDestroy"
    assert (status, errors) == (
        1,
        f"error: Failed to destroy node device '{PARENT}'\nerror: {text}\n",
    )


@pytest.mark.needs("root")
def test_user_without_the_right_is_refused_whatever_the_xml_is(host: Served) -> None:
    """The daemon is root, and its client is not."""
    path = host.directory
    os.chmod(path, 0o755)
    (path / SOCKET).chmod(0o666)
    (path / "F").write_text("<not xml")
    (path / "F").chmod(0o644)
    uri = f"nodedev:///system?socket={path / SOCKET}"
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(VIRSH)]
    done = subprocess.run(
        [*command, "-c", uri, "nodedev-create", str(path / "F")],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"},
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 1
    assert "error: access denied: " in done.stderr


# -- documents ------------------------------------------------------------------------------------

SAME = (
    "<device><capability></device>",
    "<device>\n  <parent>x</parent\n</device>",
    "<foo/>",
    "hello",
    "<device/><device/>",
    "<device a='1' a='2'/>",
    "<device>&foo;</device>",
    "<device><parent>computer</parent></device>",
    "<device><parent>computer</parent><capability type='mdev'/></device>",
    "<device><parent>computer</parent><capability type='foo'/></device>",
    "<device><parent>computer</parent><capability/></device>",
    "<device><devnode>x</devnode><capability type='mdev'><type id='a'/></capability></device>",
    "<device><devnode type='x'/><capability type='mdev'><type id='a'/></capability></device>",
    "<device><parent wwnn='1'/><capability type='mdev'><type id='a'/></capability></device>",
    "<device><parent wwpn='1'/><capability type='mdev'><type id='a'/></capability></device>",
    "<device><capability type='mdev'><type id='a'/><uuid>x</uuid></capability></device>",
    "<device><capability type='mdev'><type id='a'/><iommuGroup number='x'/></capability></device>",
    "<device><capability type='mdev'><type id='a'/><iommuGroup number='-1'/></capability></device>",
    "<device><capability type='mdev'><type id='a'/></capability><capability type='x'/></device>",
    "<device><capability type='mdev'><type id=''/><uuid>x</uuid></capability></device>",
)


@pytest.mark.parametrize("xml", SAME)
def test_document_is_refused_in_the_words_of_libvirt(xml: str, tmp_path: Path) -> None:
    """Those of its test driver, which reads documents by the same code; 9.0 names the document."""
    file = tmp_path / "F"
    file.write_text(xml)
    command = [str(VIRSH), "-c", "test:///default", "nodedev-create", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    theirs = done.stderr.partition("\nerror: ")[2].removesuffix("\n")
    with pytest.raises(RpcError) as refused:
        read_mdev(xml, validate=False)
    ours = refused.value.message
    if ours.startswith("at line "):
        ours = ours.replace("at line ", "(node_device_definition):", 1)
    assert ours == theirs
