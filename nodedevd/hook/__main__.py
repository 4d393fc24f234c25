"""nodedevd-libvirt-hook: the command that libvirt runs around the life of a domain.

Installed as /etc/libvirt/hooks/qemu.d/50-nodedevd. It runs for every domain of the host, several
times each, so that nothing is imported before it is known to be needed.

Source: https://libvirt.org/hooks.html
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from nodedevd.domain_metadata import NAMESPACE

PREPARE_SECONDS = 90
"""Longer than the control service takes to answer, whatever a driver does, by its own limits."""
RELEASE_SECONDS = 30
RETRY_SECONDS = 15
"""how long a device may take to be closed, after its process has ended"""
XML_BYTES = 16 << 20
"""A domain's XML has some 10 KB; more than this is not read."""
RECORDS = "/run/nodedevd/control/records"
"""where the control service keeps whose the devices are: if it is empty, no domain has any"""

USAGE = """\
Usage: nodedevd-libvirt-hook NAME OPERATION SUB-OPERATION EXTRA < DOMAIN.xml

Make the vGPUs of a domain before libvirt starts it, and remove them after its
end. libvirt runs this command; the domain's metadata says which vGPUs it has
(docs/guides/managed-vgpus.md). Install it, as root:

  install -D -m 755 "$(command -v nodedevd-libvirt-hook)" \\
    /etc/libvirt/hooks/qemu.d/50-nodedevd
  systemctl reload libvirtd

Example: remove by hand what was made for a domain that has ended
  virsh dumpxml vm1 | nodedevd-libvirt-hook vm1 release end -

Exit status: 0 done, or nothing to do; 1 failed, standard error and the log of
the domain say why; 2 wrong usage.
"""


class OutOfTime(Exception):
    """The hook has taken as long as it may."""


def main() -> None:
    """Run for one operation, with the arguments of libvirt."""
    arguments = sys.argv[1:]
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        sys.exit(0)
    if len(arguments) < 2:
        sys.stderr.write(USAGE)
        sys.exit(2)
    name, operation = arguments[:2]
    # A domain that is migrated or restored is prepared next, as any other. One that libvirt
    # meets again after a restart runs, and would be ended if this failed.
    seconds = {"prepare": PREPARE_SECONDS, "release": RELEASE_SECONDS}.get(operation)
    if seconds is None:
        return
    signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        failures = _run(operation)
    except OutOfTime:
        failures = [f"not done after {seconds} s, given up; see `nodedevctl control`"]
    signal.setitimer(signal.ITIMER_REAL, 0)
    if failures:
        _fail(name, operation, failures)


def _run(operation: str) -> list[str]:
    """Return why an operation failed, a sentence for each failure."""
    xml = sys.stdin.buffer.read(XML_BYTES + 1)
    if len(xml) > XML_BYTES:
        return [f"the domain's XML is longer than {XML_BYTES} bytes"]
    if NAMESPACE.encode() not in xml and not (operation == "release" and _may_have_left()):
        return []
    from nodedevd.client import Control
    from nodedevd.errors import NoControl, NodedevError
    from nodedevd.hook.devices import prepare, release
    from nodedevd.hook.domain import read_domain
    from nodedevd.hook.metadata import read_metadata

    try:
        domain = read_domain(xml)
        if operation == "release":
            with Control() as control:
                left = release(control, domain.uuid, seconds=RETRY_SECONDS)
            return [str(error) for error in left]
        wanted = read_metadata(domain)
        if wanted:
            with Control() as control:
                prepare(control, domain.uuid, wanted)
    except NoControl as error:
        return [str(error)] if operation == "prepare" or _may_have_left() else []
    except NodedevError as error:
        return [str(error)]
    return []


def _may_have_left() -> bool:
    """Whether there is any device that somebody has made, for this domain or for another one.

    Its metadata may have been removed while it ran.
    """
    try:
        return bool(os.listdir(RECORDS))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _fail(name: str, operation: str, failures: list[str]) -> None:
    from nodedevd.hook.domain_log import write_to_log
    from nodedevd.text import printable

    for failure in failures:
        text = f"nodedevd: {operation}: {printable(failure)}"
        print(text, file=sys.stderr)
        write_to_log(name, text)
    sys.exit(1)


def _raise(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


if __name__ == "__main__":
    main()
