"""request: what a client asks of a picture, and what it gets."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

Theme: TypeAlias = Literal["auto", "light", "dark"]
"""auto: dark or light, as the program that shows the picture prefers"""

WIDTH: Final = 1000
NARROWEST: Final = 320
WIDEST: Final = 2000


class DrawRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a picture is drawn; a field that is None has its default."""

    width: Annotated[int, msgspec.Meta(ge=NARROWEST, le=WIDEST)] | None = None
    """width in pixels, by default 1000; letters keep their size"""
    theme: Theme | None = None
    """by default auto"""
    card: str | None = None
    """draw only the card that this device belongs to: a function, a card, an mdev"""
    embedded: bool | None = None
    """leave out the <style> element, for a page that has these rules itself"""


class Drawing(msgspec.Struct, frozen=True):
    """A picture of a host, at one generation of the tree."""

    generation: int
    svg: str
    """the text of the picture"""
    unseen_processes: int
    """number of processes whose open files cannot be read, for which a use may be unknown"""
