"""Reading what is left of a stored row that does not decode, so that lists can show the rest."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.wire.limits import TEXT_MAX

_NO_ID: Final = re.compile(r"[^A-Za-z0-9_.:@-]")


def salvage(form: type[Struct], body: bytes) -> dict[str, Any]:
    """Return the fields of `form` that are in a JSON text and are as `form` has them.

    None are in a text that is cut off, or is no object.
    """
    try:
        found = msgspec.json.decode(body)
    except ValueError:
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
    """Return a key in the form of an id, for showing a row whose id cannot be read."""
    text = _NO_ID.sub("_", key)[:TEXT_MAX]
    return text if text[:1].isalnum() else f"x{text}"[:TEXT_MAX]
