"""One entry of an agent's store: what is accepted, what is dropped, what must not be passed on."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from holdfast.machine.controller.pairing.openclaw.entries import (
    channel_request_id,
    channel_rows,
    device_rows,
    read_moment,
)
from holdfast.wire.controller.pairing import CHANNEL_REQUEST_PATTERN

AT = "2026-11-21T01:37:21.888Z"
AT_MS = 1_795_225_041_888


def person(**changed: Any) -> dict[str, Any]:
    return {"id": "777001", "code": "N9EMCT7A", "createdAt": AT, "lastSeenAt": AT,
            "meta": {"username": "tester", "accountId": "default"}, **changed}  # fmt: skip


def device(**changed: Any) -> dict[str, Any]:
    return {
        "requestId": "8d08d697-1111-4222-8333-444455556666", "deviceId": "fb99", "role": "operator",
        "publicKey": "U-ekPUBLIC", "roles": ["operator"], "scopes": ["operator.read"],
        "platform": "linux", "clientId": "cli", "clientMode": "cli", "displayName": "probe",
        "remoteIp": "203.0.113.9", "silent": False, "isRepair": True, "ts": AT_MS, **changed,
    }  # fmt: skip


def test_a_person_keeps_every_field_and_gets_ours() -> None:
    (row,) = channel_rows("telegram", [person(lang="de", channel="forged", fingerprint="forged")])
    assert row.entry["channel"] == "telegram"
    assert row.entry["lang"] == "de", "what we do not know is passed on"
    assert row.entry["fingerprint"] == row.fingerprint
    assert row.entry["fingerprint"] != "forged"
    assert row.entry["meta"] == {"username": "tester", "accountId": "default"}
    assert (row.entry["id"], row.entry["code"]) == ("777001", "N9EMCT7A")
    assert row.expires_ms == AT_MS + 3_600_000
    assert row.entry["expiresAt"] == "2026-11-21T02:37:21.888Z"


@pytest.mark.parametrize(
    "changed",
    [{"code": ""}, {"id": ""}, {"code": 5}, {"id": None}, {"createdAt": ""}, {"createdAt": "soon"},
     {"createdAt": None}, {"createdAt": 5}, {"code": "x" * 129}, {"createdAt": "9999-12-31"}],
)  # fmt: skip
def test_one_malformed_person_spoils_nobody_else(changed: dict[str, Any]) -> None:
    rows = channel_rows("telegram", [person(**changed), "text", None, person(id="2", code="B")])
    assert [row.code for row in rows] == ["B"]


def test_a_source_without_codes_has_requests_all_the_same() -> None:
    (row,) = channel_rows("telegram", [person(code=None)], coded=False)
    assert (row.code, row.code_mark) == ("", "")
    (coded,) = channel_rows("telegram", [person()])
    assert (row.key, row.fingerprint) == (coded.key, coded.fingerprint)


def test_secrets_in_unknown_fields_stay_here() -> None:
    nested = {"apiKey": "k", "note": "Bearer abcdefgh", "deep": {"a": {"b": {"c": {"d": 1}}}}}
    (row,) = channel_rows("telegram", [person(botToken="t", publicKey="p", more=nested)])
    assert "botToken" not in row.entry
    assert "publicKey" not in row.entry
    assert row.entry["more"] == {"note": "[hidden]", "deep": {"a": None}}


def test_a_request_is_named_as_the_agent_names_it() -> None:
    (row,) = channel_rows("telegram", [person()])
    digest = hashlib.sha256(f"telegram\0default\x00777001\0{AT}".encode()).digest()
    assert row.key == base64.urlsafe_b64encode(digest).decode()[:32]
    assert len(row.key) == 32
    assert channel_request_id("telegram", "default", "777001", AT) == row.key
    again = channel_rows("telegram", [person(createdAt="2026-11-21T01:37:21.889Z")])
    assert again[0].key != row.key, "who asks again asks anew"
    assert CHANNEL_REQUEST_PATTERN.endswith("{32}")


def test_the_account_is_part_of_the_name() -> None:
    rows = channel_rows("telegram", [person(), person(meta={"accountId": "second"})])
    assert len({row.key for row in rows}) == 2
    assert {row.entry["accountId"] for row in rows} == {"default", "second"}


def test_a_device_shows_exactly_the_fields_of_the_list() -> None:
    (row,) = device_rows([device(token="secret", tokens=[1], extra=1)])
    assert set(row.entry) == {
        "requestId", "deviceId", "role", "roles", "scopes", "platform", "clientId", "clientMode",
        "displayName", "remoteIp", "isRepair", "ts", "expiresAt", "fingerprint",
    }  # fmt: skip
    assert "U-ekPUBLIC" not in str(row.entry)


@pytest.mark.parametrize("changed", [{"requestId": ""}, {"deviceId": ""}, {"requestId": 1}])
def test_one_malformed_device_spoils_no_other(changed: dict[str, Any]) -> None:
    assert len(device_rows([device(**changed), device(), 7])) == 1


def test_devices_are_newest_first_and_those_without_a_time_last() -> None:
    rows = device_rows([device(requestId="a", ts=None), device(requestId="b", ts=1),
                        device(requestId="c", ts=2)])  # fmt: skip
    assert [row.key for row in rows] == ["c", "b", "a"]
    assert rows[2].expires_ms is None
    assert "ts" not in rows[2].entry


@pytest.mark.parametrize("ts", [True, "5", float("nan"), float("inf"), -1, 2**60])
def test_a_time_that_is_none_counts_as_missing(ts: object) -> None:
    (row,) = device_rows([device(ts=ts)])
    assert row.expires_ms is None


def test_a_refresh_of_a_device_request_prolongs_it() -> None:
    (row,) = device_rows([device(refreshedAtMs=AT_MS + 60_000)])
    assert row.expires_ms == AT_MS + 360_000
    assert row.entry["ts"] == AT_MS


def test_the_fingerprint_is_of_what_would_be_granted() -> None:
    (before,) = device_rows([device()])
    (same,) = device_rows([device(displayName="other", ts=AT_MS + 5, roles=[])])
    (more,) = device_rows([device(scopes=["operator.read", "operator.admin"])])
    (other,) = device_rows([device(role="node")])
    assert before.fingerprint == same.fingerprint
    assert len({before.fingerprint, more.fingerprint, other.fingerprint}) == 3


def test_times_are_read_with_and_without_a_zone() -> None:
    assert read_moment(AT) == AT_MS
    assert read_moment("2026-11-21T01:37:21.888") == AT_MS
    assert read_moment("2026-11-21T02:37:21.888+01:00") == AT_MS
    assert read_moment("0001-01-01T00:00:00Z") is None
    assert read_moment(5) is None
