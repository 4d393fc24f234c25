"""changing: what the commands that change a host share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from nodedevd.cli.in_process import InProcess
from nodedevd.cli.options import Context, json_option, print_json, progress
from nodedevd.cli.waiting import waiting
from nodedevd.errors import InvalidParameter, NoControl
from nodedevd.text import fold, printable

if TYPE_CHECKING:
    from nodedevd.actions.answers import Outcome
    from nodedevd.actions.plan import Action
    from nodedevd.actions.requests import Request
    from nodedevd.client import Control

F = TypeVar("F", bound=Callable[..., Any])

EXIT_STATUS_OF_CHANGES = """Exit status: 0 done, or so already, 1 failed, and what was done has been
undone, 2 wrong usage, 3 no control service answers, 4 a driver has not answered in time, 5 refused,
nothing was changed, 6 no device offers the type, 7 failed, and not all could be undone."""


def change_options(command: F) -> F:
    """Add the options of every change, which are passed on to `carry_out`."""
    for option in (
        json_option,
        click.option(
            "--dry-run",
            is_flag=True,
            default=None,
            help="Print the steps of the change, and change nothing.",
        ),
        click.option(
            "--force",
            is_flag=True,
            default=None,
            help="Also change what is in use, or belongs to others.",
        ),
        click.option(
            "--generation",
            type=click.IntRange(min=0),
            metavar="N",
            help="Refuse if the device is no longer the one that was made at generation N.",
        ),
        click.option(
            "--owner",
            metavar="TEXT",
            help="Owner of the device, for example the name of a VM. It is kept with the device,"
            " and later changes must give the same owner.",
        ),
    ):
        command = option(command)
    return command


def attribute_option(purpose: str) -> Callable[[F], F]:
    """Return the option --attribute, which may be repeated."""
    return click.option(
        "--attribute",
        "attributes",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_attributes,
        help=f"{purpose} May be repeated; they are written in this order.",
    )


def parent_option(command: F) -> F:
    """Add the option --parent, for definitions of one UUID."""
    return click.option(
        "--parent",
        metavar="DEVICE",
        help="Parent of the mdev, if several parents have a definition of this UUID.",
    )(command)


def _attributes(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[dict[str, str]] | None:
    found = []
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} has no '='; give NAME=VALUE")
        found.append({"name": name, "value": text})
    return found or None


def carry_out(context: Context, action: Action, **fields: object) -> Outcome:
    """Ask for a change, and wait for what comes of it.

    Args:
        context: Selects the control service, or a host of which a change is planned.
        action: The change.
        fields: Of its request; None is the default.

    Raises NodedevError, UsageError.
    """
    request = _request(action, {name: value for name, value in fields.items() if value is not None})
    asked = service_or_this_process(context, may_plan=bool(request.dry_run))
    try:
        with waiting(f"{action} {getattr(request, 'name', None) or getattr(request, 'type', '')}"):
            return asked.act(request)
    except InvalidParameter as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:  # this process itself holds signals back while it changes anything
        if not request.dry_run:
            click.echo("\nthe service goes on with the change: nodedevctl control", err=True)
        raise


def _request(action: Action, fields: dict[str, object]) -> Request:
    from nodedevd.actions import requests  # most commands ask for no change

    [kind] = [one for one in requests.REQUESTS.values() if one.action == action]
    try:
        return msgspec.convert(fields, kind)
    except InvalidParameter as error:
        raise click.UsageError(str(error)) from None
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None


def service_or_this_process(context: Context, *, may_plan: bool) -> Control | InProcess:
    """Return the control service, or this process if it may do without the service.

    That is root's process, and with `may_plan` any. Raises NoControl, NotASysroot.
    """
    from nodedevd.client.blocking_control import Control  # few commands ask for changes

    if context.sysroot is not None:
        return InProcess(context.sysroot, progress=progress)
    try:
        return click.get_current_context().with_resource(Control(context.socket))
    except NoControl:
        chosen = context.socket is not None or os.environ.get("NODEDEVD_CONTROL_SOCKET")
        if chosen or not (may_plan or os.geteuid() == 0):
            raise
        return InProcess("/", progress=progress)


def report(outcome: Outcome, *, as_json: bool, names: bool = False) -> None:
    """Print what came of a change: JSON, the plan of a dry run, or names of what was made."""
    for note in outcome.notes if not as_json else ():
        click.echo(f"note: {printable(note)}", err=True)
    if as_json:
        print_json(msgspec.json.encode(outcome))
    elif outcome.dry_run:
        click.echo(plan_text(outcome.steps), nl=False)
    else:
        if not outcome.steps and not outcome.notes:
            click.echo("note: nothing to do: it is so already", err=True)
        for device in outcome.devices if names else ():
            click.echo(printable(device.name))


def plan_text(steps: tuple[str, ...]) -> str:
    """Return the steps of a plan, numbered."""
    if not steps:
        return "Nothing to do: it is so already.\n"
    width = len(str(len(steps)))
    lines = [
        fold(f"{number:>{width}}. {step}", indent=" " * (width + 2))
        for number, step in enumerate(steps, 1)
    ]
    return "".join(f"{line}\n" for line in lines)
