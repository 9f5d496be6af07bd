"""A failure in one line, without a text that is not ours."""

from __future__ import annotations

import errno
import re

import pytest

from holdfast.kernel.failure import brief
from holdfast.wire import parsers
from holdfast.wire.api.call import Refusal


def test_an_error_of_ours_is_its_text() -> None:
    refusal = Refusal(404, "no_such_thing", "there is none")
    assert brief(refusal) == str(refusal)
    assert "there is none" in brief(refusal)


def test_another_is_its_type_and_our_innermost_place() -> None:
    with pytest.raises(AttributeError) as caught:
        parsers.from_json(None, b"password")  # type: ignore[arg-type]
    told = brief(caught.value)
    assert re.fullmatch(r"AttributeError at holdfast/wire/parsers\.py:\d+ in from_json", told)


def test_the_systems_is_its_fixed_text_without_a_path() -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "/home/secret")
    assert brief(error) == "FileNotFoundError [errno 2]: No such file or directory"


def test_one_without_a_place_is_its_type() -> None:
    assert brief(ValueError("password")) == "ValueError"
