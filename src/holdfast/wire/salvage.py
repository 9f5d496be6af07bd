"""Makes damaged stored rows showable.

One damaged row must not make a whole list fail: its readable fields are shown, with a note that it
is damaged.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct, inspect
from msgspec.structs import replace

from holdfast.wire import parsers
from holdfast.wire.limits import REASON_MAX, TEXT_MAX

S = TypeVar("S", bound=Struct)

_ANY: Final = msgspec.json.Decoder()
_NO_ID: Final = re.compile(r"[^A-Za-z0-9_.:@-]")
DAMAGED: Final = "damaged"
"""The field of a view that describes the damage of its stored row."""

DAMAGES_SHOWN: Final = 5
"""Damaged rows that are named beside a list."""


def salvage(form: type[Struct], body: bytes) -> dict[str, Any]:
    """Return those fields of a JSON text that have the type `form` declares.

    The result is empty for a text that is cut off or is not an object.
    """
    try:
        found = parsers.from_json(_ANY, body)
    except msgspec.DecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(form):
        if field.encode_name in found:
            try:
                kept[field.name] = msgspec.convert(found[field.encode_name], field.type)
            except ValueError:
                continue
    return kept


def shown_id(key: str) -> str:
    """Return a key in the form of an id, to show a row whose id cannot be read."""
    text = _NO_ID.sub("_", key)[:TEXT_MAX]
    return text if text[:1].isalnum() else f"x{text}"[:TEXT_MAX]


def fit(view: S) -> S:
    """Return a view whose fields meet the constraints of its type; others are cut or replaced.

    The view's field `damaged`, if it has one, then names the changed fields.
    """
    kinds, form = _kinds(type(view)), type(view)
    try:
        msgspec.json.decode(msgspec.json.encode(view), type=form)  # as a client will
    except (ValueError, RecursionError):
        given = {name: getattr(view, name) for name in kinds}
        fitted = {name: _fit(kind, given[name]) for name, kind in kinds.items()}
        changed = sorted(name for name in kinds if fitted[name] != given[name])
        if changed and DAMAGED in kinds:
            said = f"its stored row is damaged: {', '.join(changed)} cannot be shown as stored"
            fitted[DAMAGED] = said[:REASON_MAX]
        return replace(view, **fitted)
    return view


def damages(answer: Any) -> list[str]:
    """Return, for each damaged row in an answer, one line that names it and says what is wrong."""
    return [
        f"{_label(row)}: {said}"
        for row in (answer, *getattr(answer, "items", ()))
        if (said := getattr(row, DAMAGED, ""))
    ]


def first_damages(told: list[str]) -> list[str]:
    """Return the first of such lines, and how many there are more."""
    left = len(told) - DAMAGES_SHOWN
    return told if left <= 0 else [*told[:DAMAGES_SHOWN], f"and {left} more damaged rows"]


def _label(row: Any) -> str:
    """Return the name of a row, else its id."""
    found = (getattr(row, name, "") for name in ("name", "id", "event"))
    return next((str(text) for text in found if text), type(row).__name__)


@cache
def _kinds(form: type[Struct]) -> dict[str, inspect.Type]:
    found = inspect.type_info(form)
    assert isinstance(found, inspect.StructType), form
    return {field.name: field.type for field in found.fields}


def _is_no_number(value: Any) -> bool:
    """Return whether a value is infinite or NaN, which JSON cannot express."""
    return isinstance(value, float) and not math.isfinite(value)


def _fit(kind: inspect.Type, value: Any) -> Any:
    if isinstance(kind, inspect.Metadata):
        return _fit(kind.type, value)
    if isinstance(kind, inspect.UnionType):
        others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return None if value is None or _is_no_number(value) else _fit(others[0], value)
    if isinstance(kind, inspect.StrType) and isinstance(value, str):
        if kind.pattern is not None and not re.search(kind.pattern, value):
            return shown_id(value)
        return value.encode(errors="replace").decode()[: kind.max_length]
    if _is_no_number(value):
        return 0.0
    if isinstance(kind, inspect.IntType | inspect.FloatType) and isinstance(value, int | float):
        least = value if kind.ge is None else max(value, kind.ge)
        return least if kind.le is None else min(least, kind.le)
    if isinstance(kind, inspect.LiteralType) and value not in kind.values and "" in kind.values:
        return ""
    return value
