"""domain_log: writes a line to the log that libvirt keeps of a domain.

What a hook prints is a part of libvirt's error alone, which the caller of `virsh start` sees;
whoever looks for the reason later looks there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime

DIRECTORY = "/var/log/libvirt/qemu"
"""where libvirt keeps the logs, NAME.log"""


def write_to_log(name: str, text: str) -> None:
    """Append a line with the time, as libvirt's own are, to the log of a domain.

    A log that cannot be written is no failure: the reason is on standard error, too.

    Args:
        name: Of the domain.
        text: The line.
    """
    if "/" in name:  # libvirt has no such domain
        return
    now = datetime.now(UTC).isoformat(" ", "milliseconds").replace("+00:00", "+0000")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):
        file = os.open(os.path.join(DIRECTORY, f"{name}.log"), flags, 0o600)
        try:
            os.write(file, f"{now}: {text}\n".encode(errors="backslashreplace"))
        finally:
            os.close(file)
