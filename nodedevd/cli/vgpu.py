"""nodedevctl types, nodedevctl fits: what there is of vGPUs, by whichever framework."""

from __future__ import annotations

import sys

import click
import msgspec

from nodedevd.cli.options import EXIT_NO, EXIT_STATUS, Context, epilog, json_option, print_json
from nodedevd.model.device import Device
from nodedevd.questions.fits import COUNT_AT_MOST, Card, Fits
from nodedevd.questions.vgpus import CAPABILITIES, Offer, VgpuFunction, vgpu_functions
from nodedevd.text import printable, table


@click.command(epilog=epilog("Example:", "nodedevctl types 0000:3b:00.4"))
@click.argument("parents", metavar="[DEVICE]...", nargs=-1)
@json_option
@click.pass_obj
def types(context: Context, parents: tuple[str, ...], as_json: bool) -> None:
    """Show the types of vGPUs that are on offer, of all devices or of some.

    These are the types of mdev parents, and the profiles of functions with vendor VFIO. AVAILABLE
    is how many more could be created now, ACTIVE how many there are; a value that cannot be read
    is shown as "unknown".
    """
    source = context.source()
    if parents:
        devices = [source.describe(name) for name in parents]
    else:
        devices = list(source.snapshot(CAPABILITIES).devices)
    offers = []
    for device in devices:
        function = next(vgpu_functions([device]), None)
        if function is None:
            click.echo(f"{device.name} is not an mdev parent: it offers no types", err=True)
        else:
            offers += [(device, function, one) for one in function.offers]
    if as_json:
        print_json(msgspec.json.encode([_offer(function, one) for _, function, one in offers]))
        return
    heading = ("PARENT", "TYPE", "NAME", "API", "AVAILABLE", "ACTIVE", "DESCRIPTION")
    click.echo(table(heading, [_row(device, one) for device, _, one in offers]), nl=False)


def _offer(function: VgpuFunction, one: Offer) -> dict[str, object]:
    return {
        "parent": function.device,
        "framework": function.framework,
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "facts": one.facts,
        "device_api": one.device_api,
        "available_instances": one.available,
        "active_instances": one.active,
        "devices": one.mdevs,
    }


def _row(device: Device, one: Offer) -> tuple[str, ...]:
    return (
        device.name,
        one.id,
        one.name or "-",
        one.device_api or "unknown",
        _count(one.available),
        str(one.active),
        one.description or "-",
    )


@click.command(
    epilog=epilog(
        "Examples: is there room for two; the function that the next one would be made on",
        "nodedevctl fits --type 'NVIDIA A2-4Q' --count 2",
        "nodedevctl fits --type A2-4Q --json | jq -r '.cards[0].places[0].device'",
        exit_status=f"{EXIT_STATUS.removesuffix('.')}, 5 they do not fit, or not for sure.",
    )
)
@click.option("--type", "kind", required=True, metavar="TYPE", help="Id or name of the type.")
@click.option(
    "--count", type=click.IntRange(1, COUNT_AT_MOST), default=1, show_default=True, help="How many."
)
@json_option
@click.pass_obj
def fits(context: Context, kind: str, count: int, as_json: bool) -> None:
    """Show where so many vGPUs of a type could be created now, and why not elsewhere.

    A name may have blanks, dashes or underscores, and the maker's word in front or not. AVAILABLE
    is how many a card takes at the most, SURE how many for sure: functions of one card share its
    memory, and not every driver tells how much of it is left. CEILING is how many a card takes
    that holds nothing else.
    """
    found = context.source().fits(kind, count)
    if as_json:
        print_json(msgspec.json.encode(found))
    else:
        heading = (
            *("CARD", "TYPE", "NAME", "AVAILABLE", "SURE", "ACTIVE", "CEILING", "WHERE"),
            "WHY NOT",
        )
        click.echo(table(heading, [_card(card) for card in found.cards]), nl=False)
        click.echo(printable(_verdict(found)))
    if found.answer != "yes":
        sys.exit(EXIT_NO)


def _card(card: Card) -> tuple[str, ...]:
    types = dict.fromkeys(place.type for place in card.places)
    names = dict.fromkeys(place.name for place in card.places if place.name is not None)
    free = [place.device for place in card.places if place.available]
    more = f" +{len(free) - 1}" if len(free) > 1 else ""
    return (
        card.card,
        ", ".join(types) or "-",
        ", ".join(names) or "-",
        _count(card.available),
        str(card.certain),
        str(card.active),
        "-" if card.ceiling is None else str(card.ceiling),
        f"{free[0]}{more}" if free else "-",
        _why_not(card),
    )


def _why_not(card: Card) -> str:
    others = ", ".join(card.others)
    match card.reason:
        case None:
            return "-"
        case "not-offered":
            return "it has no such type"
        case "not-listed":
            return f"not listed beside {others}"
        case "other-profile-active":
            return f"{others} active"
        case "full":
            return "full"
        case "none-available":
            return "its driver says that none is available"
        case "no-vf-enabled":
            return "no virtual function is enabled"
        case "unknown":
            return "what is available cannot be read"


def _verdict(found: Fits) -> str:
    match found.answer:
        case "yes":
            return f"yes: {found.count} of {found.type} fit"
        case "perhaps":
            sure = sum(card.certain for card in found.cards)
            return f"perhaps: {sure} of {found.type} fit for sure, {found.count} may"
        case "no":
            most = sum(card.available or 0 for card in found.cards)
            fit = f"only {most} of {found.type} fit" if most else f"nothing of {found.type} fits"
            return f"no: {fit}"


def _count(number: int | None) -> str:
    return "unknown" if number is None else str(number)
