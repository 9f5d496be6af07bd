"""Damaged, held and full stores: what can be lost is begun anew, what cannot names the remedy."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from holdfast.actors.ports import UnwritableError
from holdfast.cli import doctor
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import ActorId, ActorKind, Address
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.files import KEPT_FILES
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.stores.sqlite import database
from holdfast.wire.api.plane import DoctorCheck
from tests.support.asgi import call, json_headers
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.planes import PlaneProcess

URL = "http://plane.test"


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[Plane, Lines]]:
    log = Lines()
    settings = load_settings({}, home=str(home), public_url=URL, accept_unconfined=True)
    plane = await make_plane(settings, clock=SystemClock(), log=log, url=URL)
    try:
        await plane.start()
        yield plane, log
    finally:
        await plane.stop()


async def health(plane: Plane) -> str:
    answer = await call(plane.app, "GET", "/health")
    assert answer.status == 200
    return str(answer.json()["status"])


async def stores_check(plane: Plane) -> DoctorCheck:
    (check,) = (
        check for part in plane.subjects.parts if part.name == "stores" for check in part.checks
    )
    return await check()


async def make_home(home: Path) -> None:
    async with running(home) as (plane, _):
        assert await health(plane) == "ok"
        assert (await stores_check(plane)).result == "ok"


def spoil(path: Path) -> None:
    path.write_bytes(os.urandom(40_000))


def spoil_row(path: Path) -> None:
    """Leave a file in order and put a row into it that nobody can read."""
    connection = apsw.Connection(str(path))
    with connection:
        connection.execute(
            "INSERT INTO contact (instance, heard_ms, body) VALUES ('in-1', 1, 'not a contact')"
        )
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


def moved_aside(home: Path, name: str) -> Path:
    """Return the only file of that name that was moved aside; others may lie beside it."""
    (kept,) = (path for path in home.glob(f"{name}.damaged-*") if path.name.count(".") == 2)
    return kept


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("contact.db", spoil),
        ("telemetry.duckdb", spoil),
        ("town_ticks.duckdb", spoil),
        ("contact.db", spoil_row),
    ],
)
async def test_what_can_be_lost_is_moved_aside_and_begun_anew(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    await make_home(tmp_path)
    damage(tmp_path / name)
    spoiled = (tmp_path / name).read_bytes()
    async with running(tmp_path) as (plane, log):
        kept = moved_aside(tmp_path, name)
        assert kept.read_bytes() == spoiled
        assert log.named("store.begun_anew")[0]["kept"] == kept.name
        assert await health(plane) == "degraded"
        check = await stores_check(plane)
        assert (check.result, kept.name in check.message) == ("warning", True)
        assert check.fix
    async with running(tmp_path) as (plane, _):
        assert await health(plane) == "ok"


HOLD_DUCKDB = """
import duckdb, sys
c = duckdb.connect(sys.argv[1])
print("held", flush=True)
input()
"""
HOLD_SQLITE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA locking_mode = EXCLUSIVE")
c.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
input()
"""


@pytest.mark.parametrize(
    ("name", "program"), [("telemetry.duckdb", HOLD_DUCKDB), ("contact.db", HOLD_SQLITE)]
)
async def test_what_another_program_holds_is_moved_aside(
    tmp_path: Path, name: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_home(tmp_path)
    monkeypatch.setattr(database, "BUSY_MS", 50)
    with subprocess.Popen(  # noqa: ASYNC220  started at once, and read from below
        (sys.executable, "-c", program, str(tmp_path / name)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        async with running(tmp_path) as (plane, log):
            assert log.named("store.begun_anew")[0]["file"] == name
            assert await health(plane) == "degraded"
        holder.communicate(b"\n", timeout=patience(20))


@pytest.mark.parametrize("name", KEPT_FILES)
async def test_what_cannot_be_lost_names_its_file_and_what_to_do(tmp_path: Path, name: str) -> None:
    plane = PlaneProcess(tmp_path / "home")
    await make_home(plane.home)
    path = plane.home / name
    spoil(path)
    spoiled = path.read_bytes()
    plane.start(wait=False)
    assert plane.process is not None
    assert await asyncio.to_thread(plane.process.wait, patience(60)) == 1
    said = plane.log()
    assert "Traceback" not in said
    assert f"{path}: NotADBError" in said
    assert f"restore {name} from a backup" in said
    assert path.read_bytes() == spoiled


async def test_no_room_for_the_journal_is_told_until_there_is(tmp_path: Path) -> None:
    async with running(tmp_path) as (plane, _):
        journal: Any = plane.core.stores.journal

        def bound(pages: int) -> Callable[[apsw.Connection], Any]:
            return lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").get

        await journal._call(bound(1))
        with pytest.raises(UnwritableError, match="FullError"):
            await journal.keep_policy("large", bytes(4_000_000))
        assert await health(plane) == "degraded"
        check = await stores_check(plane)
        assert check.result == "failed"
        assert "journal.db: it cannot be written (FullError" in check.message
        await journal._call(bound(1 << 30))
        await journal.keep_policy("policy", bytes(40_000))
        assert await health(plane) == "ok"


async def test_damage_that_a_reader_meets_is_told(tmp_path: Path) -> None:
    await make_home(tmp_path)
    path = tmp_path / "journal.db"
    connection = apsw.Connection(str(path))
    size = connection.execute("PRAGMA page_size").get
    sql = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_ticks_1'"
    page = connection.execute(sql).get
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    async with running(tmp_path) as (plane, _):
        assert await health(plane) == "ok"
        where = Address(ActorKind("instance"), ActorId("in-1"))
        with pytest.raises(apsw.CorruptError):
            await plane.core.stores.reader.ticks(where)
        assert await health(plane) == "degraded"
        check = await stores_check(plane)
        assert (check.result, "journal.db" in check.message) == ("failed", True)


async def test_the_doctor_looks_without_a_plane_too(tmp_path: Path) -> None:
    await make_home(tmp_path)
    settings = load_settings({}, home=str(tmp_path))
    results = {check.name: check for check in doctor.examine(settings).checks}
    assert results["stores"].result == "ok"
    spoil(tmp_path / "accounts.db")
    results = {check.name: check for check in doctor.examine(settings).checks}
    assert results["stores"].result == "failed"
    assert results["stores"].message.startswith("accounts.db: ")


async def test_the_doctor_says_so_over_the_api(tmp_path: Path) -> None:
    async with running(tmp_path) as (plane, _):
        make_token = plane.subjects.people.directory.make_token
        token, _row = await make_token("all", scope="operator", account=None, created_by="test")
        answer = await call(plane.app, "GET", "/api/doctor", headers=json_headers(token))
        checks = {check["name"]: check["result"] for check in answer.json()["checks"]}
        assert checks["stores"] == "ok"
