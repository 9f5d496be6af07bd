"""The meaning of an HTTP answer, without HTTP."""

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
    assert read(200, {"accepted": 3}) == Answered(ALL, {})
    assert read(202, {"accepted": 0, "deduplicated": True}) == Answered(ALL, {}, 3)
    refusal = {"event_id": "e3", "code": "no", "detail": "never"}
    counted = {"accepted": 1, "deduplicated": 1, "refused": [refusal], "high_water": 2}
    two = frozenset({"e1", "e2"})
    assert read(200, counted) == Answered(two, {"e3": Refusal(422, "no: never")}, 1)
    refused: dict[str, object] = {"accepted": 2}
    refused["refused"] = [{"event_id": "e3", "status": 400, "detail": "bad"}, {"id": 4}, "x"]
    assert read(200, refused) == Answered(two, {"e3": Refusal(400, "bad")})


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"<html>please log in</html>", b"[]", b"{}", b'{"ok":true}',
     b'{"accepted":true}', b'{"accepted":"3"}', b'{"deduplicated":true}'],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_that_is_not_an_intakes_delivers_nothing(status: int, body: bytes) -> None:
    answer = read(status, body, retry_after="3")
    assert isinstance(answer, Failed)
    assert (answer.status, answer.retry_after_ms) == (status, 3_000)
    assert answer.detail.startswith("not an answer of an intake")


@pytest.mark.parametrize("status", [301, 302, 404, 405, 410, 500, 502, 503])
def test_what_says_nothing_about_the_items_is_tried_again(status: int) -> None:
    answer = read(status, {"detail": "x"}, retry_after="3")
    assert isinstance(answer, Failed)
    assert (answer.status, answer.retry_after_ms) == (status, 3_000)


def test_refusals() -> None:
    assert isinstance(read(401), Unauthorized)
    assert isinstance(read(403), Unauthorized)
    assert isinstance(read(413), TooLarge)
    assert isinstance(read(400, {"detail": "x", "code": "no_content"}), Rejected)
    assert isinstance(read(422, {"code": "bad"}), Rejected)
    named = read(422, {"refused": [{"event_id": "e2", "detail": "bad"}]})
    assert named == Answered(frozenset(), {"e2": Refusal(422, "bad")})
    assert read(429, retry_after="7") == Throttled("", 7_000)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Request</html>", b'{"detail":"x"}', b'{"code":7}',
     b'{"code":"unsupported_version","detail":"x"}', b'{"code":"not_json"}',
     b'{"code":"bad_field"}', b'{"code":"bad_parameter"}'],
)  # fmt: skip
def test_a_refusal_of_the_envelope_buries_no_row(status: int, body: bytes) -> None:
    answer = read(status, body)
    assert isinstance(answer, Failed)
    assert answer.detail.endswith(body.decode())


@pytest.mark.parametrize("status", [200, 207, 400, 503])
def test_an_answer_that_is_nested_too_deeply_is_one_without_a_form(status: int) -> None:
    assert type(read(status, b"[" * 100_000)) is type(read(status, b"no JSON"))


@pytest.mark.parametrize("payload", ['{"n": NaN}', "{", "[" * 100_000])
def test_a_payload_that_is_no_json_is_found(payload: str) -> None:
    bad = Batch((*ITEMS[:2], ITEMS[2]._replace(payload=payload)), 7, 5, 1, 2)
    answer = read_answer(bad, 400, {}, b'{"code":"not_json"}', target=TARGET, now_ms=0)
    assert isinstance(answer, Rejected)


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
    body = encode(BATCH, agent="holdfast/1.0", name="poet")
    assert body.count(b'"payload":{"n": 1.50}') == 3
    read_back = json.loads(body)
    rows = read_back.pop("rows")
    assert read_back == {
        "version": 1,
        "sdk": "holdfast/1.0",
        "source": "s",
        "brain": "poet",
        "queue": {"depth": 7, "oldest_ms": 5, "dropped": 1, "lost": 2},
    }
    assert rows[0] == {
        "seq": 1, "kind": "event", "event_id": "e1", "at_ms": 1_000, "payload": {"n": 1.5},
    }  # fmt: skip


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
