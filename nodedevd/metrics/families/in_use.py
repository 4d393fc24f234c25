"""in_use: how many of the devices that VFIO drives are open, and how many each VM has open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nodedevd.host.processes import Process
from nodedevd.metrics.families.cards import card_label
from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading
from nodedevd.names import has_uuid
from nodedevd.questions.in_use import REASONS
from nodedevd.text import printable

_STATES = {"yes": "open", "no": "closed", "unknown": "unknown"}
_UNTOLD = ("processes-unseen", "other-host")
"""For these reasons nothing is known of any device, but that some are open."""
_HIDDEN = "the daemon reports the processes of other users only to root"


def count(reading: Reading) -> Iterator[Family]:
    """Yield the numbers of devices by card and state, and by card and VM.

    A family is left out if the processes cannot be seen.
    """
    if _why_untold(reading) is not None:
        return
    states: Counter[tuple[str, str]] = Counter()
    vms: Counter[tuple[str, str]] = Counter()
    for use in reading.in_use.devices:
        device = reading.snapshot.get(use.name)
        if device is not None:  # it has come since the devices were read
            card = card_label(reading.snapshot, device)
            states[card, _STATES[use.open]] += 1
            if use.open == "yes":
                vms.update({(card, _vm_label(one)) for one in use.holders if one.vm is not None})
    text = "Mdevs and devices bound to VFIO, by whether a process has them open."
    yield _family("nodedev_vfio_open", text, "state", states)
    if not _is_hidden(reading):
        text = "Mdevs and devices bound to VFIO that a VM has open, by the name of the VM."
        yield _family("nodedev_vm_devices", text, "vm", vms)


def why_missing(reading: Reading) -> tuple[str, ...]:
    """Return why a family is left out, as a sentence for each."""
    reason = _why_untold(reading)
    if reason is not None:
        families = ("nodedev_vfio_open", "nodedev_vm_devices")
        return tuple([f"{family} is missing: {reason}" for family in families])
    return (f"nodedev_vm_devices is missing: {_HIDDEN}",) if _is_hidden(reading) else ()


def _why_untold(reading: Reading) -> str | None:
    reasons = {use.reason for use in reading.in_use.devices}
    return next((REASONS[reason] for reason in _UNTOLD if reason in reasons), None)


def _is_hidden(reading: Reading) -> bool:
    """Return whether the daemon did not say which processes have the devices open."""
    return any(use.open == "yes" and not use.holders for use in reading.in_use.devices)


def _vm_label(process: Process) -> str:
    """Return the name of a VM; nothing for one without a name, or with a UUID in it.

    A series for each UUID would stay in the database for ever. Names that are printed the same are
    one series: Prometheus refuses all of a text that has a series twice.
    """
    name = None if process.vm is None else process.vm.name
    return "" if name is None or has_uuid(name) else printable(name)


def _family(name: str, text: str, label: str, counts: Counter[tuple[str, str]]) -> Family:
    samples = [Sample({"card": card, label: of}, counts[card, of]) for card, of in sorted(counts)]
    return Family(name, "gauge", text, tuple(samples))
