"""Command lines of processes, which may say what they like of a VM."""

from __future__ import annotations

from nodedevd.host.processes import vm_of
from nodedevd.names import is_uuid
from tests.fuzz.target import Target


def check(data: bytes) -> None:
    """What is said is bounded, can be encoded, and a uuid is one."""
    vm = vm_of(data)
    if vm is None:
        return
    assert vm.name or vm.uuid
    assert vm.name is None or len(vm.name) <= 256
    assert vm.uuid is None or is_uuid(vm.uuid)
    (vm.name or "").encode()


TARGET = Target(
    "command-line",
    check,
    reads=("nodedevd/host/processes.py",),
    words=(
        *(b"qemu-kvm\0", b"/usr/bin/qemu-system-x86_64\0", b"-name\0", b"--name\0", b"-uuid\0"),
        *(b"guest=", b",,", b",debug-threads=on", b"process=q", b"\0"),
        b"5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01\0",
    ),
    most_bytes=256,
)
