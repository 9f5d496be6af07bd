"""Views of stored rows: what is as it should be stays, the rest is made to fit and named."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct
from msgspec.structs import replace

from holdfast.wire.api.endpoint import Counter, Id, Label, Reason
from holdfast.wire.salvage import fit, salvage


class View(Struct, frozen=True, kw_only=True):
    id: Id
    name: Label = ""
    other: Label | None = None
    many: Counter = 0
    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    rate: float = 0.0
    word: Literal["", "yes"] = ""
    damaged: Reason = ""


def test_a_view_as_it_should_be_stays_the_same() -> None:
    view = View(id="a", name="n", many=3, share=0.5, word="yes")
    assert fit(view) is view


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("id", "a b/\n\u00e9", "a_b___"),
        ("id", "", "x"),
        ("id", "-" * 999, "x" + "-" * 127),
        ("name", "n" * 999, "n" * 128),
        ("name", "\ud800x", "?x"),
        ("other", "o" * 999, "o" * 128),
        ("many", -1, 0),
        ("many", 2**60, 2**53 - 1),
        ("rate", math.inf, 0.0),
        ("rate", math.nan, 0.0),
        ("share", 7.0, 1.0),
        ("word", "no", ""),
    ],
)
def test_what_no_reader_takes_is_made_to_fit_and_named(field: str, value: Any, shown: Any) -> None:
    found = fit(replace(View(id="a", name="whole"), **{field: value}))
    assert getattr(found, field) == shown
    assert field in found.damaged
    assert msgspec.json.decode(msgspec.json.encode(found), type=View) == found


@pytest.mark.parametrize("body", [b"", b"{", b'{"id":"a"', b"[]", b"\xff", b"1"])
def test_nothing_is_salvaged_from_what_is_no_object(body: bytes) -> None:
    assert salvage(View, body) == {}


def test_fields_that_are_whole_are_salvaged() -> None:
    body = b'{"id":"a b","name":"n","many":"x","share":9,"word":"yes","new":1}'
    assert salvage(View, body) == {"name": "n", "word": "yes"}
