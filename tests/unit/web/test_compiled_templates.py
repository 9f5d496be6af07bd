"""Templates are compiled once, and again only where what was kept of that is of no use."""

from __future__ import annotations

import random
import shutil
import stat
from pathlib import Path

import pytest
from jinja2 import Environment

from holdfast.web import page
from holdfast.web.assets import Assets
from holdfast.web.page import Renderer, compiled_folder
from holdfast.wire.api.call import Problem

PROBLEM = Problem(code="code", message="what is wrong")


def draw(folder: Path) -> bytes:
    return Renderer(Assets(), version="1", compiled=folder).problem(404, PROBLEM)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Compile all templates; return the folder, to be copied, and what was drawn by them."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.dont_write_bytecode", False)
        return folder, draw(folder)


def refuse(*_given: object, **_named: object) -> None:
    pytest.fail("a template was compiled, or read although it is damaged")


def test_a_second_start_compiles_none(
    drawn: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first = drawn
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setattr(Environment, "_parse", refuse)
    assert draw(folder) == first


def test_they_are_any_users_to_read(drawn: tuple[Path, bytes]) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in drawn[0].iterdir()} == {0o644}


def test_they_are_where_the_bytecode_of_modules_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled_folder() == Path(page.__file__).parent / "__pycache__" / "templates"
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path))
    Renderer(Assets(), version="1")
    beside = Path(f"{tmp_path}{Path(page.__file__).parent}")
    assert list((beside / "templates").glob("*.jinjac"))


@pytest.mark.parametrize("how", ["empty", "cut", "noise", "a folder"])
def test_what_is_damaged_is_compiled_anew(
    how: str, drawn: tuple[Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setattr("jinja2.bccache.marshal.load", refuse)
    monkeypatch.setattr("jinja2.bccache.marshal.loads", refuse)
    compiled, first = drawn
    folder = shutil.copytree(compiled, tmp_path / "damaged")
    chance = random.Random(1)
    for path in list(folder.iterdir()):
        raw = path.read_bytes()
        whole = raw[: len(raw) // 3]  # the head, with which it is taken for whole
        path.write_bytes({"empty": b"", "cut": whole}.get(how, whole + chance.randbytes(900)))
        if how == "a folder":
            path.unlink()
            path.mkdir()
    assert draw(folder) == first


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert b"what is wrong" in draw(file / "below")
    assert file.read_bytes() == b""
