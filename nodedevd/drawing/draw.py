"""draw: a picture of a host, as SVG.

`picture` makes the small model of what is drawn, `svg` makes the text of the picture from it; both
are pure, and work in steps.
"""

from __future__ import annotations

from nodedevd.drawing.picture import picture_in_steps
from nodedevd.drawing.request import DrawRequest
from nodedevd.drawing.seen import Host
from nodedevd.drawing.svg import svg_in_steps
from nodedevd.steps import Steps, finish


def draw(host: Host, request: DrawRequest) -> str:
    """Return the picture of a host. Raises NoSuchDevice for an unknown `card`."""
    return finish(draw_in_steps(host, request))


def draw_in_steps(host: Host, request: DrawRequest) -> Steps[str]:
    """Do the same as `draw`, in steps."""
    picture = yield from picture_in_steps(host, request.card)
    return (yield from svg_in_steps(picture, request))
