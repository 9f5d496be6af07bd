"""Change notifications from the kernel: real folders, real renames, a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.agents.openclaw.run import PAIRING, plan
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing import watcher as inotify
from holdfast.machine.controller.pairing.watcher import (
    REPLACED,
    WRITTEN,
    Target,
    Watcher,
    targets_of,
)
from holdfast.wire.controller.pairing import Kind
from tests.integration.machine.rig import until


class Heard:
    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.decisive = False

    def __call__(self, kind: Kind, *, decisive: bool) -> None:
        self.kinds.append(kind)
        self.decisive = decisive

    async def of(self, kind: Kind, act: Callable[[], object]) -> None:
        await asyncio.sleep(0)  # earlier notifications are read first
        self.kinds.clear()
        act()
        await until(lambda: kind in self.kinds, f"news of {kind}")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def watcher(heard: Heard, tmp_path: Path) -> AsyncIterator[Watcher]:
    with (tmp_path / "log").open("wb") as log:
        made = Watcher(heard, Log(ManualClock(), log.fileno()))
        yield made
        made.close()


def replace(path: Path, content: str) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.write_text(content)
    fresh.replace(path)


async def test_a_replaced_file_is_heard_of_and_others_are_not(
    watcher: Watcher, heard: Heard, tmp_path: Path
) -> None:
    folder, devices = tmp_path / "credentials", tmp_path / "devices"
    folder.mkdir()
    devices.mkdir()
    watcher.watch([
        Target(str(folder), ("-pairing.json",), REPLACED, ("channels",)),
        Target(str(devices), ("pending.json",), REPLACED, ("devices",)),
    ])  # fmt: skip
    assert set(heard.kinds) == {"channels", "devices"}, "what came before is not missed"
    await heard.of("channels", lambda: replace(folder / "telegram-pairing.json", "{}"))
    await asyncio.sleep(0)
    heard.kinds.clear()
    replace(folder / "telegram-default-allowFrom.json", "{}")
    (folder / "telegram-pairing.json.lock").write_text("")
    # News come in order: once this is heard of, what was before it was read.
    replace(devices / "pending.json", "{}")
    await until(lambda: "devices" in heard.kinds, "news of devices")
    assert set(heard.kinds) == {"devices"}
    await heard.of("channels", (folder / "telegram-pairing.json").unlink)


async def test_a_folder_that_is_not_there_yet_is_waited_for(
    watcher: Watcher, heard: Heard, tmp_path: Path
) -> None:
    folder = tmp_path / "home" / "state" / "devices"
    watcher.watch([Target(str(folder), ("pending.json",), REPLACED, ("devices",))])
    await heard.of("devices", lambda: folder.mkdir(parents=True))
    await heard.of("devices", lambda: replace(folder / "pending.json", "{}"))
    moved = tmp_path / "moved"
    await heard.of("devices", lambda: folder.rename(moved))
    await heard.of("devices", folder.mkdir)
    await heard.of("devices", lambda: replace(folder / "pending.json", "[]"))


async def test_a_commit_to_a_database_is_heard_of(
    watcher: Watcher, heard: Heard, tmp_path: Path
) -> None:
    path = tmp_path / "openclaw.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n)")
        names = (path.name, f"{path.name}-wal")
        watcher.watch([Target(str(tmp_path), names, WRITTEN, ("channels", "devices"))])

        def commit() -> None:
            database.execute("INSERT INTO t VALUES (1)")
            database.commit()

        await heard.of("devices", commit)
        await heard.of("channels", commit)


async def test_reading_a_database_is_no_news(
    watcher: Watcher, heard: Heard, tmp_path: Path
) -> None:
    # Else each read would cause the next.
    path = tmp_path / "openclaw.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n)")
        database.commit()
        names = (path.name, f"{path.name}-wal")
        marker = Target(str(tmp_path), ("marker",), REPLACED, ("channels",))
        watcher.watch([Target(str(tmp_path), names, WRITTEN, ("devices",)), marker])
        heard.kinds.clear()
        for _ in range(20):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
                assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        await heard.of("channels", lambda: replace(tmp_path / "marker", ""))
        assert "devices" not in heard.kinds


async def test_without_news_from_the_kernel_files_are_looked_at(
    watcher: Watcher, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: inotify.Inotify) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify.Inotify, "__init__", refuse)
    monkeypatch.setattr(limits, "POLL_S", 0.01)
    watcher.watch([Target(str(tmp_path), ("pending.json",), REPLACED, ("devices",))])
    await asyncio.sleep(0)
    await heard.of("devices", lambda: replace(tmp_path / "pending.json", "{}"))
    assert b"watch_refused" in (tmp_path / "log").read_bytes()


async def test_the_same_targets_are_not_watched_anew(
    watcher: Watcher, heard: Heard, tmp_path: Path
) -> None:
    targets = [Target(str(tmp_path), ("pending.json",), REPLACED, ("devices",))]
    watcher.watch(targets)
    heard.kinds.clear()
    watcher.watch(targets)
    assert heard.kinds == []


async def test_a_configuration_that_changes_may_be_the_end_of_a_failure(
    watcher: Watcher, heard: Heard, tmp_path: Path
) -> None:
    config = tmp_path / "openclaw.json"
    (tmp_path / "credentials").mkdir()
    targets = targets_of(
        PAIRING, plan("2026.7.35"), env={"OPENCLAW_STATE_DIR": str(tmp_path)}, config=str(config)
    )
    watcher.watch(targets)
    await heard.of("channels", lambda: replace(config, "{}"))
    assert heard.decisive
    store = tmp_path / "credentials" / "telegram-pairing.json"
    await heard.of("channels", lambda: replace(store, "{}"))
    assert not heard.decisive
