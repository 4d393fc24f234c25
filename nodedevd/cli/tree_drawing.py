"""Draws the device tree exactly as `virsh nodedev-list --tree` does, trailing blanks included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


def sort_key(name: str) -> tuple[str, str]:
    """Return the sort key of virsh: case does not matter."""
    return name.lower(), name


def draw(parents: Mapping[str, str | None], labels: Mapping[str, str] | None = None) -> str:
    """Draw a tree.

    Args:
        parents: The parent of each device. A device whose parent is not a key becomes a root.
        labels: Text to print right after the names of some devices.
    """
    texts = {name: name + label for name, label in (labels or {}).items()}
    children: dict[str, list[str]] = {}
    roots = []
    for name in sorted(parents, key=sort_key):
        parent = parents[name]
        if parent is None or parent not in parents:
            roots.append(name)
        else:
            children.setdefault(parent, []).append(name)
    return "".join(f"{line}\n" for root in roots for line in _draw_root(root, children, texts))


def _draw_root(
    name: str, children: Mapping[str, list[str]], texts: Mapping[str, str]
) -> Iterator[str]:
    yield texts.get(name, name)
    if name not in children:
        yield ""
        return
    yield "  |"
    yield from _draw_children(children[name], "  ", children, texts)


def _draw_children(
    names: Iterable[str],
    indent: str,
    children: Mapping[str, list[str]],
    texts: Mapping[str, str],
) -> Iterator[str]:
    names = list(names)
    for name in names:
        last = name is names[-1]
        yield f"{indent}+- {texts.get(name, name)}"
        if name in children:
            below = f"{indent}{' ' if last else '|'}   "
            yield f"{below[:-2]}  |"
            yield from _draw_children(children[name], below, children, texts)
        elif last:
            yield f"{indent}  "
