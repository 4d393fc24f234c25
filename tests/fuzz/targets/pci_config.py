"""A function's configuration space: what a device answers."""

from __future__ import annotations

from nodedevd.kinds.pci.config import CONFIG_SIZE, PciConfig, write_express
from nodedevd.xml_writer import Out
from tests.fuzz.target import Target


def check(data: bytes) -> None:
    """Values are in the range of their bits, and a list that goes round ends."""
    data = data[:CONFIG_SIZE]
    config = PciConfig(data)
    if config.problem is not None:
        kind, detail = config.problem
        assert kind in ("refused", "unreadable", "malformed")
        assert config.express is None
        assert len(detail) < 80
    assert (config.revision is None) == (len(data) < 64 or data[:64] == b"\xff" * 64)
    if config.express is None:
        return
    for link in (config.express.capability, config.express.status):
        if link is not None:
            assert 0 <= link.width < 64
            assert link.port is None or 0 <= link.port < 256
            assert link.speed is None or 0 < link.speed <= 128
    out = Out()
    write_express(config.express, out)
    assert str(out).count("<link ") in (0, 2)


TARGET = Target(
    "pci-config",
    check,
    reads=("nodedevd/kinds/pci/config.py",),
    words=(
        bytes(6) + b"\x10\0" + bytes(6) + b"\0" + bytes(37) + b"\x40" + bytes(11) + b"\x10\0\x02\0",
        b"\x10\x50\x42\x00",
        b"\x10\x00\x92\x00",
        b"\xff" * 64,
        b"\x01\x40",
        b"\x05\x40",
    ),
    most_bytes=CONFIG_SIZE,
    share=4.0,
)
