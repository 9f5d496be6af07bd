"""The smallest value of a message type, for tests that walk every message."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect


def sample(kind: Any) -> Any:
    """Return a value of a message type with nothing but what is required in it."""
    return msgspec.convert(_plain(inspect.type_info(kind)), kind)


def sample_param(name: str, pattern: str) -> str:
    """Return a text that a path or query parameter takes."""
    # Then the words of a choice, as in `stdout|stderr`.
    for text in ("a1", "1", "/a", "a", "a/a", "0" * 32, "2026-01-31", *re.split(r"[|()]", pattern)):
        if re.fullmatch(pattern, text):
            return text
    raise AssertionError(f"no sample for {name}: {pattern}")


def _plain(kind: inspect.Type) -> Any:
    """Return a plain value of a described type."""
    match kind:
        case inspect.StructType():
            return {f.encode_name: _plain(f.type) for f in kind.fields if f.required}
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.VarTupleType() | inspect.ListType():
            return [_plain(kind.item_type)] * (kind.min_length or 0)
        case inspect.UnionType():
            return None if kind.includes_none else _plain(kind.types[0])
        case inspect.StrType():
            return "a" * max(kind.min_length or 0, 1)
        case inspect.IntType() | inspect.FloatType():
            return int(kind.ge or 0)
        case _:
            return _SIMPLE[type(kind)]


_SIMPLE: dict[type[inspect.Type], Any] = {inspect.BoolType: False, inspect.DictType: {}}
