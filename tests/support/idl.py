"""The text of a Varlink interface, as the reference implementation parses it, against the code."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect
from varlink import scanner


def in_text(type_: Any) -> str:
    """Return a type of the text as text."""
    match type_:
        case scanner._Maybe():
            return f"?{in_text(type_.element_type)}"
        case scanner._Array():
            return f"[]{in_text(type_.element_type)}"
        case scanner._Dict():
            return f"[string]{in_text(type_.element_type)}"
        case scanner._CustomType():
            return str(type_.name)
        case scanner._Object():
            return "object"
        case scanner._Enum():
            return f"({', '.join(sorted(type_.fields))})"
        case str():
            return "string"
    return type(type_).__name__


def in_code(type_: inspect.Type, text: str) -> str:
    """Return a type of the code as the text would write it.

    Where the text has a string, so has the code or a Literal; what it does not decode may be any
    type.
    """
    match type_:
        case inspect.UnionType() if any(isinstance(one, inspect.NoneType) for one in type_.types):
            others = [one for one in type_.types if not isinstance(one, inspect.NoneType)]
            return f"?{in_code(others[0], text[1:])}" if len(others) == 1 else "?object"
        case inspect.UnionType():
            return "object"  # a tagged union
        case inspect.VarTupleType() | inspect.ListType():
            return f"[]{in_code(type_.item_type, text[2:])}"
        case inspect.DictType():
            return f"[string]{in_code(type_.value_type, text[8:])}"
        case inspect.StructType():
            return type_.cls.__name__
        case inspect.LiteralType():
            return (
                "string" if text == "string" else f"({', '.join(sorted(map(str, type_.values)))})"
            )
        case inspect.StrType() | inspect.DateTimeType():
            return "string"
        case inspect.BoolType():
            return "bool"
        case inspect.IntType():
            return "int"
        case inspect.FloatType():
            return "float"
        case inspect.RawType():
            return text
        case inspect.CustomType() if type_.cls is object:
            return "object"
    raise AssertionError(f"Varlink has no type for {type_}")


def drift(
    place: str, text: Any, struct: type[msgspec.Struct], unread: Container[str] = ()
) -> Iterator[str]:
    """Yield how a struct of the code differs from one of the text, field by field.

    `unread` are fields, after the name of their place, that the struct need not have.
    """
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    described = {name: in_text(type_) for name, type_ in text.fields.items()}
    coded = {
        field.encode_name: in_code(field.type, described.get(field.encode_name, ""))
        for field in info.fields
    }
    for name in described.keys() | coded.keys():
        if described.get(name) != coded.get(name) and f"{place}.{name}" not in unread:
            yield (
                f"{place}.{name}: {described.get(name, 'missing')} in the text, "
                f"{coded.get(name, 'missing')} in {struct.__name__}"
            )


def of_kind(members: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Return the members of a kind."""
    return {name: member for name, member in members.items() if isinstance(member, kind)}
