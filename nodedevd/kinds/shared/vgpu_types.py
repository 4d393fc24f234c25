"""vgpu_types: facts parsed from the name and the description of a vGPU type.

The kernel defines no grammar for either text, so the raw text is always kept beside the facts.
Parsed are the one line of NVIDIA's host driver (`num_heads=4, frl_config=60,
framebuffer=1024M, max_resolution=5120x2880, max_instance=16`), the five lines of Intel's GVT-g
(`low_gm_size: 128MB` …), both also as mdevctl prints them, and NVIDIA's names of types. Any
other text gives no fact, and no error.

Source: NVIDIA vGPU software user guide, "Virtual GPU types"; drivers/gpu/drm/i915/gvt/vgpu.c.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from nodedevd.xml_writer import Out


class TypeFacts(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The facts known of a type; one that is not known is None, and left out of JSON."""

    framebuffer_bytes: int | None = None
    """NVIDIA: memory of a guest, from the description"""
    nominal_bytes: int | None = None
    """NVIDIA: the size in the name, 4Q is 4 GiB; a MIG-backed type has somewhat less"""
    class_letter: str | None = None
    """NVIDIA: A (applications), B (desktops), C (compute), Q (workstations)"""
    gpu_instance_slices: int | None = None
    """NVIDIA: slices of the GPU instance of a MIG-backed type, the 1 of A100-1-5C"""
    heads: int | None = None
    """displays of a guest"""
    frame_rate_limit: int | None = None
    """frames a second"""
    max_resolution: str | None = None
    """width and height in pixels, as 5120x2880"""
    max_instances: int | None = None
    """most instances of this type on one physical GPU without other types"""
    low_gm_bytes: int | None = None
    """GVT-g: aperture, graphics memory that the CPU can access"""
    high_gm_bytes: int | None = None
    """GVT-g: graphics memory that the CPU cannot access"""
    fences: int | None = None
    """GVT-g: fence registers"""
    weight: int | None = None
    """GVT-g: share of the GPU's time"""


class _Profile(NamedTuple):
    """The end of the name of an NVIDIA type."""

    gpu_instance_slices: int | None
    gib: int
    letter: str


_VENDOR = re.compile(r"(?:(?:grid|nvidia)[ _-]+)+", re.IGNORECASE)
# Product names have blanks, dashes and digits; the type is in the end: -4Q, -2B4, -1-5CME.
_PROFILE = re.compile(r".*?[0-9A-Za-z]-(?:([1-9])-)?([0-9]{1,4})([ABCQ])[A-Z0-9]{0,7}")
# Nothing is matched twice, so a page of letters or blanks takes no longer than one of facts.
_ITEM = re.compile(r"(?<![a-z_])([a-z_]++)\s*+[=:]\s*+([^,\n]*)")
_SIZE = re.compile(r"([0-9]{1,9})\s*([KMGT])i?B?", re.IGNORECASE)
_COUNT = re.compile("[0-9]{1,9}")
_RESOLUTION = re.compile("[0-9]{1,6}x[0-9]{1,6}")
_SHIFTS = {"K": 10, "M": 20, "G": 30, "T": 40}
_NAME = re.compile(r"(.*?[0-9a-z])-(?:([1-9])-)?[0-9]{1,4}[abcq][a-z0-9]{0,7}")  # normalised
_SEPARATORS = re.compile(r"[\s_-]+")
TEXT_LIMIT = 4096
"""No id or name is longer: a sysfs attribute is no longer than a page."""
_SHORT_LIMIT = 128  # the part of a name that is cut into words

_FIELDS = {
    "num_heads": "heads",
    "frl_config": "frame_rate_limit",
    "framebuffer": "framebuffer_bytes",
    "max_resolution": "max_resolution",
    "max_instance": "max_instances",
    "low_gm_size": "low_gm_bytes",
    "high_gm_size": "high_gm_bytes",
    "fence": "fences",
    "resolution": "max_resolution",
    "weight": "weight",
}
"""The fields, by their names in a description."""
_NVIDIA = frozenset({"num_heads", "frl_config", "framebuffer", "max_instance"})


