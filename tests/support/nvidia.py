"""NVIDIA's vGPU types, in the words of its host driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# number, suffix, heads, frame rate limit, framebuffer in MiB, resolution, most of a card
NvidiaType = tuple[int, str, int, int, int, str, int]
A2_TYPES: list[NvidiaType] = [
    (742, "1B", 4, 45, 1024, "5120x2880", 16),
    (743, "2B", 4, 45, 2048, "5120x2880", 8),
    (744, "1Q", 4, 60, 1024, "5120x2880", 16),
    (745, "2Q", 4, 60, 2048, "7680x4320", 8),
    (746, "4Q", 4, 60, 4096, "7680x4320", 4),
    (747, "8Q", 4, 60, 8192, "7680x4320", 2),
    (748, "16Q", 4, 60, 16384, "7680x4320", 1),
    (749, "1A", 1, 60, 1024, "1280x1024", 16),
    (750, "2A", 1, 60, 2048, "1280x1024", 8),
    (751, "4A", 1, 60, 4096, "1280x1024", 4),
    (752, "8A", 1, 60, 8192, "1280x1024", 2),
    (753, "16A", 1, 60, 16384, "1280x1024", 1),
    (754, "4C", 1, 60, 4096, "4096x2400", 4),
    (755, "8C", 1, 60, 8192, "4096x2400", 2),
    (756, "16C", 1, 60, 16384, "4096x2400", 1),
]
P40_TYPES: list[NvidiaType] = [
    (156, "2B", 4, 45, 2048, "5120x2880", 12),
    (215, "2B4", 4, 45, 2048, "5120x2880", 12),
    (241, "1B4", 4, 45, 1024, "5120x2880", 24),
    (283, "4C", 1, 60, 4096, "4096x2400", 6),
    (284, "6C", 1, 60, 6144, "4096x2400", 4),
    (285, "8C", 1, 60, 8192, "4096x2400", 3),
    (286, "12C", 1, 60, 12288, "4096x2400", 2),
    (46, "1Q", 4, 60, 1024, "5120x2880", 24),
]

_L40S_SIZES = {"B": (1, 2), "Q": (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)}
_L40S_SIZES["A"] = _L40S_SIZES["Q"]
L40S_TYPES: list[tuple[int, str]] = [
    *enumerate((f"{size}{letter}" for letter in "BQA" for size in _L40S_SIZES[letter]), start=1145),
    (2164, "3B"),
]


def nvidia_types(product: str, rows: Sequence[NvidiaType]) -> Iterator[tuple[str, str, str]]:
    """Yield type id, name and description as NVIDIA's host driver words them."""
    for number, suffix, heads, frl, framebuffer, resolution, most in rows:
        description = (
            f"num_heads={heads}, frl_config={frl}, framebuffer={framebuffer}M, "
            f"max_resolution={resolution}, max_instance={most}"
        )
        yield f"nvidia-{number}", f"{product}-{suffix}", description
