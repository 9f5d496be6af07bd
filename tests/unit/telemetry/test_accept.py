"""The order of checks of a check-in, and what each looks at."""

from __future__ import annotations

import random

import pytest

from holdfast.letters.machine import MachineFacts
from holdfast.telemetry.accept import Admitted, Rejected, admit
from holdfast.wire.controller.identity import gateway_token, key_hash, sandbox_of_user
from holdfast.wire.limits import CHECKIN_BODY_BYTES_MAX
from tests.support.toys.machines import CONTRACT, KEY, NOW_MS, OURS, SECRET, body, facts, headers

ONE = facts()


def judge(
    header: dict[str, str],
    raw: bytes | None,
    *known: MachineFacts,
    secret: str = SECRET,
    trusted_proxy: bool = False,
    now_ms: int = NOW_MS,
) -> Admitted | Rejected:
    machine_index = {machine.sandbox: machine for machine in known or (ONE,)}
    return admit(
        header,
        raw,
        secret=secret,
        find=machine_index.get,
        now_ms=now_ms,
        trusted_proxy=trusted_proxy,
    )


def status(answer: Admitted | Rejected) -> int:
    return answer.status if isinstance(answer, Rejected) else 0


@pytest.mark.parametrize(("form", "ours"), [(CONTRACT, False), (OURS, True)])
def test_a_proven_checkin_is_admitted(form: dict[str, object], *, ours: bool) -> None:
    answer = judge(headers(ONE), body(form))
    assert isinstance(answer, Admitted)
    assert (answer.facts, answer.ours, answer.region) == (ONE, ours, "fra")
    assert answer.checkin.total_restarts == 3


def test_either_spelling_of_the_gateway_header_is_taken() -> None:
    header = headers(ONE)
    header["x-holdfast-gateway-token"] = header.pop("x-kiloclaw-gateway-token")
    assert status(judge(header, body())) == 0


def test_the_scheme_may_be_written_in_any_case() -> None:
    header = {**headers(ONE), "authorization": f"bEARER {KEY}"}
    assert status(judge(header, body())) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"authorization": ""},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {KEY}"},
        {"x-kiloclaw-gateway-token": ""},
    ],
)
def test_a_missing_credential_comes_before_everything(change: dict[str, str]) -> None:
    assert status(judge({**headers(ONE), **change}, b"not json", secret="")) == 401


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"null",
        b"not json",
        b"[]",
        b"\xff\xfe",
        body(sandboxId=""),
        body(totalRestarts=-1),
        body(totalRestarts=2**53),
        body(totalRestarts=1.5),
        body(loadAvg5m="1"),
        body(uptimeSeconds=-0.1),
        body().replace(b"0.25", b"1e999"),
        body().replace(b"0.25", b"NaN"),
        body(lastExitReason="x" * 513),
        body(controllerVersion="x" * 129),
        body(outcomes=[{"id": "a", "ok": True}] * 17),
        body({k: v for k, v in OURS.items() if k != "openclawVersion"}),
    ],
)
def test_a_malformed_body_comes_before_the_secret(raw: bytes | None) -> None:
    assert status(judge(headers(ONE), raw, secret="")) == 400


def test_an_unset_secret_comes_before_the_gateway_token() -> None:
    header = {**headers(ONE), "x-kiloclaw-gateway-token": "wrong"}
    assert status(judge(header, body(), secret="")) == 503


def test_a_wrong_gateway_token_comes_before_an_undecodable_sandbox() -> None:
    header = {**headers(ONE), "x-kiloclaw-gateway-token": "wrong"}
    assert status(judge(header, body(sandboxId="@@@"))) == 403


@pytest.mark.parametrize("sandbox", ["@@@", "a", "ki_" + "g" * 32 + "=", "x" * 64, "_w"])
def test_an_undecodable_sandbox_with_its_token_is_a_bad_request(sandbox: str) -> None:
    header = headers(facts(sandbox=sandbox))
    assert status(judge(header, body(sandboxId=sandbox))) == 400


def test_an_unknown_sandbox_is_refused_as_a_wrong_key_is() -> None:
    unknown = facts(2)
    one = judge(headers(unknown), body(sandboxId=unknown.sandbox))
    other = judge(headers(ONE, key="hfm_wrong"), body())
    assert one == other
    assert status(one) == 403


def test_a_machine_without_a_key_on_record_is_refused() -> None:
    assert status(judge(headers(ONE), body(), facts(api_key_hash=""))) == 403


def test_an_older_sandbox_id_is_found_by_itself() -> None:
    legacy = facts(sandbox=sandbox_of_user("ann@example.com"))
    assert status(judge(headers(legacy), body(sandboxId=legacy.sandbox), legacy)) == 0


