"""What an HTTP answer means, without HTTP."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.secret import Secret
from holdfast.outbox import (
    Answer,
    Answered,
    Batch,
    Failed,
    HttpSender,
    Item,
    Refusal,
    Rejected,
    Target,
    Throttled,
    TooLarge,
    Unauthorized,
    Unready,
)
from holdfast.outbox.http_sender import encode, read_answer, retry_after_ms

ITEMS = tuple(Item(n, f"e{n}", "event", "s", n, '{"n": 1.50}', 0, 1_000) for n in range(1, 4))
BATCH = Batch(ITEMS, 7, 5, 1, 2)
TARGET = Target("https://plane.example/api", Secret("hfm_key"))
ALL = frozenset({"e1", "e2", "e3"})


def read(status: int, body: object = None, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
    seen = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(BATCH, status, seen, raw, target=TARGET, now_ms=1_000_000)


def test_success_in_its_forms() -> None:
    assert read(204) == Answered(ALL, frozenset(), {})
    assert read(200, {"ok": True}) == Answered(ALL, frozenset(), {})
    assert read(200, {"deduplicated": True}) == Answered(frozenset(), ALL, {})
    lists = {"accepted": ["e1"], "deduplicated": ["e2"], "refused": [{"id": "e3", "code": "no"}]}
    assert read(200, lists) == Answered(
        frozenset({"e1"}), frozenset({"e2"}), {"e3": Refusal(422, "no")}
    )
    refused = {"refused": [{"id": "e3", "status": 400, "detail": "bad"}, {"id": 4}, "x"]}
    assert read(200, refused) == Answered(
        frozenset({"e1", "e2"}), frozenset(), {"e3": Refusal(400, "bad")}
    )


def test_a_page_that_is_not_ours_is_no_success() -> None:
    assert isinstance(read(200, b"<html>please log in</html>"), Failed)
    assert isinstance(read(200, b"[]"), Failed)


@pytest.mark.parametrize("status", [301, 302, 404, 405, 410, 500, 502, 503])
def test_what_says_nothing_about_the_items_is_tried_again(status: int) -> None:
    answer = read(status, {"detail": "x"}, retry_after="3")
    assert isinstance(answer, Failed)
    assert (answer.status, answer.retry_after_ms) == (status, 3_000)


def test_refusals() -> None:
    assert isinstance(read(401), Unauthorized)
    assert isinstance(read(403), Unauthorized)
    assert isinstance(read(413), TooLarge)
    assert isinstance(read(400, {"detail": "x"}), Rejected)
    assert isinstance(read(422), Rejected)
    named = read(422, {"refused": [{"id": "e2", "detail": "bad"}]})
    assert named == Answered(frozenset(), frozenset(), {"e2": Refusal(422, "bad")})
    assert read(429, retry_after="7") == Throttled("", 7_000)


def test_retry_after_as_a_date_is_measured_by_the_servers_own_clock() -> None:
    headers = {
        "retry-after": formatdate(5_000, usegmt=True),
        "date": formatdate(4_990, usegmt=True),
    }
    assert retry_after_ms(headers, 0) == 10_000
    assert retry_after_ms({"retry-after": formatdate(5_000, usegmt=True)}, 4_998_000) == 2_000
    assert retry_after_ms({"retry-after": "soon"}, 0) is None
    assert retry_after_ms({"retry-after": "99999999999999"}, 0) == 3_600_000
    assert retry_after_ms({}, 0) is None


def test_the_key_is_in_no_text() -> None:
    answer = read(500, b"no such key: hfm_key")
    assert isinstance(answer, Failed)
    assert "hfm_key" not in answer.detail


def test_payloads_are_sent_byte_for_byte() -> None:
    body = encode(BATCH)
    assert body.count(b'"payload":{"n": 1.50}') == 3
    assert json.loads(body)["depth"] == 7


@pytest.mark.parametrize(
    "target",
    [
        None,
        Target("", Secret("k")),
        Target("https://x", Secret("")),
        Target("http://x.example", Secret("k")),
    ],
)
def test_nothing_is_sent_without_key_address_or_protection(target: Target | None) -> None:
    sender = HttpSender(lambda: target, clock=ManualClock())
    assert isinstance(sender(BATCH), Unready)
