"""Sandbox ids go there and back, and nothing that is not one is read as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.controller.identity import (
    Sandbox,
    decode_sandbox,
    sandbox_of_instance,
    sandbox_of_user,
)


@pytest.mark.parametrize(
    "user", ["a/b", "a:b", "a+b", "ann@example.com", "8d1b-uuid", "ÄÖÜ", "😀", "x" * 47]
)
def test_an_owners_id_goes_there_and_back(user: str) -> None:
    sandbox = sandbox_of_user(user)
    assert len(sandbox) <= 63
    assert decode_sandbox(sandbox) == Sandbox("user", user)


@given(st.text(min_size=1, max_size=40).filter(lambda text: len(text.encode()) <= 47))
def test_any_owners_id_does(user: str) -> None:
    assert decode_sandbox(sandbox_of_user(user)) == Sandbox("user", user)


@given(st.uuids())
def test_an_instances_id_goes_there_and_back(uuid: object) -> None:
    sandbox = sandbox_of_instance(str(uuid))
    assert len(sandbox) == 35
    assert decode_sandbox(sandbox) == Sandbox("instance", str(uuid))


@pytest.mark.parametrize("user", ["", "x" * 48, "ä" * 24])
def test_an_owners_id_that_does_not_fit_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        sandbox_of_user(user)


@pytest.mark.parametrize("uuid", ["", "A" * 32, "8D1B0C3A-0000-4000-8000-000000000000"])
def test_an_instances_id_in_another_form_is_refused(uuid: str) -> None:
    with pytest.raises(ValueError, match="lower-case UUID"):
        sandbox_of_instance(uuid)


@pytest.mark.parametrize("text", ["", "=", "a", "a b", "Zg==", "Zh", "_w", "ki_" + "G" * 61])
def test_what_is_no_sandbox_id_is_none(text: str) -> None:
    assert decode_sandbox(text) is None


def test_an_older_id_that_looks_like_a_newer_one_is_read_as_the_newer() -> None:
    text = "ki_" + "0" * 32
    decoded = decode_sandbox(text)
    assert decoded is not None
    assert decoded.kind == "instance"
