"""Blobs as existing viewers open them, and what of them can be read without the key."""

from __future__ import annotations

import base64
import hmac
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.machine.content_key import key_of
from holdfast.machine.observer import limits
from holdfast.machine.observer.sealing import Sealer, make_key

KEY = base64.b64encode(bytes(range(32))).decode()


def test_a_blob_is_nonce_ciphertext_and_tag_in_base64url_with_padding() -> None:
    blob = Sealer(key_of(KEY), draw=os.urandom).seal(b'{"a":1}', compress=False)
    raw = base64.urlsafe_b64decode(blob)
    assert base64.urlsafe_b64encode(raw).decode() == blob
    assert len(raw) == 12 + len(b'{"a":1}') + 16
    assert AESGCM(bytes(range(32))).decrypt(raw[:12], raw[12:], None) == b'{"a":1}'


def test_each_blob_has_a_nonce_of_its_own() -> None:
    sealer = Sealer(key_of(KEY), draw=os.urandom)
    assert len({sealer.seal(b"same", compress=False) for _ in range(200)}) == 200


def test_compression_is_inside_the_seal_and_of_large_texts_only() -> None:
    sealer = Sealer(key_of(KEY), draw=os.urandom)
    large = b"x" * limits.GZIP_BYTES_MIN
    assert len(sealer.seal(large, compress=True)) < 300
    assert len(sealer.seal(large[1:], compress=True)) > limits.GZIP_BYTES_MIN
    assert sealer.unseal(sealer.seal(large, compress=True)) == large


def test_a_name_is_always_the_same_and_says_nothing_without_the_key() -> None:
    sealer = Sealer(key_of(KEY), draw=os.urandom)
    name = sealer.name_of("openclaw/main/s1.jsonl")
    assert name == Sealer(key_of(KEY), draw=os.urandom).name_of("openclaw/main/s1.jsonl")
    others = [Sealer(bytes([seed]) * 32, draw=os.urandom) for seed in range(64)]
    named = {other.name_of("openclaw/main/s1.jsonl") for other in others}
    assert len(named | {name}) == 65
    assert sealer.name_of("openclaw/main/s2.jsonl") != name
    # Not the key of the seal itself.
    raw = hmac.digest(key_of(KEY), b"openclaw/main/s1.jsonl", "sha256").hex()
    assert name != raw[: len(name)]
    assert len(sealer.name_of("\udcff")) == len(name) == 24


def test_a_changed_blob_or_another_key_opens_nothing() -> None:
    sealer = Sealer(key_of(KEY), draw=os.urandom)
    blob = sealer.seal(b"secret", compress=False)
    raw = bytearray(base64.urlsafe_b64decode(blob))
    raw[14] ^= 1
    for wrong in (base64.urlsafe_b64encode(raw).decode(), "", "A", "AAAA"):
        with pytest.raises(ValueError, match="not sealed with this key"):
            sealer.unseal(wrong)
    with pytest.raises(ValueError, match="not sealed with this key"):
        Sealer(key_of("another"), draw=os.urandom).unseal(blob)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_keys_of_all_sizes_in_either_alphabet_without_padding(size: int) -> None:
    raw = bytes(range(200, 200 + size))
    assert key_of(base64.b64encode(raw).decode()) == raw
    assert key_of(base64.urlsafe_b64encode(raw).decode().rstrip("=")) == raw


def test_any_other_text_is_hashed_and_a_made_key_has_32_bytes() -> None:
    assert len(key_of("correct horse")) == 32
    assert len(key_of(make_key(os.urandom))) == 32
