"""The content key sealed to a browser: opened with `cryptography` alone, and by nobody else."""

from __future__ import annotations

import os

import msgspec
import pytest
from cryptography.exceptions import InvalidTag

from holdfast.machine.content_key import EnrolError, id_of_key, seal_to, sealed_content_key
from holdfast.wire.api.browser_keys import SealedCopyAdd
from holdfast.wire.browser_keys import (
    CONTENT_KEY,
    COPY_BYTES_MAX,
    PREVIEW,
    fingerprint_of,
    id_of,
    read_fingerprint,
)
from holdfast.wire.browser_keys import point_of as read_point
from holdfast.wire.controller.observing import EnrolAnswer
from tests.support.browser_seal import new_pair, open_from, point_of, raw_of, text_of

NODE = "nd_0123456789abcdef0123"
KEY = bytes(range(32))


def test_a_browser_opens_what_was_sealed_to_it_for_one_purpose_and_node() -> None:
    pair = new_pair()
    point = point_of(pair)
    sealed = sealed_content_key(KEY, NODE, text_of(point), fingerprint_of(point).lower())
    assert open_from(pair, CONTENT_KEY, NODE, sealed) == KEY
    assert len(raw_of(sealed)) == COPY_BYTES_MAX
    for other, purpose, node in (
        (new_pair(), CONTENT_KEY, NODE), (pair, PREVIEW, NODE), (pair, CONTENT_KEY, "nd_other"),
    ):  # fmt: skip
        with pytest.raises(InvalidTag):
            open_from(other, purpose, node, sealed)
    assert len({seal_to(point, CONTENT_KEY, NODE, KEY)[:88] for _ in range(20)}) == 20


def test_nothing_is_sealed_to_a_key_with_another_fingerprint_than_was_typed() -> None:
    told, exchanged = point_of(new_pair()), point_of(new_pair())
    with pytest.raises(EnrolError, match="nothing was sealed") as refused:
        sealed_content_key(KEY, NODE, text_of(exchanged), fingerprint_of(told))
    assert (refused.value.code, refused.value.field) == ("wrong_fingerprint", "fingerprint")


@pytest.mark.parametrize(
    ("point", "code"),
    [
        (b"\x04" + bytes(64), "invalid_public_key"),  # on no curve
        (b"\x02" + bytes(32), "invalid_public_key"),  # compressed
        (b"\x04" + bytes(63), "invalid_public_key"),
        (b"", "invalid_public_key"),
    ],
)
def test_what_is_no_key_is_named(point: bytes, code: str) -> None:
    with pytest.raises(EnrolError, match=r"^public_key: ") as refused:
        sealed_content_key(KEY, NODE, text_of(point), fingerprint_of(point))
    assert (refused.value.code, refused.value.field) == (code, "public_key")


def test_a_point_has_one_text() -> None:
    text = text_of(point_of(new_pair()))
    assert read_point(text)
    for other in (text + "=", text[:-1], text + "A", text.replace(text[3], "*", 1)):
        with pytest.raises(ValueError, match="want"):
            read_point(other)


def test_a_key_that_no_browser_can_use_is_not_sealed() -> None:
    point = point_of(new_pair())
    with pytest.raises(EnrolError, match="24 bytes") as refused:
        sealed_content_key(bytes(24), NODE, text_of(point), fingerprint_of(point))
    assert refused.value.code == "unusable_key"
    assert sealed_content_key(bytes(16), NODE, text_of(point), fingerprint_of(point))


def test_fingerprints_and_ids_are_the_same_for_ever() -> None:
    point = b"\x04" + bytes(range(64))
    assert fingerprint_of(point) == "2X7R-JK2Q-HM67-YILJ-IE2S"
    assert id_of(fingerprint_of(point)) == "bk_2x7rjk2qhm67yiljie2s"
    assert id_of_key(KEY) == "9ba544b9ceaeea745aea7d363"
    assert id_of_key(KEY) != id_of_key(os.urandom(32))


def test_a_fingerprint_is_typed_as_people_type_and_nothing_less() -> None:
    point = point_of(new_pair())
    shown = fingerprint_of(point)
    for typed in (shown, shown.lower(), shown.replace("-", " "), f" {shown.replace('-', '')}\n"):
        assert read_fingerprint(typed) == shown
    for typed in ("", shown[:-1], shown + "A", shown[:-1] + "1", shown[:14]):
        with pytest.raises(ValueError, match="five groups"):
            read_fingerprint(typed)


@pytest.mark.parametrize(
    "changes",
    [
        {"key_id": "0" * 16}, {"key_id": "0" * 25 + "\n"}, {"key_id": "G" * 25}, {"sealed": ""},
        {"sealed": "A" * 256}, {"sealed": "AA\n"}, {"sealed": "A+/="},
    ],
)  # fmt: skip
def test_what_a_controller_answers_has_the_form_that_is_stored(changes: dict[str, str]) -> None:
    told = {"key_id": id_of_key(KEY), "sealed": "A" * 60}
    assert msgspec.convert(told, EnrolAnswer).key_id == id_of_key(KEY)
    browser = {"browser": "bk_a"}
    assert msgspec.convert(told | browser, SealedCopyAdd).sealed == "A" * 60
    for kind, more in ((EnrolAnswer, {}), (SealedCopyAdd, browser)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(told | more | changes, kind)
