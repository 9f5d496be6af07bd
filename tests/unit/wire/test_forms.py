"""Each pattern of the API has its form in words, with an example that fits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from holdfast.wire.api import table
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.instances import InstanceCreate
from holdfast.wire.forms import form_of, in_words

ROWS = tuple(
    row
    for rows in vars(table).values()
    if isinstance(rows, tuple)
    for row in rows
    if isinstance(row, Endpoint) and row.kind == "json"
)


def patterns_in(kind: inspect.Type, seen: set[Any]) -> Iterator[str]:
    """Yield the patterns of a type and of all that it holds."""
    if isinstance(kind, inspect.StrType):
        if kind.pattern:
            yield kind.pattern
        return
    if (cls := getattr(kind, "cls", None)) is not None:
        if cls in seen:
            return
        seen.add(cls)
    for name in ("item_type", "key_type", "value_type"):
        if isinstance(inner := getattr(kind, name, None), inspect.Type):
            yield from patterns_in(inner, seen)
    for inner in (*getattr(kind, "types", ()), *getattr(kind, "item_types", ())):
        yield from patterns_in(inner, seen)
    for field in getattr(kind, "fields", ()):
        yield from patterns_in(field.type, seen)


def test_every_pattern_has_words_and_a_fitting_example() -> None:
    seen: set[Any] = set()
    found = {
        pattern
        for row in ROWS
        if row.request not in {None, bytes}
        for pattern in patterns_in(inspect.type_info(row.request), seen)
    }
    found |= {
        param.pattern for row in ROWS for param in row.params if param.unknown("\x00") is None
    }
    assert len(found) > 30
    lacking = sorted(pattern for pattern in found if form_of(pattern) is None)
    assert not lacking, "say their forms in wire/forms.py"
    for pattern in found:
        form = form_of(pattern)
        assert form is not None
        assert re.search(f"^(?:{pattern})$", form.example), (pattern, form)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"name": "A B"}, InstanceCreate, "want small letters, digits and hyphens"),
        ({"name": "a", "env": {"1": ""}}, InstanceCreate, "such as 'LOG_LEVEL'"),
    ],
)
def test_an_error_says_the_form_in_place_of_the_pattern(
    body: dict[str, Any], kind: type[Any], said: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(body, kind)
    text = in_words(str(raised.value))
    assert said in text
    assert "regex" not in text
    assert " - at " in text
