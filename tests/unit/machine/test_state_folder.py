"""Files below the state folder: which can be reached, what is written, and no way out."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.files import state_folder
from holdfast.machine.controller.files.paths import split
from holdfast.machine.controller.files.state_folder import (
    BACKUPS_KEPT,
    FILE_BYTES_MAX,
    StateFolder,
)
from holdfast.machine.controller.process import atomic_file
from tests.support.patience import patience


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "note.md").write_text("hello\n")
    return folder


@pytest.fixture
def files(root: Path, tmp_path: Path) -> StateFolder:
    ticks = iter(range(1_000_000))
    return StateFolder(root, tmp_path / "backups", now_ms=lambda: next(ticks))


def refused(work: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        work()
    return caught.value.status, caught.value.code


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


NOTE = ("sub", "note.md")
MET = 20
"""How often a race must be hit from either side."""
ROUNDS, ROUNDS_S = 1_000, 10
"""Attempts at a race, or seconds of them where the disk is slow (45 ms a round was seen)."""


def race(met: Callable[[], int]) -> Iterator[int]:
    """Yield attempt numbers until either side was met often enough, within a generous bound."""
    began = time.monotonic()
    enough, bound = began + ROUNDS_S, began + patience(45)
    for number in itertools.count():
        if met() >= MET and (number >= ROUNDS or time.monotonic() > enough):
            return
        assert time.monotonic() < bound, f"one side was met only {met()} times in {number} rounds"
        yield number


def write(files: StateFolder, parts: tuple[str, ...], text: str, **more: Any) -> str:
    return files.write(parts, text, **{"etag": None, "create": False, **more})


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/.", "a/", "a\0b", "a\nb", "x" * 256,
     "\udcff", "/".join("a" * 40), "a" * 1_025],
)  # fmt: skip
def test_a_path_that_may_lead_out_is_no_path(path: str) -> None:
    assert refused(lambda: split(path)) == (400, "invalid_path")


def test_a_path_is_names_joined_by_slashes() -> None:
    assert split("a/ü b/c..d") == ("a", "ü b", "c..d")
    assert split("") == split(".") == ()


def test_a_file_is_read_and_written_over_what_was_read(files: StateFolder, root: Path) -> None:
    (root / "sub" / "note.md").chmod(0o640)
    found = files.read(NOTE)
    assert found == ("hello\n", sha256(b"hello\n").hexdigest())
    second = write(files, NOTE, "new\n", etag=found.etag)
    assert files.read(NOTE) == ("new\n", second)
    assert stat.S_IMODE((root / "sub" / "note.md").stat().st_mode) == 0o640
    late = refused(lambda: write(files, NOTE, "late\n", etag=found.etag))
    assert late == (409, "file_etag_conflict")
    write(files, NOTE, "third\n", etag=md5(b"new\n").hexdigest())
    assert names(root / "sub") == ["note.md"], "nothing else is left there"


def test_a_file_must_be_there_or_be_created(files: StateFolder, root: Path) -> None:
    assert refused(lambda: write(files, ("new",), "x")) == (404, "file_not_found")
    assert write(files, ("new",), "x", create=True) == sha256(b"x").hexdigest()
    assert stat.S_IMODE((root / "new").stat().st_mode) == 0o600
    assert refused(lambda: write(files, ("new",), "y", create=True)) == (409, "file_exists")
    missing = refused(lambda: write(files, ("no", "new"), "x", create=True))
    assert missing == (404, "file_not_found")


def test_what_is_no_text_file_within_the_limits_is_refused(
    files: StateFolder, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("secret")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    (root / "binary").write_bytes(b"\xff\xfe")
    (root / "large").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    wrong: dict[tuple[str, ...], tuple[int, str]] = {
        ("link",): (400, "not_a_regular_file"),
        ("linked", "outside"): (400, "invalid_path"),
        ("sub",): (400, "not_a_regular_file"),
        ("fifo",): (400, "not_a_regular_file"),
        ("sub", "note.md", "x"): (400, "invalid_path"),
        ("large",): (413, "file_too_large"),
        (): (400, "invalid_path"),
    }
    for parts, said in wrong.items():
        assert refused(partial(files.read, parts)) == said, parts
        assert refused(partial(write, files, parts, "x")) == said, parts
    assert refused(lambda: files.read(("binary",))) == (400, "file_not_text")
    too_large = refused(lambda: write(files, NOTE, "x" * (FILE_BYTES_MAX + 1)))
    assert too_large == (413, "file_too_large")
    assert refused(lambda: write(files, NOTE, "\udcff")) == (400, "invalid_request_body")
    assert (tmp_path / "outside").read_text() == "secret"
    assert (root / "sub" / "note.md").read_text() == "hello\n"


def test_a_file_with_another_name_or_owner_is_listed_and_not_opened(
    files: StateFolder, root: Path, tmp_path: Path
) -> None:
    """A hard link to the plane's keys looks like any file, except for its link count."""
    outside = tmp_path / "keyring.json"
    outside.write_text("secret")
    os.link(outside, root / "innocent.json")
    for work in (
        lambda: files.read(("innocent.json",)),
        lambda: write(files, ("innocent.json",), "x"),
        lambda: write(files, ("innocent.json",), "x", etag=sha256(b"secret").hexdigest()),
    ):
        with pytest.raises(RefusedError, match="hard link") as caught:
            work()
        assert (caught.value.status, caught.value.code) == (403, "file_has_other_names")
    assert {"name": "innocent.json", "path": "innocent.json", "type": "file"} in files.tree(
        (), depth=1
    ).nodes
    outside.unlink()
    assert files.read(("innocent.json",)).content == "secret", "one name is left"
    outside.write_text("secret")
    assert not (tmp_path / "backups").exists(), "nothing of it was kept aside either"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_a_file_of_another_user_is_not_opened(files: StateFolder, root: Path) -> None:
    os.chown(root / "sub" / "note.md", 12_345, 12_345)
    assert refused(lambda: files.read(NOTE)) == (403, "file_of_another_user")
    assert refused(lambda: write(files, NOTE, "x")) == (403, "file_of_another_user")


