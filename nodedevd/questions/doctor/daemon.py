"""daemon: whether the daemon answers, follows this host, and serves what a scan finds."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd import __version__
from nodedevd.questions.doctor.daemon_view import DaemonView
from nodedevd.questions.doctor.examined import Examined, host_finding
from nodedevd.questions.doctor.finding import Finding
from nodedevd.questions.doctor.unread import hangs

_RESTART = "systemctl restart nodedevd"


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about the daemon; none if it was left out."""
    view = host.daemon
    if view is None:
        return
    if view.status is None:
        yield _no_answer(view)
        return
    for path in view.others:
        yield host_finding(
            "note",
            "several-daemons",
            f"another nodedevd answers on {path}",
            "Stop all but one; nodedevctl asks the first one, and another with --socket.",
        )
    if view.status.version != __version__:
        text = f"the daemon is nodedevd {view.status.version}, this is {__version__}"
        yield host_finding("warning", "daemon-other-version", text, "Restart the daemon.", _RESTART)
    if view.status.sysroot != "/":
        yield host_finding(
            "warning",
            "daemon-other-host",
            f"the daemon serves {view.status.sysroot}, not this host",
            "Start it without --sysroot, or ask another daemon with --socket.",
        )
        return
    yield from _reads(host, view)
    yield from _events(host, view)
    for name, difference in view.differences:
        yield Finding(
            "warning",
            "daemon-differs",
            name,
            name,
            f"the daemon {difference}",
            "Restart the daemon, and report this: it should have noticed the change.",
            (_RESTART,),
        )


def _no_answer(view: DaemonView) -> Finding:
    tried = f"{' or '.join(view.tried)}: {view.reason}"
    if view.refused:
        return host_finding(
            "warning",
            "socket-refused",
            f"this user may not connect to the daemon on {tried}",
            "Join the group of the socket, or set SocketMode= and SocketGroup= in nodedevd.socket.",
        )
    return host_finding(
        "warning",
        "no-daemon",
        f"no nodedevd answers on {tried}",
        "Start the daemon; without one, nodedevctl works with --sysroot /.",
        "systemctl enable --now nodedevd.socket nodedevd.service",
    )


def _reads(host: Examined, view: DaemonView) -> Iterator[Finding]:
    if view.status is None:
        return
    for read in view.status.unanswered_reads:
        yield hangs(host, read)
    if not view.status.privileged:
        yield host_finding(
            "note",
            "daemon-not-root",
            "the daemon does not run as root",
            "Start it with its unit; attributes that only root can read are unknown to it.",
        )


def _events(host: Examined, view: DaemonView) -> Iterator[Finding]:
    status = view.status
    if status is None:
        return
    if status.event_source == "none":
        yield host_finding(
            "warning",
            "no-events",
            "the daemon receives no events",
            "Start it without --events none; now only the periodic reconcile finds changes.",
        )
    elif status.event_source == "kernel" and host.facts.udevd:
        yield host_finding(
            "warning",
            "kernel-events",
            "the daemon follows the kernel's events, although udevd is running",
            "Restart it, without --events kernel; the kernel's events arrive before udevd has"
            " processed them.",
            _RESTART,
        )
    lost = status.overflows + status.monitor_errors
    if lost:
        yield host_finding(
            "note",
            "events-lost",
            f"the daemon lost events {lost} times since its start",
            "Nothing to do: it read the whole host again. If it happens often, check that"
            " nodedevd.service keeps CAP_NET_ADMIN, which allows a large receive buffer.",
        )
    if status.missed_changes:
        text = f"{status.missed_changes} changes came without an event since the daemon's start"
        yield host_finding(
            "note",
            "events-missed",
            text,
            "Nothing to do: the reconcile found the changes. Some drivers send no events.",
        )
