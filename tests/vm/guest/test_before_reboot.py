"""Definitions are made here, after all other tests, and left for after_reboot.py."""

from __future__ import annotations

import json
from pathlib import Path

from tests.vm.guest import control, layout, vm

MDEV = "5eed5eed-0000-4000-8000-0000000000c1"
LAYOUT = f"""
[[card]]
parent = "mtty"
vgpus = [{{ type = "mtty-1", count = 2 }}]
mdevs = [{{ uuid = "{MDEV}", type = "mtty-2" }}]

[[card]]
parent = "mbochs"
vgpus = [{{ type = "mbochs-small", count = 2 }}]
"""
LATE = """
[Service]
Type=oneshot
# After the unit of the layout has begun to start, which waits for the module's card.
ExecStart=/bin/sh -c 'until [ -e /run/nodedevd/layout ]; do sleep 0.1; done; exec modprobe mbochs'

[Install]
WantedBy=multi-user.target
"""
CONSUMER = """
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ls /sys/bus/mdev/devices > /run/mdevs-at-start'

[Install]
WantedBy=multi-user.target
"""
"""What has libvirtd's name, and notes which mdevs there are when it starts."""


def test_definitions_are_left_for_the_next_boot() -> None:
    """Of two parents, of which one comes with the boot and one late; by both who define."""
    defined = {
        "ours": ("mtty", "mtty-2", True),
        "mdevctl's": ("mtty", "mtty-1", True),
        "manual": ("mtty", "mtty-1", False),
        "late": ("mdpy", "mdpy-vga", True),
        "absent": ("0000:ff:00.0", "none-1", True),
    }
    uuids = {name: vm.new_uuid() for name in defined}
    with control.enabled() as client:
        for name, (parent, type_id, autostart) in defined.items():
            one = uuids[name]
            if name == "mdevctl's":
                vm.run("mdevctl", "define", "-u", one, "-p", parent, "-t", type_id, "--auto")
            else:
                client.define(type_id, parent, uuid=one, autostart=autostart)
    assert control.defined().keys() == {
        (parent, uuids[name]) for name, (parent, *_) in defined.items()
    }
    vm.run("systemctl", "enable", "-q", control.AUTOSTART, control.SOCKET_UNIT)
    Path("/etc/modules-load.d/mtty.conf").write_text("mtty\n")
    layout.declare(LAYOUT)
    Path("/etc/systemd/system/libvirtd.service").unlink(missing_ok=True)  # it is masked
    Path("/etc/systemd/system/libvirtd.service").write_text(CONSUMER)
    vm.run("systemctl", "daemon-reload")
    vm.run("systemctl", "enable", "-q", layout.UNIT, "libvirtd.service")
    # mbochs comes while the unit waits for it.
    Path("/etc/modules-load.d/mbochs.conf").unlink(missing_ok=True)
    Path("/etc/systemd/system/late-mbochs.service").write_text(LATE)
    vm.run("systemctl", "enable", "-q", "late-mbochs.service")
    (vm.OUT / "defined.json").write_text(json.dumps(uuids))
    (vm.OUT / "reboot").touch()
