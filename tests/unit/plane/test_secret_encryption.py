"""The key ring: what it seals opens only where it was put, and rotation loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.instances.ports import Context, UnsealError
from holdfast.plane.key_folder import KEYRING_FILE, KeysError
from holdfast.plane.secret_encryption import (
    Key,
    KeyRing,
    drop,
    list_keys,
    make_keyring,
    open_keyring,
    rotate,
)

HERE = Context("acme", "i1", "TOKEN")


def test_a_ring_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    first = make_keyring(tmp_path, now_ms=1)
    assert (tmp_path / KEYRING_FILE).stat().st_mode & 0o777 == 0o600
    sealed = first.seal("value", HERE)
    assert "value" not in sealed
    assert open_keyring(tmp_path).open(sealed, HERE) == "value"


def test_a_ring_is_never_made_over_another_nor_by_opening(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_keyring(tmp_path)
    sealed = make_keyring(tmp_path, now_ms=1).seal("value", HERE)
    with pytest.raises(KeysError, match="there is a key ring"):
        make_keyring(tmp_path, now_ms=2)
    assert open_keyring(tmp_path).open(sealed, HERE) == "value"


@pytest.mark.parametrize(
    "other",
    [
        Context("other", "i1", "TOKEN"),
        Context("acme", "i2", "TOKEN"),
        Context("acme", "i1", "OTHER"),
        Context("acmei", "1", "TOKEN"),
    ],
)
def test_a_sealed_text_cannot_be_moved(tmp_path: Path, other: Context) -> None:
    ring = make_keyring(tmp_path, now_ms=1)
    sealed = ring.seal("value", HERE)
    with pytest.raises(UnsealError, match=other.name):
        ring.open(sealed, other)


def test_what_was_sealed_before_a_rotation_still_opens(tmp_path: Path) -> None:
    old = make_keyring(tmp_path, now_ms=1)
    sealed, env_key = old.seal("value", HERE), old.env_key("i1")
    machine = {"TOKEN": old.seal_env("value", env_key)}
    new = rotate(tmp_path, now_ms=2)
    assert new.newest != old.newest
    assert new.open(sealed, HERE) == "value"
    assert new.needs_resealing(sealed)
    assert not new.needs_resealing(new.seal("value", HERE))
    assert new.env_key("i1") != env_key, "a dropped key must be of no use"
    assert new.env_key_of("i1", machine) == (old.newest, env_key)
    fresh = {"TOKEN": new.seal_env("value", new.env_key("i1"))}
    assert new.env_key_of("i1", fresh) == (new.newest, new.env_key("i1"))
    with pytest.raises(UnsealError, match="TOKEN"):
        new.env_key_of("i2", machine)
    with pytest.raises(UnsealError, match="not on the ring"):
        old.open(new.seal("value", HERE), HERE)


def test_machines_have_keys_of_their_own(tmp_path: Path) -> None:
    ring = make_keyring(tmp_path, now_ms=1)
    assert ring.env_key("i1") != ring.env_key("i2")
    assert len(ring.env_key("i1")) == 32


@pytest.mark.parametrize("sealed", ["", "hf1", "hf1.x.y", "nonsense", "hf1..", "hf2.a.b"])
def test_nonsense_is_refused_without_showing_it(tmp_path: Path, sealed: str) -> None:
    with pytest.raises(UnsealError):
        make_keyring(tmp_path, now_ms=1).open(sealed, HERE)


@pytest.mark.parametrize("tail", ["!!", "AAAA", "A" * 80])
def test_a_damaged_text_is_refused(tmp_path: Path, tail: str) -> None:
    ring = make_keyring(tmp_path, now_ms=1)
    with pytest.raises(UnsealError):
        ring.open(f"hf1.{ring.newest}.{tail}", HERE)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_keyring(tmp_path, now_ms=1)
    (tmp_path / KEYRING_FILE).chmod(0o644)
    with pytest.raises(KeysError, match="chmod 600"):
        open_keyring(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"version":1,"keys":[]}'])
def test_a_damaged_file_is_refused_and_never_replaced(tmp_path: Path, text: str) -> None:
    make_keyring(tmp_path, now_ms=1)
    path = tmp_path / KEYRING_FILE
    path.write_text(text)
    with pytest.raises(KeysError):
        open_keyring(tmp_path)
    assert path.read_text() == text


def test_keys_never_print() -> None:
    key = Key("k1", "A" * 43 + "=", 0)
    ring = KeyRing((key,), entropy=lambda count: b"\0" * count)
    assert "AAAA" not in repr(key) + repr(ring) + str(key)
    with pytest.raises(KeysError, match="want 32"):
        KeyRing((Key("k1", "AAAA", 0),), entropy=lambda count: b"\0" * count)


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    counter = iter(range(10**9))
    ring = KeyRing(
        (Key("k1", "A" * 43 + "=", 0),), entropy=lambda count: next(counter).to_bytes(count, "big")
    )
    assert ring.open(ring.seal(text, HERE), HERE) == text


def test_a_ring_in_use_follows_one_that_was_rotated(tmp_path: Path) -> None:
    used = make_keyring(tmp_path, now_ms=1)
    sealed = used.seal("value", HERE)
    used.follow(rotate(tmp_path, now_ms=2))
    assert used.needs_resealing(sealed)
    assert used.open(sealed, HERE) == "value"
    assert used.ids == tuple(key.id for key in list_keys(tmp_path))


def test_a_key_is_dropped_for_good_and_never_the_one_that_seals(tmp_path: Path) -> None:
    old = make_keyring(tmp_path, now_ms=1)
    sealed = old.seal("value", HERE)
    with pytest.raises(KeysError, match="seals"):
        drop(tmp_path, old.newest)
    new = rotate(tmp_path, now_ms=2)
    with pytest.raises(KeysError, match="no key"):
        drop(tmp_path, "nobody's")
    drop(tmp_path, old.newest)
    assert [key.id for key in list_keys(tmp_path)] == [new.newest]
    with pytest.raises(UnsealError, match="not on the ring"):
        open_keyring(tmp_path).open(sealed, HERE)
