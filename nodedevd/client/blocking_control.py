"""Control: ask the control service to change the host, by blocking calls.

Written by `make blocking-client` from `asynchronous_control.py`; change that file.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Unpack

from nodedevd.actions.answers import ControlStatus, LayoutOutcome, MadeList, Outcome
from nodedevd.actions.requests import (
    ApplyLayout,
    Bind,
    Create,
    Define,
    Modify,
    Remove,
    Request,
    SetAutostart,
    SetVirtualFunctions,
    Start,
    Stop,
    Unbind,
    Undefine,
)
from nodedevd.client.blocking_backend import BlockingConnection
from nodedevd.client.blocking_caller import BlockingCaller
from nodedevd.client.change import (
    Attributes,
    Nothing,
    Options,
    about,
    application,
    attributes_of,
    change,
    may_call,
)
from nodedevd.client.deadline import Deadline
from nodedevd.client.question import words
from nodedevd.errors import NoControl, NotAllowed
from nodedevd.socket_paths import control_socket_path
from nodedevd.varlink import SERVICE, encode_call


class Control(BlockingCaller):
    """Asks the control service to change the host; a context manager.

    Calls are made one after another on one connection, from any thread. Each returns when the
    device tree shows the change, or raises after what was done has been undone. What is so
    already is success. After TimedOut or ConnectionLost a change may still be made; it is safe to
    repeat the call, but `create` without a uuid, which makes another device.

    The methods take the options `owner`, `generation`, `force` and `dry_run`; see `Options`.
    Each raises NoControl if the service is not enabled, NotAllowed, InvalidParameter, NoSuchDevice,
    OwnedByOther, MadeByOther, Changed, DeviceInUse, CardBusy, NotPossible, StepFailed,
    StillWriting, NotConfirmed, and what calls of every client raise.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        timeout_seconds: float | None = None,
        speaks_for: socket.socket | None = None,
    ) -> None:
        """Connect.

        Args:
            path: The service's socket; by default $NODEDEVD_CONTROL_SOCKET, or the system's.
            timeout_seconds: The longest time for a call; None is no limit. The service itself
                answers in time, also if a driver hangs.
            speaks_for: A connected socket of a server of libvirt's protocol: everything is asked
                for its client, with the rights of that. Only root, and the user of the service,
                may do so. The socket stays open, and has to as long as calls are made.
        """
        self._speaks_for = speaks_for
        super().__init__(
            [path or control_socket_path()], timeout_seconds=timeout_seconds, absent=NoControl
        )

    # -- mdevs and vGPUs -----------------------------------------------------------------

    def create(
        self,
        wanted: str,
        names: Iterable[str] | None = None,
        *,
        uuid: str | None = None,
        count: int | None = None,
        attributes: Attributes | None = None,
        domain: str | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Create mdevs of a type, or set the profile of functions with vendor VFIO.

        Args:
            wanted: ID or name, in any form that `fits` takes.
            names: Parents, functions or cards to use; by default anywhere it fits.
            uuid: Of the mdev; by default a new one.
            count: The number of vGPUs, by default one. All of them are made, or none.
            attributes: Written after the mdev is created.
            domain: UUID of the domain whose hook asks; it becomes the owner. For root alone.
            options: See `Options`.

        Raises NoRoom, NoSuchType, Conflict.
        """
        return self.act(
            Create(
                type=wanted,
                names=words(names),
                uuid=uuid,
                count=count,
                attributes=attributes_of(attributes),
                domain=domain,
                **options,
            )
        )

    def remove(
        self,
        name: str,
        *,
        domain: str | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Remove an mdev, or the profile of a function with vendor VFIO.

        With `domain`, only what was made for that domain: its hook asks, as root.
        """
        return self.act(Remove(name=name, domain=domain, **options))

    def start(
        self,
        name: str,
        *,
        parent: str | None = None,
        domain: str | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Create the mdev of a definition, for a domain if its hook asks, as root.

        Raises NoRoom, Conflict, Vetoed.
        """
        return self.act(Start(name=name, parent=parent, domain=domain, **options))

    def stop(
        self,
        name: str,
        *,
        domain: str | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Remove an mdev that has a definition, which stays. Raises Vetoed.

        With `domain`, only what was made for that domain: its hook asks, as root.
        """
        return self.act(Stop(name=name, domain=domain, **options))

    # -- definitions ---------------------------------------------------------------------

    def define(
        self,
        wanted: str,
        parent: str,
        *,
        uuid: str | None = None,
        autostart: bool | None = None,
        attributes: Attributes | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Write one of mdevctl's definitions. Raises Conflict, Vetoed.

        Args:
            wanted: ID or name; for a parent that is not present, the ID.
            parent: Any name of the parent, or its kernel name if it is not present.
            uuid: Of the mdev; by default a new one.
            autostart: Whether it is started with its parent; by default not, and an existing
                definition keeps its own.
            attributes: Written when the mdev is started.
            options: See `Options`.
        """
        return self.act(
            Define(
                type=wanted,
                parent=parent,
                uuid=uuid,
                autostart=autostart,
                attributes=attributes_of(attributes),
                **options,
            )
        )

    def undefine(
        self,
        name: str,
        *,
        parent: str | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Remove a definition; an active mdev continues. Raises Vetoed."""
        return self.act(Undefine(name=name, parent=parent, **options))

    def modify(
        self,
        name: str,
        *,
        parent: str | None = None,
        wanted: str | None = None,
        autostart: bool | None = None,
        attributes: Attributes | None = None,
        live: bool | None = None,
        live_only: bool | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Change a definition; what is None stays as it is. Raises Vetoed.

        Args:
            name: The mdev.
            parent: Tells definitions of one UUID apart.
            wanted: ID or name.
            autostart: Whether it is started with its parent.
            attributes: Replace all of the definition; an empty mapping removes them.
            live: Whether to change the active mdev, too.
            live_only: Whether to change the active mdev alone.
            options: See `Options`.
        """
        return self.act(
            Modify(
                name=name,
                parent=parent,
                type=wanted,
                autostart=autostart,
                attributes=attributes_of(attributes),
                live=live,
                live_only=live_only,
                **options,
            )
        )

    def set_autostart(
        self,
        name: str,
        autostart: bool = True,
        *,
        parent: str | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Set whether an mdev is started with its parent. Raises Vetoed."""
        request = SetAutostart(name=name, autostart=autostart, parent=parent, **options)
        return self.act(request)

    # -- virtual functions and drivers ---------------------------------------------------

    def set_virtual_functions(
        self,
        name: str,
        number: int,
        **options: Unpack[Options],
    ) -> Outcome:
        """Set the number of virtual functions of a card; 0 disables them."""
        return self.act(SetVirtualFunctions(name=name, number=number, **options))

    def bind(
        self,
        name: str,
        driver: str,
        *,
        group: bool | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Bind a device to a driver, after taking it away from the one it has.

        Args:
            name: The device.
            driver: Name of the driver, which must be loaded.
            group: Whether the other devices of its IOMMU group may be bound to it, too.
            options: See `Options`.
        """
        return self.act(Bind(name=name, driver=driver, group=group, **options))

    def unbind(
        self,
        name: str,
        *,
        group: bool | None = None,
        **options: Unpack[Options],
    ) -> Outcome:
        """Give a device, and with `group` its whole IOMMU group, back to the host's drivers."""
        return self.act(Unbind(name=name, group=group, **options))

    # -- the layout of the host ----------------------------------------------------------

    def apply_layout(
        self,
        *,
        card: str | None = None,
        wait_seconds: float | None = None,
        dry_run: bool | None = None,
    ) -> LayoutOutcome:
        """Make the host offer what its layout declares, /etc/nodedevd/layout.d.

        What was refused, or failed and was undone, is in the answer, card by card. It is safe to
        repeat.

        Args:
            card: Any name of one card; by default all.
            wait_seconds: How long to wait for cards, drivers and functions that are not there yet.
            dry_run: Whether to return the steps without taking them.
        """
        return self.apply(ApplyLayout(card=card, wait_seconds=wait_seconds, dry_run=dry_run))

    def apply(self, request: ApplyLayout) -> LayoutOutcome:
        """Make the host offer what its layout declares, as a request asks."""
        return self._ask(application(request))

    # -- every change, and the service ---------------------------------------------------

    def act(self, request: Request) -> Outcome:
        """Ask for the change that a request of `nodedevd.actions.requests` describes."""
        return self._ask(change(request))

    def authorise(self, method: str) -> None:
        """Return if the caller may call a method, such as `Create`. Raises NotAllowed."""
        self._ask(may_call(method))

    def get_status(self) -> ControlStatus:
        """Return the state of the service: what is in progress, what hangs, what is left."""
        return self._ask(about("GetStatus", ControlStatus))

    def list(self) -> MadeList:
        """Return whose the mdevs and vGPUs of the host are."""
        return self._ask(about("List", MadeList))

    def _begin(self, connection: BlockingConnection, deadline: Deadline) -> None:
        """Speak for the client of the socket, if there is one. Raises NotAllowed."""
        if self._speaks_for is None:
            return
        asked, descriptor = about("SpeakFor", Nothing), self._speaks_for.fileno()
        if not connection.send_with(asked.message, descriptor):
            # The kernel refuses descriptors until the service has accepted the connection.
            self._replies(connection, encode_call(f"{SERVICE}.GetInfo"), deadline)
            if not connection.send_with(asked.message, descriptor):
                raise NotAllowed("SpeakFor", "only root, and the user of the service, may do this")
        asked.answer(self._received(connection, deadline))
