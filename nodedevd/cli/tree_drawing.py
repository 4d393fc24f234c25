"""Draws the device tree exactly as `virsh nodedev-list --tree` does, trailing blanks included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def sort_key(name: str) -> tuple[str, str]:
    """Return the sort key of virsh: case does not matter."""
    return name.lower(), name


def draw(parents: Mapping[str, str | None], labels: Mapping[str, str] | None = None) -> str:
    """Draw a tree, of any depth.

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
    return "".join([f"{line}\n" for root in roots for line in _draw_root(root, children, texts)])


def _draw_root(
    root: str, children: Mapping[str, list[str]], texts: Mapping[str, str]
) -> Iterator[str]:
    yield texts.get(root, root)
    yield "  |" if root in children else ""
    # A stack of its own: a chain of devices can be longer than Python lets functions nest.
    todo = [("  ", name, name is children[root][-1]) for name in reversed(children.get(root, ()))]
    while todo:
        indent, name, last = todo.pop()
        yield f"{indent}+- {texts.get(name, name)}"
        below = children.get(name)
        if below is not None:
            indent = f"{indent}{' ' if last else '|'}   "
            yield f"{indent[:-2]}  |"
            todo += [(indent, one, one is below[-1]) for one in reversed(below)]
        elif last:
            yield f"{indent}  "
