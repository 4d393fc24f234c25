"""Changes by virsh on libvirtd and on nodedevd, as far as a host without a kernel goes.

Both write mdevctl's files; neither makes an mdev. The rest is compared in the VM, tests/vm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.libvirt.test_libvirtd import needs_libvirtd
from tests.libvirt.test_virsh import needs_virsh
from tests.libvirt.test_writes import SOCKET, serving
from tests.support import libvirtd
from tests.support.hosts import unpacked
from tests.support.libvirtd import Printed, run_virsh
from tests.vm.guest.writes import script
from tests.vm.guest.writes.records import Call

pytestmark = [needs_libvirtd, needs_virsh]

HERE = {
    script.PARENT: "pci_0000_02_00_0",
    script.TYPE: "nvidia-283",
    script.OTHER: "nvidia-284",
    "_mtty": "_0000_02_00_0",
}
"""What the sample host has in place of what the script names."""
REWRITTEN = (
    ("(node_device_definition):1: ", "at line 1: "),
    ("Document is empty\n(null)\n^", "Document is empty\n"),
    ("    <iommuGroup number='0'/>\n", ""),
)
"""What 9.0 prints, and what 11.3 or nodedevd does; an inactive mdev is in no group."""
NO_PORTS = ("internal error: Device is not a fibre channel HBA", "capable of vport operations")
UNSUPPORTED = "unsupported configuration: Unsupported device type"
"""What libvirtd says of a virtual HBA, and what nodedevd does, which creates none."""
DONE = 13
"""The calls that are no mistakes: each had its effect on both."""
ACCEPTED = "<uuid></uuid>", "<type id='mtty-2'/></capability></device>"
"""In documents that both accept: an mdev is created, which takes a kernel."""


class Collector:
    """Takes down what the script asks for."""

    version = (9, 0)

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def section(self, title: str) -> None:
        """Go on with the host as it is."""

    def ask(self, call: Call) -> None:
        """Take a call down."""
        self.calls.append(call)

    @contextmanager
    def held(self, one: str, *, only_group: bool) -> Iterator[None]:
        """There is no mdev that could be open."""
        yield

    def fill(self) -> None:
        """There is room for none."""

    def outside(self, *command: str) -> None:
        """Nobody else changes the host."""


def calls() -> list[Call]:
    """Return what of the script takes no kernel, in its order."""
    refused, definition = Collector(), Collector()
    script.refused_documents(refused, "create")
    script.refused_documents(refused, "define")
    name = script.name(1)
    definition.ask(Call("define", document=script.document(1)))
    definition.ask(Call("dumpxml", name))
    definition.ask(Call("destroy", name))
    for options in ((), (), ("--disable",), ("--disable",)):
        definition.ask(Call("autostart", name, options=options))
        definition.ask(Call("info", name))
    attributes = script.ATTRIBUTE.format("on") + script.ATTRIBUTE.format("auto")
    definition.ask(Call("define", document=script.document(2, script.OTHER, attributes)))
    definition.ask(Call("list", options=("--inactive",)))
    definition.ask(Call("undefine", name))
    for verb in ("start", "destroy", "undefine", "autostart", "reset"):
        for device in ("computer", script.PARENT, script.NOBODY):
            definition.ask(Call(verb, device))
    return [
        one for one in refused.calls if not any(text in (one.document or "") for text in ACCEPTED)
    ] + definition.calls


def here(text: str) -> str:
    """Put in place what the sample host has."""
    for old, new in HERE.items():
        text = text.replace(old, new)
    return text


def commands(files: Path) -> list[Sequence[str]]:
    """Return the commands of virsh, with the documents in files."""
    found: list[Sequence[str]] = []
    for number, call in enumerate(calls()):
        words = [f"nodedev-{call.verb}", *([here(call.device)] if call.device else [])]
        if call.document is not None:
            file = files / f"{number}.xml"
            file.write_text(here(call.document))
            words.append(str(file))
        found.append([*words, *call.options])
    return found


def test_both_answer_alike(tmp_path: Path) -> None:
    """Output, exit status and errors, character by character."""
    asked = commands(tmp_path)
    root = Path(unpacked("vgpu-pf", tmp_path / "host").root)
    (root / "etc/mdevctl.d").mkdir(parents=True, exist_ok=True)
    theirs = libvirtd.virsh(root, asked)
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as served:
        uri = f"nodedev:///system?socket={served.directory / SOCKET}"
        ours = [run_virsh(uri, one) for one in asked]
    for command, their, our in zip(asked, theirs, ours, strict=True):
        assert rewritten(their) == our, command
    assert sum(one.status == 0 for one in ours) == DONE


def rewritten(printed: Printed) -> Printed:
    """Return what nodedevd prints where libvirtd 9.0 prints this."""
    status, output, errors = printed
    for theirs, our in REWRITTEN:
        output, errors = output.replace(theirs, our), errors.replace(theirs, our)
    first, line, _ = errors.partition("\nerror: ")
    if any(text in errors for text in NO_PORTS):
        errors = f"{first}{line}{UNSUPPORTED}\n"
    return Printed(status, output, errors)
