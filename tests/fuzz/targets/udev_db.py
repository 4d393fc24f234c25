"""An entry of udevd's database: values are text from disks, such as labels of file systems."""

from __future__ import annotations

from nodedevd.host.udev_db import device_id, parse
from tests.fuzz.target import Target


def check(data: bytes) -> None:
    """Each property and link is one whole line, and an entry is read as it was written."""
    text = data.decode("utf-8", "backslashreplace")
    lines = set(text.split("\n"))
    found = parse(text)
    for name, value in found.properties.items():
        assert f"E:{name}={value}" in lines
        assert "=" not in name
    for link in found.links:
        assert f"S:{link.removeprefix('/dev/')}" in lines
    assert list(found.links) == sorted(found.links)
    assert len(found.properties) + len(found.links) <= text.count("\n") + 1
    written = [f"E:{name}={value}" for name, value in found.properties.items()]
    written += [f"S:{link.removeprefix('/dev/')}" for link in found.links]
    assert parse("\n".join(written)) == found
    name = device_id("block", "sda", found.properties)
    assert name[0] in "bcn+"


TARGET = Target(
    "udev-db",
    check,
    reads=("nodedevd/host/udev_db.py", "nodedevd/host/lines.py"),
    words=(
        b"E:ID_SERIAL=",
        b"E:ID_FS_LABEL=",
        b"\nS:disk/by-id/",
        b"MAJOR=",
        b"MINOR=",
        b"IFINDEX=",
        "\u2028".encode(),
        "\u0085".encode(),
        b"\x0b",
        b"\x1c",
        b"\r\n",
    ),
    most_bytes=512,
    share=4.0,
)