@lru_cache(maxsize=1024)
def type_facts(name: str | None, description: str | None) -> TypeFacts | None:
    """Return the facts in a type's name and description; None if there are none.

    Returns the same object for the same texts: thousands of parents offer the same few types.
    """
    found: dict[str, Any] = {}
    items = _ITEM.findall((description or "")[:TEXT_LIMIT])
    for key, what in items:
        field = _FIELDS.get(key)
        value = None if field is None else _value(field, what.rstrip())
        if field is not None and value is not None:
            found.setdefault(field, value)
    text = (name or "").strip()
    nvidia = _VENDOR.match(text) is not None or any(key in _NVIDIA for key, _ in items)
    profile = _profile(text) if nvidia else None
    if profile is not None:
        # 0B, 0Q: half a gigabyte.
        found["nominal_bytes"] = profile.gib << 30 if profile.gib else 1 << 29
        found["class_letter"] = profile.letter
        if profile.gpu_instance_slices is not None:
            found["gpu_instance_slices"] = profile.gpu_instance_slices
    return TypeFacts(**found) if found else None


def _value(field: str, text: str) -> int | str | None:
    if field.endswith("_bytes"):
        size = _SIZE.fullmatch(text)
        return None if size is None else int(size[1]) << _SHIFTS[size[2].upper()]
    if field == "max_resolution":
        return text if _RESOLUTION.fullmatch(text) else None
    return int(text) if _COUNT.fullmatch(text) else None


def _profile(name: str) -> _Profile | None:
    match = _PROFILE.fullmatch(name)
    if match is None:
        return None
    return _Profile(None if match[1] is None else int(match[1]), int(match[2]), match[3])


@lru_cache(maxsize=1024)
def normalised(name: str) -> str:
    """Return a type's name without the differences between releases and tools.

    The vendor's word in front (GRID, later NVIDIA) is dropped; blanks, `_` and `-` are equal,
    and so are small and capital letters: `GRID A40-2Q` and `nvidia_a40-2q` are one name.
    """
    return _SEPARATORS.sub("-", _VENDOR.sub("", name.strip(), count=1)).casefold()


def type_matches(wanted: str, type_id: str, name: str | None) -> bool:
    """Return whether a type is the wanted one, by its id or by its name.

    NVIDIA numbers its types: the id is `nvidia-1151` for mdevs and `1151` for vendor VFIO, and
    both forms are understood. A name may be shortened to its last words: `DC-1-3Q` stands for
    `NVIDIA RTX Pro 6000 Blackwell DC-1-3Q`. Before Linux 6.1 a type can lack a name; since then
    its name is the id without the driver's name in front, so that is used instead.
    """
    if wanted in (type_id, name):
        return True
    if len(wanted) > TEXT_LIMIT:
        return False  # no attribute is so long, and normalising a client's text takes time
    meant = normalised(wanted)
    if meant in (normalised(type_id), normalised(name or type_id.partition("-")[2])):
        return bool(meant)
    shortened = name is not None and _NAME.fullmatch(meant) is not None
    return shortened and meant in _short_forms(name or "")


@lru_cache(maxsize=1024)
def _short_forms(name: str) -> frozenset[str]:
    """Return the last words of a name, the last one alone, the last two, …, normalised."""
    words = name[-_SHORT_LIMIT:].split()
    return frozenset(normalised(" ".join(words[start:])) for start in range(1, len(words)))


class TypeName(NamedTuple):
    """The parts of the name of an NVIDIA type."""

    product: str
    """normalised: `rtx-6000-ada` of `NVIDIA RTX 6000 Ada-4Q`; all types of a card have the same"""
    mig_backed: bool


def parse_name(name: str) -> TypeName | None:
    """Return the parts of an NVIDIA type's name, in any spelling; None for another name."""
    if len(name) > TEXT_LIMIT:
        return None
    match = _NAME.fullmatch(normalised(name))
    return None if match is None else TypeName(match[1], match[2] is not None)


def write_facts(facts: TypeFacts | None, out: Out) -> None:
    """Write `<facts …/>`; nothing for None."""
    if facts is None:
        return
    values = (
        ("class", facts.class_letter),
        ("framebuffer_bytes", facts.framebuffer_bytes),
        ("nominal_bytes", facts.nominal_bytes),
        ("gpu_instance_slices", facts.gpu_instance_slices),
        ("low_gm_bytes", facts.low_gm_bytes),
        ("high_gm_bytes", facts.high_gm_bytes),
        ("fences", facts.fences),
        ("weight", facts.weight),
        ("heads", facts.heads),
        ("frame_rate_limit", facts.frame_rate_limit),
        ("max_resolution", facts.max_resolution),
        ("max_instances", facts.max_instances),
    )
    out.empty("facts", **{name: str(value) for name, value in values if value is not None})
