"""The replay of a record of system calls, on programs whose losses are known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import power_loss
from tests.support.power_loss import Cut, Keep, Recorded

pytestmark = pytest.mark.usefixtures("strace")

PROGRAM = """
import os, sys, threading
folder = sys.argv[1]
def at(name):
    return os.path.join(folder, name)
def say(word):
    os.write(1, word.encode() + b"\\n")
def put(name, text, *, how="wb", sync=True):
    with open(at(name), how) as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())
def sync_folder(name=""):
    handle = os.open(at(name), os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
"""

Run = Callable[[str], Recorded]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "old").write_bytes(b"before")

    def record(body: str) -> Recorded:
        command = [sys.executable, "-c", PROGRAM + body, str(watched)]
        return power_loss.record(command, watched=watched, scratch=tmp_path)

    return record


def states(recorded: Recorded, scratch: Path, name: str, *, number: int = 200) -> set[bytes | None]:
    """The contents of a file that cuts after the last line find; None where it has no name."""
    found = set()
    last = len(recorded.lines)
    for cut in power_loss.cuts(recorded, number=number, seed=1, scratch=scratch):
        if len(cut.acknowledged) == last:
            file = cut.folder / name
            found.add(file.read_bytes() if file.exists() else None)
    assert found
    return found


def padded(body: str) -> str:
    """A program with enough to do after its last line that many cuts fall there."""
    return body + "\nfor count in range(20): put('noise', b'x', sync=False)\n"


def test_written_and_synced_is_there(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('old', b'after'); say('done')"))
    assert recorded.lines == ["done"]
    assert recorded.syncs() == [1]
    assert states(recorded, tmp_path, "old") == {b"after"}


def test_written_and_not_synced_may_be_older(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('old', b'after!', how='r+b', sync=False); say('done')"))
    assert recorded.syncs() == [0]
    assert states(recorded, tmp_path, "old") == {b"before", b"after!"}


def test_a_removed_sync_is_as_none(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('old', b'after!', how='r+b'); say('done')"))
    without = recorded.without_syncs(lambda path: path == "old")
    assert states(recorded, tmp_path, "old") == {b"after!"}
    assert states(without, tmp_path, "old") == {b"before", b"after!"}


def test_a_name_needs_its_folder_synced(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('new', b'text'); say('done')"))
    assert states(recorded, tmp_path, "new") == {None, b"text"}
    kept = power_loss.cuts(recorded, number=200, seed=1, scratch=tmp_path, names_follow_files=True)
    assert all((cut.folder / "new").exists() for cut in kept if cut.acknowledged)


def test_a_name_given_again_follows_its_file(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('log', b'1'); os.unlink(at('log')); put('log', b'2'); say('done')"))
    for cut in power_loss.cuts(
        recorded, number=200, seed=1, scratch=tmp_path, names_follow_files=True
    ):
        assert not cut.acknowledged or (cut.folder / "log").read_bytes() == b"2"


def test_a_name_whose_folder_is_synced(run: Run, tmp_path: Path) -> None:
    recorded = run(
        padded(
            "os.mkdir(at('sub')); put('sub/new', b'text')\n"
            "sync_folder('sub'); sync_folder(); say('done')"
        )
    )
    assert states(recorded, tmp_path, "sub/new") == {b"text"}
    of_top = recorded.without_syncs(lambda path: path == "")
    assert states(of_top, tmp_path, "sub/new") == {None, b"text"}
    of_sub = recorded.without_syncs(lambda path: path == "sub")
    assert states(of_sub, tmp_path, "sub/new") == {None, b"text"}


def test_a_replacement_is_the_old_or_the_new(run: Run, tmp_path: Path) -> None:
    replace = "put('next', b'after'); os.replace(at('next'), at('old')); say('renamed')\n"
    assert states(run(padded(replace)), tmp_path, "old") == {b"before", b"after"}


def test_a_replacement_that_is_synced(run: Run, tmp_path: Path) -> None:
    replace = "put('next', b'after'); os.replace(at('next'), at('old')); sync_folder(); say('x')\n"
    assert states(run(padded(replace)), tmp_path, "old") == {b"after"}


def test_an_exchange_is_whole(run: Run, tmp_path: Path) -> None:
    """Two names exchange their files in one step, which is there once the folder was synced."""
    exchange = (
        "import ctypes; put('next', b'after'); sync_folder(); say('written')\n"
        "pair = (-100, os.fsencode(at('next')), -100, os.fsencode(at('old')))\n"
        "ctypes.CDLL(None).renameat2(*pair, 2); say('exchanged'); sync_folder(); say('synced')"
    )
    recorded = run(padded(exchange))
    pairs = {"written": set[tuple[bytes, bytes]](), "exchanged": set(), "synced": set()}
    for cut in power_loss.cuts(recorded, number=200, seed=1, scratch=tmp_path):
        if cut.acknowledged:
            old, new = ((cut.folder / name).read_bytes() for name in ("old", "next"))
            pairs[cut.acknowledged[-1]].add((old, new))
    before, after = (b"before", b"after"), (b"after", b"before")
    assert pairs["written"] | pairs["exchanged"] == {before, after}
    assert pairs["synced"] == {after}


def test_pages_are_torn(run: Run, tmp_path: Path) -> None:
    """Of three pages written in one call any may be old; none is both."""
    recorded = run(
        "put('pages', b'a' * 12288); sync_folder()\n"
        "put('pages', b'b' * 12288, how='r+b', sync=False); say('done')\n"
        "for count in range(20): put('noise', b'x', sync=False)\n"
    )
    found = {state for state in states(recorded, tmp_path, "pages", number=400) if state}
    assert {len(state) for state in found} == {12288}
    assert {b"a" * 12288, b"b" * 12288} < found
    sectors = {state[at : at + 512] for state in found for at in range(0, 12288, 512)}
    assert sectors == {b"a" * 512, b"b" * 512}


def test_a_kill_leaves_what_was_written(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('new', b'text', sync=False); say('done')"))
    found = power_loss.cuts(recorded, number=100, seed=1, scratch=tmp_path, keep=Keep.EVERYTHING)
    assert all((cut.folder / "new").read_bytes() == b"text" for cut in found if cut.acknowledged)


def test_threads_and_children_are_followed(run: Run, tmp_path: Path) -> None:
    recorded = run(
        "thread = threading.Thread(target=put, args=('old', b'after')); thread.start()\n"
        "thread.join()\n"
        "file = open(at('log'), 'wb', buffering=0); file.write(b'one '); sync_folder()\n"
        "if not os.fork():\n"
        "    file.write(b'two'); os.fsync(file.fileno()); say('child'); os._exit(0)\n"
        "os.wait(); say('parent')\n"
        "for count in range(20): put('noise', b'x', sync=False)\n"
    )
    assert recorded.lines == ["child", "parent"]
    assert states(recorded, tmp_path, "old") == {b"after"}
    assert states(recorded, tmp_path, "log") == {b"one two"}


def test_the_same_seed_is_the_same_loss(run: Run, tmp_path: Path) -> None:
    recorded = run(padded("put('old', b'after', sync=False); say('done')"))

    def pictures(seed: int) -> list[object]:
        def picture(cut: Cut) -> object:
            return cut.at, {path.name: path.read_bytes() for path in cut.folder.iterdir()}

        return [
            picture(cut)
            for cut in power_loss.cuts(recorded, number=50, seed=seed, scratch=tmp_path)
        ]

    assert pictures(1) == pictures(1)
    assert pictures(1) != pictures(2)


@pytest.mark.parametrize(
    "body",
    [
        "import mmap; file = open(at('old'), 'r+b'); mmap.mmap(file.fileno(), 6)",
        "os.link(at('old'), at('other'))",
        "os.symlink('old', at('other'))",
        "os.rename(at('old'), folder + '.elsewhere')",
    ],
)
def test_what_is_not_modelled_is_said(run: Run, body: str) -> None:
    with pytest.raises(power_loss.UnmodelledError, match="old"):
        run(body)


def test_a_command_that_fails_is_no_record(run: Run) -> None:
    with pytest.raises(AssertionError, match="the reason"):
        run("sys.exit('the reason')")
