"""Requests for changes, as clients send them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from nodedevd.actions import requests
from nodedevd.actions.requests import REQUESTS, Request
from nodedevd.errors import InvalidParameter
from nodedevd.names import is_uuid
from tests.fuzz.target import Cutter, Target

_METHODS = tuple(REQUESTS)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind) for name, kind in REQUESTS.items()
}
_BREAK = re.compile("[\0\n]")


def check(data: bytes) -> None:
    """What is decoded is bounded, has no path that leads elsewhere, and is decoded the same again.

    The first byte chooses the method.
    """
    cutter = Cutter(data)
    method = _METHODS[cutter.byte() % len(_METHODS)]
    try:
        request = _DECODERS[method].decode(cutter.rest())
    except (InvalidParameter, ValueError, RecursionError):
        return
    _check_texts(request)
    encoded = msgspec.json.encode(request)
    assert _DECODERS[method].decode(encoded) == request
    claim = requests.claim_of(request)
    assert (claim.owner, claim.generation) == (request.owner, request.generation)
    assert claim.origin == "client"
    assert claim.force is (request.force is True)


def _check_texts(request: Request) -> None:
    if request.owner is not None:
        assert request.owner.isprintable()
        assert 0 < len(request.owner.encode()) <= requests.OWNER_BYTES
    uuid = getattr(request, "uuid", None)
    assert uuid is None or (is_uuid(uuid) and uuid == uuid.lower())
    names = [getattr(request, name, None) for name in ("name", "parent", "type")]
    for name in (*names, *(getattr(request, "names", None) or ())):
        if name is not None:
            assert 0 < len(name) <= requests.NAME_LENGTH
            assert _BREAK.search(name) is None
    driver = getattr(request, "driver", "x")
    assert "/" not in driver
    assert driver not in ("", ".", "..")
    for attribute in getattr(request, "attributes", None) or ():
        assert not {"", ".", ".."} & set(attribute.name.split("/"))
        assert attribute.name.isprintable()
        assert "\0" not in attribute.value
        assert len(attribute.value.encode()) <= requests.VALUE_BYTES


TARGET = Target(
    "requests",
    check,
    reads=("nodedevd/actions/requests.py",),
    words=(
        *(b'"type":"mtty-1"', b'"parent":"mtty"', b'"name":"', b'"names":["'),
        b'"uuid":"5D4D1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"',
        *(b'"owner":"', b'"generation":', b'"force":true', b'"dry_run":', b'"count":', b"null"),
        *(b'"attributes":[{"name":"power/control","value":"on"}]', b'"autostart":true', b"../"),
        *(b'"driver":"vfio-pci"', b'"group":true', b'"number":4', b'"live":true', b"\\u0000"),
        *(b"{", b"}", b",", b'"', b"\\ud800", b"\\n"),
    ),
    most_bytes=1024,
    steps=(400, 20),
    share=0.5,
)
