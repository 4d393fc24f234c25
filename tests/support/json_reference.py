"""Writes the part of docs/json.md that has every type with its members, from the model itself.

The meaning of a member is the docstring below the field, or else that of its name in the table of
shared names in docs/json.md, or else the docstring of its type.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
from msgspec.inspect import (
    CollectionType,
    DictType,
    LiteralType,
    StructType,
    TupleType,
    Type,
    UnionType,
    type_info,
)

from nodedevd.cli.schema import printed_types

DOCUMENT = Path(__file__).parents[2] / "docs" / "json.md"
COMMAND = "make json-reference"
_START = "<!-- written by `make json-reference` -->\n"
_SHARED = re.compile(r"^\| `(\w+)` \| (.*?) \|$", re.MULTILINE)


def printed_structs() -> dict[str, StructType]:
    """Return all types in the JSON of any command, by name, in the order they are met."""
    found: dict[str, StructType] = {}
    for printed in printed_types().values():
        _collect(type_info(printed), found)
    return found


def _collect(kind: Type, found: dict[str, StructType]) -> None:
    if isinstance(kind, StructType) and kind.cls.__name__ not in found:
        found[kind.cls.__name__] = kind
        for field in kind.fields:
            _collect(field.type, found)
    for inner in parts(kind):
        _collect(inner, found)


def parts(kind: Type) -> tuple[Type, ...]:
    """Return the types that a type is made of; of a struct none."""
    match kind:
        case UnionType():
            return kind.types
        case CollectionType():
            return (kind.item_type,)
        case TupleType():
            return kind.item_types
        case DictType():
            return (kind.value_type,)
    return ()


def shown(kind: Type) -> str:
    """Return a type as the document writes it."""
    match kind:
        case UnionType():
            several = [one for one in kind.types if isinstance(one, StructType) and one.tag]
            if len(several) > 1:
                return f"object by its `{several[0].tag_field}`, below"
            return " or ".join(map(shown, kind.types))
        case CollectionType() | TupleType():
            return f"array of {' or '.join(map(shown, parts(kind)))}"
        case DictType():
            return f"object of {shown(kind.value_type)}"
        case StructType():
            return f"[{heading(kind)}](#{heading(kind).lower()})"
        case LiteralType():
            return ", ".join(f"`{one}`" for one in kind.values)
    names = {"Int": "number", "Float": "number", "Str": "string", "Bool": "boolean", "None": "null"}
    name = type(kind).__name__.removesuffix("Type")
    return names.get(name, "string" if name == "DateTime" else name.lower())


def heading(kind: StructType) -> str:
    """Return the name of a type: that of a capability or step is its tag."""
    return str(kind.tag or kind.cls.__name__)


def generated(text: str) -> str:
    """Return the generated part of the document, for the names in its other part."""
    meanings = dict(_SHARED.findall(text.partition(_START)[0]))
    return "\n".join(_section(kind, meanings) for kind in printed_structs().values())


def _section(kind: StructType, meanings: dict[str, str]) -> str:
    lines = [f"### {heading(kind)}", "", _prose(kind.cls.__doc__ or ""), ""]
    lines += ["| member | value | meaning |", "| --- | --- | --- |"]
    if kind.tag:
        of = kind.tag_field if kind.tag_field in ("step", "difference") else "capability"
        lines.append(f"| `{kind.tag_field}` | `{kind.tag}` | the type of the {of} |")
    documented = dict(_docstrings(kind.cls))
    for field in kind.fields:
        meaning = documented.get(field.name) or meanings.get(field.encode_name) or _of(field.type)
        if not meaning:
            raise ValueError(f"{kind.cls.__name__}.{field.name} has no docstring")
        lines.append(f"| `{field.encode_name}` | {shown(field.type)} | {_cell(meaning)} |")
    return "\n".join([*lines, ""])


def _of(kind: Type) -> str:
    """Return the description of the struct that a type is, or is made of."""
    if isinstance(kind, StructType):
        return (kind.cls.__doc__ or "").partition("\n\n")[0].removesuffix(".")
    return next((found for inner in parts(kind) if (found := _of(inner))), "")


def _docstrings(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Yield the fields that are followed by a docstring, with those of the base class first."""
    for one in reversed(struct.__mro__):
        if one is msgspec.Struct or not issubclass(one, msgspec.Struct):
            continue
        [parsed] = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(parsed, ast.ClassDef)
        for field, text in pairwise(parsed.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant()):
                    yield name, ast.literal_eval(text.value)


def _prose(text: str) -> str:
    first = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return _json_words(textwrap.fill(first, 140, break_on_hyphens=False))


def _cell(text: str) -> str:
    return _json_words(" ".join(text.split())).replace("|", "\\|")


def _json_words(text: str) -> str:
    words = {"None": "null", "True": "true", "False": "false"}
    return re.sub(r"\b(None|True|False)\b", lambda match: words[match[0]], text)


def current(text: str) -> str:
    """Return the document with its generated part as the model has it now."""
    before = text.partition(_START)[0]
    return f"{before}{_START}\n{generated(text)}"


if __name__ == "__main__":
    DOCUMENT.write_text(current(DOCUMENT.read_text("utf-8")), "utf-8")
