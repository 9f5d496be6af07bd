"""The key that signs consent: made once, replaced by one that it signs, and verified exactly."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.machine.observer.gate import GateState, read_answer, take
from holdfast.machine.observer.limits import ANSWER_BYTES_MAX
from holdfast.plane.consent_key import (
    CONSENT_KEY_FILE,
    ConsentKey,
    key_id,
    key_ids,
    make_consent_key,
    read_consent_key,
    read_or_make_consent_key,
    rotate_consent_key,
    trusted_keys,
    verify,
)
from holdfast.plane.key_folder import KeysError
from holdfast.wire.api.clawmetry import HeartbeatAnswer
from holdfast.wire.consent import (
    SIGNED_PREFIX,
    Grant,
    Successor,
    encode_document,
    from_base64url,
    to_base64url,
)
from holdfast.wire.limits import SUCCESSORS_MAX

GRANT = Grant(version=1, node="nd_1", number=1, classes=("logs",), at_ms=1, backfill_from_ms=0)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return folder


def test_a_key_is_made_once_and_readable_by_its_owner_alone(keys: Path) -> None:
    assert read_consent_key(keys) is None
    made = read_or_make_consent_key(keys, now_ms=5)
    assert read_or_make_consent_key(keys, now_ms=6).public_key == made.public_key
    path = keys / CONSENT_KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert key_ids(path.read_bytes()) == (made.key_id,)
    assert repr(made) == f"ConsentKey({made.key_id})"
    seed = json.loads(path.read_bytes())["seed"]
    assert seed not in repr(made)
    path.chmod(0o644)
    with pytest.raises(KeysError, match="others may read it"):
        read_consent_key(keys)


def test_exactly_what_was_signed_is_verified() -> None:
    key = make_consent_key(bytes(32), now_ms=0)
    other = make_consent_key(bytes(range(32)), now_ms=0)
    signed = key.sign(encode_document(GRANT))
    assert verify(signed, key.public_key) == GRANT
    raw = bytearray(from_base64url(signed.signature))
    raw[0] ^= 1
    changed = to_base64url(encode_document(replace(GRANT, classes=("files",))))
    for wrong in (
        replace(signed, payload=changed),
        replace(signed, signature=to_base64url(bytes(raw))),
        replace(signed, signature=""),
        replace(signed, payload="="),
        replace(signed, key=other.key_id),
        replace(signed, payload=to_base64url(SIGNED_PREFIX + encode_document(GRANT))),
    ):
        with pytest.raises(ValueError, match=r"signature|another key|base64url"):
            verify(wrong, key.public_key)
    with pytest.raises(ValueError, match="not of this key"):
        verify(signed, other.public_key)
    with pytest.raises(ValueError, match="not a document that is known"):
        verify(key.sign(b'{"type":"order"}'), key.public_key)
    with pytest.raises(ValueError, match="32 bytes"):
        verify(signed, "AAAA")


def test_a_successor_is_signed_by_the_key_before_and_followed(keys: Path) -> None:
    with pytest.raises(KeysError, match="is not there"):
        rotate_consent_key(keys, now_ms=1)
    first = read_or_make_consent_key(keys, now_ms=1)
    running = read_consent_key(keys)
    assert running is not None
    second = rotate_consent_key(keys, now_ms=2)
    third = rotate_consent_key(keys, now_ms=3)
    running.follow(third)
    assert running.public_key == third.public_key
    assert [one.created_ms for one in third.keys] == [1, 2, 3]
    said = verify(third.successors[0], first.public_key)
    assert said == Successor(version=1, public_key=second.public_key, at_ms=2)
    trusted = trusted_keys((first.public_key,), third.successors)
    assert trusted == {key_id(one.public_key): one.public_key for one in (first, second, third)}
    assert trusted_keys((second.public_key,), third.successors).keys() == {
        second.key_id, third.key_id,
    }  # fmt: skip
    stranger = make_consent_key(bytes(32), now_ms=0)
    assert trusted_keys((stranger.public_key,), third.successors).keys() == {stranger.key_id}
    forged = stranger.sign(encode_document(said))
    assert trusted_keys((first.public_key,), (forged,)).keys() == {first.key_id}
    with pytest.raises(ValueError, match="not of this key"):
        trusted_keys((first.public_key,), (replace(forged, key=first.key_id),))
    assert not isinstance(said, Grant)
    assert (keys / CONSENT_KEY_FILE).read_text().count("seed") == 1


def test_every_successor_that_a_key_may_have_is_in_one_heartbeat(keys: Path) -> None:
    """A node that pinned the very first key follows, so no rotation is past what it is told."""
    first = newest = read_or_make_consent_key(keys, now_ms=0)
    for now_ms in range(SUCCESSORS_MAX):
        newest = rotate_consent_key(keys, now_ms=now_ms)
    with pytest.raises(KeysError, match=f"rotated {SUCCESSORS_MAX} times.*register again"):
        rotate_consent_key(keys, now_ms=SUCCESSORS_MAX)
    answer = HeartbeatAnswer(
        ok=True, sync_allowed=False, reason="intent_pending", viewer_active=False,
        keys=newest.successors[-SUCCESSORS_MAX:],
    )  # fmt: skip
    raw = msgspec.json.encode(answer)
    assert len(raw) <= ANSWER_BYTES_MAX // 2
    told = read_answer(200, raw)
    assert told is not None
    taken = take(GateState(node="nd_1", keys=(first.public_key,)), told, 0)
    assert taken.state.keys[-1] == newest.public_key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file | {"seed": "AAAA"}, "not a key"),
        (lambda file: file | {"keys": []}, "halves differ"),
        (lambda file: file | {"seed": to_base64url(bytes(32))}, "halves differ"),
        (lambda file: file | {"more": 1}, "not a consent key"),
        (lambda file: {}, "not a consent key"),
    ],
    ids=["short", "keyless", "other seed", "strange field", "empty"],
)
def test_a_damaged_file_is_named_and_not_replaced(keys: Path, change: object, said: str) -> None:
    read_or_make_consent_key(keys, now_ms=1)
    path = keys / CONSENT_KEY_FILE
    path.write_text(json.dumps(change(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(KeysError, match=said):
        read_or_make_consent_key(keys, now_ms=2)
    assert isinstance(make_consent_key(bytes(32), now_ms=0), ConsentKey)
