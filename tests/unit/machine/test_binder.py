"""What a handler receives, and how an invalid request is refused before it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.machine.controller.api.app import BOUND
from holdfast.machine.controller.api.binder import explain
from holdfast.wire.controller.config import ReplaceOrder
from holdfast.wire.controller.files import WriteOrder
from holdfast.wire.controller.machine import EnvOrder, RotateOrder
from holdfast.wire.controller.table import ROUTES

TOKEN = "a" * 32


def test_each_row_has_one_handler() -> None:
    assert sorted(bound.row.name for bound in BOUND) == sorted(row.name for row in ROUTES)
    assert all(bound.row in ROUTES for bound in BOUND)


@pytest.mark.parametrize(
    ("request_type", "body", "field", "fault", "want"),
    [
        (ReplaceOrder, {}, "config", "missing", "want an object"),
        (ReplaceOrder, {"config": 3}, "config", "type", "want an object"),
        (
            ReplaceOrder,
            {"config": {}, "etag": '"" '},
            "etag",
            "form",
            "want the etag that was read, or leave it out",
        ),
        (WriteOrder, {"content": ""}, "path", "missing", "missing"),
        (WriteOrder, {"path": [], "content": ""}, "path", "type", "want a text"),
        (
            WriteOrder,
            {"path": "x" * 1_025, "content": ""},
            "path",
            "length",
            "want at most 1024 characters",
        ),
        (
            WriteOrder,
            {"path": "", "content": "", "create": 1},
            "create",
            "type",
            "want true or false",
        ),
        (
            EnvOrder,
            {"a`\nb": 1},
            "a`\nb",
            "form",
            "cannot be changed here; want HOLDFAST_API_KEY, KILOCODE_API_KEY",
        ),
        (
            EnvOrder,
            {"HOLDFAST_API_KEY": "\n"[:0]},
            "HOLDFAST_API_KEY",
            "form",
            "want a text that is not empty",
        ),
        (
            RotateOrder,
            {"gatewayToken": TOKEN + "\n", "proxyToken": TOKEN, "overlapMs": 0},
            "gatewayToken",
            "form",
            "want 32 letters and digits at least",
        ),
        (
            RotateOrder,
            {"gatewayToken": TOKEN, "proxyToken": TOKEN, "overlapMs": 1.5},
            "overlapMs",
            "type",
            "want milliseconds, 0 to 604800000",
        ),
    ],
)
def test_what_is_wrong_is_named_in_the_words_of_its_field(
    request_type: Any, body: Any, field: str, fault: str, want: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(body, request_type)
    found = explain(str(caught.value), request_type)
    assert (found.field, found.fault, found.want) == (field, fault, want)
    refusal = found.refuse()
    assert refusal.body == {
        "error": f"{field}: {want}", "code": "invalid_request_body", "field": field,
    }  # fmt: skip


def test_null_and_absent_are_no_etag() -> None:
    bodies: tuple[dict[str, Any], ...] = ({"config": {}}, {"config": {}, "etag": None})
    for body in bodies:
        assert not msgspec.convert(body, ReplaceOrder).etag
    assert msgspec.convert({"config": {}, "etag": ' "e" '}, ReplaceOrder).etag == ' "e" '