def test_another_machines_credentials_prove_nothing() -> None:
    two = facts(2, api_key_hash=key_hash("hfm_two"))
    assert status(judge(headers(two, key="hfm_two"), body(), ONE, two)) == 403
    assert status(judge(headers(ONE, key="hfm_two"), body(), ONE, two)) == 403


def test_the_key_before_is_good_until_it_expires() -> None:
    rotated = facts(
        api_key_hash=key_hash("hfm_new"),
        previous_key_hash=key_hash(KEY),
        previous_key_until_ms=NOW_MS + 1,
    )
    assert status(judge(headers(rotated), body(), rotated)) == 0
    assert status(judge(headers(rotated), body(), rotated, now_ms=NOW_MS + 1)) == 403
    assert status(judge(headers(rotated, key="hfm_new"), body(), rotated)) == 0


def test_the_token_before_is_good_while_the_versions_overlap() -> None:
    for version in (0, 1, 7):
        before = facts(token_version=version)
        now = facts(token_version=version + 1, previous_token_until_ms=NOW_MS + 1)
        assert status(judge(headers(before), body(), now)) == 0
        assert status(judge(headers(before), body(), now, now_ms=NOW_MS + 1)) == 403
        assert status(judge(headers(now), body(), now)) == 0
        assert status(judge(headers(now), body(), before)) == 403


def test_a_token_two_versions_old_is_refused() -> None:
    now = facts(token_version=2, previous_token_until_ms=NOW_MS + 1)
    assert status(judge(headers(facts(token_version=0)), body(), now)) == 403


def test_an_oversized_body_is_refused_before_it_is_read() -> None:
    raw = body(padding="x" * CHECKIN_BODY_BYTES_MAX)
    assert status(judge(headers(ONE), raw)) == 413


def test_unknown_keys_are_dropped() -> None:
    assert status(judge(headers(ONE), body(productTelemetry={"channelCount": 1}))) == 0


def test_a_region_is_believed_only_behind_a_trusted_proxy() -> None:
    header = headers(ONE, **{"fly-region": "syd"})
    direct = judge(header, body())
    proxied = judge(header, body(), trusted_proxy=True)
    silent = judge(headers(ONE), body(), trusted_proxy=True)
    assert isinstance(direct, Admitted)
    assert isinstance(proxied, Admitted)
    assert isinstance(silent, Admitted)
    assert (direct.region, proxied.region, silent.region) == ("fra", "syd", "fra")


def test_an_unknown_protocol_counts_as_the_contracts_form() -> None:
    answer = judge(headers(ONE), body(protocol=9))
    assert isinstance(answer, Admitted)
    assert not answer.ours
    assert (answer.checkin.boot_id, answer.checkin.protocol) == ("", None)


def test_the_token_is_the_contracts() -> None:
    token = gateway_token(SECRET, ONE.sandbox)
    assert len(token) == 64
    assert set(token) <= set("0123456789abcdef")
    assert token == gateway_token(SECRET, ONE.sandbox)
    assert len({token, gateway_token(SECRET, "b"), gateway_token("c", ONE.sandbox)}) == 3


@pytest.mark.parametrize("seed", range(4))
def test_rotating_both_credentials_refuses_nobody_for_long(seed: int) -> None:
    """10,000 rotations in all; a machine learns of each credential by itself, at most late.

    A check-in may be built before a rotation and arrive after it. The overlap is three beats, and
    now and then a machine learns of a credential only after it.
    """
    chance = random.Random(seed)
    beat_ms, overlap_ms = 60_000, 180_000
    known, keys = facts(), [KEY]
    holds = {"key": KEY, "version": 0}
    now_ms, refused, worst, rotations = NOW_MS, 0, 0, 0
    next_rotation_ms = now_ms
    learn_at: list[tuple[int, str, object]] = []
    while rotations < 2_500:
        sent = (str(holds["key"]), int(str(holds["version"])))
        now_ms += chance.randrange(1, 500)
        if now_ms >= next_rotation_ms:
            rotations += 1
            keys.append(f"hfm_{rotations}")
            known = facts(
                api_key_hash=key_hash(keys[-1]),
                previous_key_hash=key_hash(keys[-2]),
                previous_key_until_ms=now_ms + overlap_ms,
                token_version=rotations,
                previous_token_until_ms=now_ms + overlap_ms,
            )
            next_rotation_ms = now_ms + 2 * overlap_ms
            learn_at = [
                (now_ms + chance.randrange(int(4.5 * beat_ms)), "key", keys[-1]),
                (now_ms + chance.randrange(int(4.5 * beat_ms)), "version", rotations),
            ]
        header = headers(facts(token_version=sent[1]), key=sent[0])
        answer = judge(header, body(), known, now_ms=now_ms)
        refused = refused + 1 if isinstance(answer, Rejected) else 0
        worst = max(worst, refused)
        now_ms += beat_ms
        holds |= {name: value for at_ms, name, value in learn_at if at_ms <= now_ms}
    assert 1 <= worst <= 2
