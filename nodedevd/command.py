"""command: the command line of nodedevd, with its help and errors."""

from __future__ import annotations

import os
import sys

import click

from nodedevd import __version__
from nodedevd.cli.usage import ServiceCommand, file_mode
from nodedevd.daemon import Options, serve
from nodedevd.follow.options import EventChoice, FollowOptions
from nodedevd.socket_paths import CONTROL_SOCKET_VARIABLE

_EPILOG = """\b
Example: serve a sample host, and show its tree
  nodedevd --sysroot fixtures/sysfs/vgpu-sriov.ttar --socket /tmp/nodedevd.sock
  nodedevctl --socket /tmp/nodedevd.sock tree

Exit status: 0 stopped by SIGTERM or SIGINT, 1 failure, 2 wrong usage, 3 another daemon
serves the socket."""


@click.command(cls=ServiceCommand, epilog=_EPILOG)
@click.option(
    "--sysroot",
    default="/",
    show_default=True,
    metavar="PATH",
    help="Serve the host at PATH: a directory that holds sys/, or a file that nodedevctl record"
    " wrote.",
)
@click.option(
    "--socket",
    metavar="PATH",
    help="Serve Varlink on PATH.  [default: the socket from systemd, or else"
    " /run/nodedevd/org.nodedevd.Devices for root and a path in $XDG_RUNTIME_DIR for others]",
)
@click.option(
    "--libvirt-socket",
    metavar="PATH",
    help="Serve libvirt's clients, such as virsh, on PATH.  [default: the socket `libvirt` from"
    " systemd, if there is one]",
)
@click.option(
    "--libvirt-socket-ro",
    metavar="PATH",
    help="Serve libvirt's read-only clients, such as virsh -r, on PATH.  [default: the socket"
    " `libvirt-ro` from systemd, if there is one]",
)
@click.option(
    "--libvirt-writes",
    is_flag=True,
    help="Let libvirt's clients create, define, start, destroy, undefine and update mdevs, on the"
    " socket that is not read-only. nodedevd-control makes the changes, and decides for each client"
    " whether it may.  [default: refuse]",
)
@click.option(
    "--socket-mode",
    default="666",
    show_default=True,
    callback=file_mode,
    metavar="MODE",
    help="Create sockets with this file mode, in octal. Every user can read in sysfs what is"
    " served.",
)
@click.option(
    "--socket-group",
    metavar="GROUP",
    help="Create sockets with this group.  [default: the group of the daemon]",
)
@click.option(
    "--show-root-only",
    is_flag=True,
    help="Show every client what sysfs shows to root alone: serial number and UUID of the host,"
    " Vital Product Data of PCI devices.  [default: show them to root and the daemon's user]",
)
@click.option(
    "--events",
    type=click.Choice(["auto", "udev", "kernel", "none"]),
    default="auto",
    show_default=True,
    help="Receive uevents from udevd, from the kernel, or not at all. auto: from udevd if it"
    " runs, else from the kernel; none for a recorded host.",
)
@click.option(
    "--reconcile",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Read the whole host at this interval, to find changes without an event. 0: never.",
)
@click.option(
    "--poll",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Look at this interval for changes that clients wait for and the kernel sends no event"
    " of: the profile set on a function with vendor VFIO, the begin of an mdev's removal."
    " 0: never.",
)
@click.option(
    "--count-age",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Read values that change without an event again for a client if they are older than"
    " this: counts of an mdev parent, the profile of a vGPU, ports of an RDMA device.",
)
@click.option("-v", "--verbose", count=True, help="Also log every value that cannot be read.")
@click.version_option(__version__, prog_name="nodedevd")
def main(
    sysroot: str,
    socket: str | None,
    libvirt_socket: str | None,
    libvirt_socket_ro: str | None,
    libvirt_writes: bool,
    socket_mode: int,
    socket_group: str | None,
    show_root_only: bool,
    events: EventChoice,
    reconcile: float,
    poll: float,
    count_age: float,
    verbose: int,
) -> None:
    """Serve the node devices of this host on Unix sockets."""
    if libvirt_writes and sysroot != "/" and not os.environ.get(CONTROL_SOCKET_VARIABLE):
        raise click.UsageError(
            "--libvirt-writes would change this host, not the one at --sysroot; name the control"
            f" service of that host in ${CONTROL_SOCKET_VARIABLE}"
        )
    options = Options(
        sysroot=sysroot,
        socket=socket,
        libvirt_socket=libvirt_socket,
        libvirt_socket_ro=libvirt_socket_ro,
        libvirt_writes=libvirt_writes,
        socket_mode=socket_mode,
        socket_group=socket_group,
        show_root_only=show_root_only,
        follow=FollowOptions(
            events=events,
            reconcile_seconds=reconcile,
            poll_seconds=poll,
            count_age_seconds=count_age,
        ),
    )
    sys.exit(serve(options, verbose))
