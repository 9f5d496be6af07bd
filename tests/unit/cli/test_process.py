"""A command runs as whoever started it, and in what it was started with."""

from __future__ import annotations

import getpass
import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from holdfast.cli.process import NO_HOME, is_text, name_user


def _unknown(_user: object) -> NoReturn:
    raise KeyError


def test_a_user_whom_the_system_does_not_know_has_a_name_and_no_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", _unknown)
    name_user()
    assert Path.home() == Path(NO_HOME)
    assert getpass.getuser().startswith("user-")


def test_a_user_who_is_known_stays_as_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "ada")
    name_user()
    assert (Path.home(), getpass.getuser()) == (tmp_path, "ada")


@pytest.mark.parametrize(
    ("word", "so"), [("demo", True), ("é日\U0001f99e", True), ("a\udcff", False)]
)
def test_bytes_that_are_no_text_are_told_from_text(word: str, *, so: bool) -> None:
    assert is_text(word) is so
