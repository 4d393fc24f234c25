"""Names and descriptions of vGPU types, from drivers and from clients."""

from __future__ import annotations

from nodedevd.kinds.shared import vgpu_types
from nodedevd.kinds.shared.vgpu_types import TypeFacts, normalised, parse_name, type_matches
from nodedevd.kinds.vgpu import parse_types
from nodedevd.xml_writer import Out
from tests.fuzz.target import Cutter, Target

_type_facts = vgpu_types.type_facts.__wrapped__


def check(data: bytes) -> None:
    """Facts are numbers of the text, and a name means the same however it is written."""
    cutter = Cutter(data)
    name = cutter.piece(cutter.byte()).decode("utf-8", "backslashreplace")
    description = cutter.rest().decode("utf-8", "backslashreplace")
    facts: TypeFacts | None = _type_facts(name or None, description)
    if facts is not None:
        out = Out()
        vgpu_types.write_facts(facts, out)
        assert str(out).count("\n") == 1
        assert facts != TypeFacts()
    once = normalised(name)
    assert normalised(once.replace("-", "_")) in (once, normalised(once))
    parse_name(name)
    assert type_matches(name, name, None)
    assert type_matches(name, "nvidia-1", name)
    type_matches(name, description, name)
    type_matches(description, name, name)
    found, odd = parse_types(description)
    assert len(found) <= description.count("\n") + 1
    assert all(one.id.isdigit() and one.name for one in found)
    assert odd is None or odd in description


TARGET = Target(
    "vgpu-types",
    check,
    reads=("nodedevd/kinds/shared/vgpu_types.py",),
    words=(
        b"GRID A100-1-5CME",
        b"NVIDIA RTX 6000 Ada-4Q",
        b"num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880",
        b"low_gm_size: 128MB\n",
        b"max_instance=16",
        b"ID    : vGPU Name\n1148  : NVIDIA L40S-2Q\n",
        "\u0130".encode(),
        "\u00a0".encode(),
        "\u0661".encode(),
    ),
    most_bytes=1024,
    share=1.0,
)
