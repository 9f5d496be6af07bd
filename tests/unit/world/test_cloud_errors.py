from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.outcome import Conflict, Permanent, Retryable
from holdfast.world.clouds.errors import (
    RETRY_AFTER_MS_MAX,
    classify,
    holder_of,
    retry_after_ms,
    unrecognised,
)
from holdfast.world.clouds.port import (
    CAPACITY,
    CONFLICT,
    DENIED,
    INVALID,
    MISSING_VOLUME,
    NAME_TAKEN,
    NOT_FOUND,
    RATE_LIMITED,
    TRANSIENT,
    WAIT_TIMEOUT,
)

TAKEN = (
    '{"error":"already_exists: unique machine name violation, machine ID 3d8d9 '
    'already exists with name \\"box\\""}'
)


@pytest.mark.parametrize("status", [409, 422])
def test_a_taken_name_is_told_by_its_text_and_names_the_holder(status: int) -> None:
    failure = classify(status, TAKEN)
    assert isinstance(failure, Conflict)
    assert (failure.code, failure.holder) == (NAME_TAKEN, "3d8d9")


def test_a_taken_name_without_an_id_has_no_holder() -> None:
    failure = classify(409, "unique machine name violation")
    assert failure == Conflict(NAME_TAKEN, "409: unique machine name violation", None)
    assert holder_of("") is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (412, '{"error":"insufficient resources to create new volume"}'),
        (409, '{"error":"insufficient memory available to fulfill request"}'),
        (409, "could not: INSUFFICIENT Memory"),
        (400, '{"error":"no capacity in region ams"}'),
        (403, '{"error":"you are over the allowed quota"}'),
        (412, '{"status":"insufficient resources"}'),
        (412, '["insufficient resources"]'),
    ],
)
def test_a_lack_of_capacity_is_recognised_by_its_text(status: int, body: str) -> None:
    failure = classify(status, body)
    assert isinstance(failure, Retryable)
    assert failure.code == CAPACITY


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (409, '{"error":"concurrent update in progress"}', CONFLICT),
        (412, '{"error":"failed_precondition: machine version mismatch"}', CONFLICT),
        (409, "", CONFLICT),
        (409, TAKEN.replace("violation", "violation, insufficient memory"), NAME_TAKEN),
        (500, '{"error":"insufficient resources"}', TRANSIENT),
        (422, '{"error":"insufficient resources"}', INVALID),
    ],
)
def test_what_only_looks_like_a_lack_of_capacity_is_not(status: int, body: str, code: str) -> None:
    assert classify(status, body).code == code


@pytest.mark.parametrize("body", ["[" * 100_000, '{"error":' * 100_000, '{"error": "\ud800"}'])
def test_a_body_of_any_form_is_classified(body: str) -> None:
    assert classify(503, body).code == classify(503, "").code


def test_a_conflict_without_a_known_marker_is_worth_a_warning() -> None:
    assert unrecognised(409, classify(409, "something new"))
    assert not unrecognised(409, classify(409, TAKEN))
    assert not unrecognised(412, classify(412, "insufficient resources"))
    assert not unrecognised(500, classify(500, ""))


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize(
    "text", ["volume does not exist", "Volume not found", "could not find volume vol_1"]
)
def test_a_missing_volume_comes_before_plain_absence(status: int, text: str) -> None:
    failure = classify(status, f'{{"error":"{text}"}}')
    assert isinstance(failure, Permanent)
    assert failure.code == MISSING_VOLUME


def test_who_asks_for_the_volume_itself_hears_not_found() -> None:
    assert classify(404, '{"error":"volume not found"}', subject="volume").code == NOT_FOUND


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, NOT_FOUND, Permanent),
        (408, WAIT_TIMEOUT, Retryable),
        (429, RATE_LIMITED, Retryable),
        (401, DENIED, Permanent),
        (403, DENIED, Permanent),
        (400, INVALID, Permanent),
        (422, INVALID, Permanent),
        (0, TRANSIENT, Retryable),
        (302, TRANSIENT, Retryable),
        (418, TRANSIENT, Retryable),
        (500, TRANSIENT, Retryable),
        (503, TRANSIENT, Retryable),
    ],
)
def test_the_status_decides_where_the_text_does_not(status: int, code: str, kind: type) -> None:
    failure = classify(status, "{}")
    assert isinstance(failure, kind)
    assert failure.code == code


@given(status=st.integers(0, 599).filter(lambda one: one != 404), body=st.text(max_size=200))
def test_only_a_404_is_ever_taken_for_absence(status: int, body: str) -> None:
    assert classify(status, body).code != NOT_FOUND


def test_a_rate_limit_says_when_to_come_back() -> None:
    told = classify(429, "", retry_after="7")
    assert isinstance(told, Retryable)
    assert told.retry_after_ms == 7_000
    untold = classify(429, "")
    assert isinstance(untold, Retryable)
    assert untold.retry_after_ms == 1_000
    busy = classify(503, "", retry_after="2")
    assert isinstance(busy, Retryable)
    assert busy.retry_after_ms == 2_000


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        (" 3 ", 3_000),
        ("999999999", RETRY_AFTER_MS_MAX),
        ("Tue, 14 Nov 2023 22:13:25 GMT", 5_000),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str | None, wait_ms: int | None) -> None:
    assert retry_after_ms(header, now_ms=1_700_000_000_000) == wait_ms


def test_a_failure_repeats_no_secret_and_no_novel() -> None:
    body = '{"error":"bad header Authorization: Bearer abc.def ' + "x" * 2_000 + '"}'
    message = classify(400, body).message
    assert "abc.def" not in message
    assert len(message) < 500
