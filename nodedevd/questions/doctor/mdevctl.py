"""mdevctl: what keeps mdevctl, and libvirt, which runs it, from doing what its files ask for.

Source  mdevctl(8), and mdevctl's source: environment.rs (`self_check`), callouts.rs
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.questions.doctor.examined import Examined, host_finding
from nodedevd.questions.doctor.finding import Finding


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about the installation of mdevctl."""
    mdevctl = host.facts.mdevctl
    mdevs = [mdev for _, mdev in host.having(MdevChild)]
    autostart = sum(mdev.autostart is True for mdev in mdevs)
    if autostart and not mdevctl.has_other_autostart:
        yield from _autostart(host, autostart)
    if not mdevctl.has_script_directories and any(mdev.defined for mdev in mdevs):
        yield host_finding(
            "problem",
            "mdevctl-refuses",
            "mdevctl refuses every command: the directories of its scripts do not exist",
            "Make them; which ones depends on the release of mdevctl.",
            "mkdir -p /etc/mdevctl.d/scripts.d/callouts /etc/mdevctl.d/scripts.d/notifiers",
            "mkdir -p /usr/lib/mdevctl/scripts.d/callouts /usr/lib/mdevctl/scripts.d/notifiers",
        )
    for path in mdevctl.not_executable:
        yield host_finding(
            "warning",
            "script-not-run",
            f"{path} is not executable: mdevctl goes on without it, so what it should prevent is"
            " done all the same",
            "Make it executable, or remove it.",
            f"chmod +x {quote(path)}",
        )
    for path in mdevctl.misplaced:
        yield host_finding(
            "note",
            "script-not-run",
            f"{path} is in neither callouts nor notifiers: mdevctl never runs it",
            "Move it into the directory of its kind.",
        )
    for path in mdevctl.writable:
        yield host_finding(
            "warning",
            "writable-by-everyone",
            f"every user may change {path}: it says what root creates, writes to devices, or runs",
            "Take that permission away, and check the content.",
            f"chmod o-w {quote(path)}",
        )


def _autostart(host: Examined, number: int) -> Iterator[Finding]:
    mdevctl = host.facts.mdevctl
    mend: tuple[str, ...] = ()
    have = f"{number} {'definition has' if number == 1 else 'definitions have'} autostart"
    if mdevctl.missing_program is not None:
        text = (
            f"{have}, but none is started along with its parent: {mdevctl.rule} runs"
            f" {mdevctl.missing_program}, which does not exist"
        )
        if mdevctl.programs:
            advice = "Make a link where the rule looks for the program."
            mend = (f"ln -s {quote(mdevctl.programs[0])} {quote(mdevctl.missing_program)}",)
        else:
            advice = "Install mdevctl."
    elif mdevctl.rule is not None:
        return
    elif mdevctl.programs:
        text = f"{have}, but none is started along with its parent: mdevctl has no udev rule"
        advice = "Install the udev rule 60-mdevctl.rules of mdevctl's package."
    elif host.facts.udevd is not None:  # a recorded host may leave it out
        text = f"{have}, but none is started along with its parent: mdevctl is not installed"
        advice = "Install mdevctl."
    else:
        return
    yield host_finding("warning", "autostart-never-runs", text, advice, *mend)