def test_a_new_file_never_takes_a_name_that_lies_in_wait(
    files: StateFolder, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the draft is predictable; a link of that name must not be written through."""
    outside = tmp_path / "keyring.json"
    outside.write_text("secret")
    monkeypatch.setattr(atomic_file, "_numbers", itertools.count(1))
    for number, make in ((1, os.link), (2, os.symlink)):
        make(outside, root / "sub" / f".holdfast-{os.getpid()}-{number}.new")
    write(files, NOTE, "ours\n")
    assert outside.read_text() == "secret"
    assert files.read(NOTE).content == "ours\n"
    monkeypatch.setattr(atomic_file, "_numbers", itertools.repeat(1))
    assert refused(lambda: write(files, NOTE, "x")) == (500, "files_io_failed")
    assert outside.read_text() == "secret"


def test_replacing_a_file_by_a_hard_link_gets_nothing_out_and_nothing_in(
    files: StateFolder, root: Path, tmp_path: Path
) -> None:
    outside, link = tmp_path / "keyring.json", tmp_path / "link"
    outside.write_text("secret\n")
    os.link(outside, link)
    done = {"read": 0, "refused": 0}
    with exchanging(root / "sub" / "note.md", link):
        for number in race(lambda: min(done.values())):
            try:
                assert files.read(NOTE).content != "secret\n"
                done["read"] += 1
                write(files, NOTE, f"ours {number}\n")
            except RefusedError:
                done["refused"] += 1
    assert outside.read_text() == "secret\n"
    kept = [path.read_text() for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert "secret\n" not in kept


def test_earlier_texts_are_kept_for_the_owner_and_have_an_end(
    files: StateFolder, tmp_path: Path
) -> None:
    for number in range(BACKUPS_KEPT + 3):
        write(files, NOTE, f"{number}\n")
    (aside,) = (tmp_path / "backups").iterdir()
    kept = [path.read_text() for path in sorted(aside.iterdir())]
    assert kept == [f"{number}\n" for number in range(2, BACKUPS_KEPT + 2)]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in aside.iterdir())


def test_a_backup_that_cannot_be_kept_keeps_nobody_from_writing(
    files: StateFolder, tmp_path: Path
) -> None:
    (tmp_path / "backups").write_text("in the way")
    write(files, NOTE, "new\n")
    assert files.read(NOTE).content == "new\n"


def test_the_tree_leaves_out_what_is_neither_file_nor_folder(
    files: StateFolder, root: Path, tmp_path: Path
) -> None:
    (root / "link").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    (root / "a\nb").write_text("")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "s"))
    note = {"name": "note.md", "path": "sub/note.md", "type": "file"}
    sub = {"name": "sub", "path": "sub", "type": "directory", "children": [note]}
    assert files.tree((), depth=9) == ([sub], False)
    assert files.tree(("sub",), depth=9) == ([note], False)
    (found,) = files.tree((), depth=1).nodes
    assert (found["children"], found["truncated"]) == ([], True)
    assert refused(lambda: files.tree(("no",), depth=1)) == (404, "file_not_found")
    assert refused(lambda: files.tree(("link",), depth=1)) == (400, "invalid_path")


def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    files = StateFolder(tmp_path / "later", tmp_path / "backups", now_ms=lambda: 0)
    assert files.tree((), depth=3) == ([], False)
    assert refused(lambda: files.read(("x",))) == (404, "file_not_found")


def test_a_tree_has_an_end_and_its_top_comes_first(
    files: StateFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_folder, "ENTRIES_MAX", 50)
    crowd = root / "a-crowd"
    crowd.mkdir()
    for number in range(50):
        (crowd / f"{number:05d}").touch()
    tree = files.tree((), depth=9)
    assert tree.truncated
    assert [node["name"] for node in tree.nodes] == ["a-crowd", "sub"]
    assert sum(1 + len(node["children"]) for node in tree.nodes) == 50
    assert len(files.tree(("a-crowd",), depth=1).nodes) == 50


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names as fast as possible, as a malicious agent would."""
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    names = os.fsencode(one), os.fsencode(other)

    def work() -> None:
        while not stop.is_set():
            libc.renameat2(-100, names[0], -100, names[1], 2)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("exchanged", ["folder", "file", "root"])
def test_replacing_a_name_by_a_link_gets_nothing_out_and_nothing_in(
    files: StateFolder, root: Path, tmp_path: Path, exchanged: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    for folder in (outside, outside / "sub"):
        (folder / "bait").touch()
    for path in (outside / "note.md", outside / "sub" / "note.md"):
        path.write_text("secret\n")
    real = {"folder": root / "sub", "file": root / "sub" / "note.md", "root": root}[exchanged]
    target = {"folder": outside, "file": outside / "note.md", "root": outside}[exchanged]
    link = tmp_path / "link"
    link.symlink_to(target)
    done = {"read": 0, "written": 0, "refused": 0}
    # The other thread may be delayed for long, so it is tried until both were hit.
    with exchanging(real, link):
        for number in race(lambda: min(done["read"], done["refused"])):
            try:
                assert files.read(NOTE).content != "secret\n"
                done["read"] += 1
                write(files, NOTE, f"ours {number}\n")
                done["written"] += 1
            except RefusedError:
                done["refused"] += 1
            assert all(node["name"] != "bait" for node in _nodes(files))
    assert [p.read_text() for p in (outside / "note.md", outside / "sub" / "note.md")] == [
        "secret\n", "secret\n",
    ]  # fmt: skip
    assert names(outside) == ["bait", "note.md", "sub"]


def _nodes(files: StateFolder) -> list[dict[str, Any]]:
    try:
        return files.tree(("sub",), depth=1).nodes
    except RefusedError:
        return []
