"""Reading an agent's stores: real files and real databases, in every state."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.openclaw.json_store import JsonFiles, JsonSource
from holdfast.machine.controller.pairing.openclaw.sqlite_store import SqliteSource
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Row
from tests.support.patience import patience

AT = "2026-11-21T01:37:21.888Z"
PERSON = {"id": "1", "code": "N9EMCT7A", "createdAt": AT}
SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE channel_pairing_requests (channel_key TEXT NOT NULL, account_id TEXT NOT NULL,
  request_id TEXT NOT NULL, code TEXT NOT NULL, created_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL, meta_json TEXT,
  PRIMARY KEY (channel_key, account_id, request_id)) STRICT;
CREATE TABLE device_pairing_pending (request_id TEXT NOT NULL PRIMARY KEY,
  device_id TEXT NOT NULL, public_key TEXT NOT NULL, display_name TEXT, platform TEXT,
  device_family TEXT, client_id TEXT, client_mode TEXT, browser_origin TEXT, role TEXT,
  roles_json TEXT, scopes_json TEXT, remote_ip TEXT, silent INTEGER, is_repair INTEGER,
  ts INTEGER NOT NULL, refreshed_at_ms INTEGER) STRICT;
PRAGMA user_version = 18;
"""


def rows(found: object) -> tuple[Row, ...]:
    assert isinstance(found, tuple), found
    return found


def failure(found: object) -> Failure:
    assert isinstance(found, Failure), found
    return found


@pytest.fixture
def files(tmp_path: Path) -> JsonFiles:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "devices").mkdir()
    return JsonFiles(str(tmp_path / "credentials"), str(tmp_path / "devices" / "pending.json"))


def put(files: JsonFiles, content: object, channel: str = "telegram") -> Path:
    path = Path(files.credentials) / f"{channel}-pairing.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


async def channel(files: JsonFiles) -> tuple[Row, ...] | Failure:
    return (await JsonSource(files).look("channels", ["telegram"]))["telegram"]


async def devices(files: JsonFiles) -> tuple[Row, ...] | Failure:
    return (await JsonSource(files).look("devices", [DEVICES]))[DEVICES]


async def test_files_are_read_each_for_itself(files: JsonFiles) -> None:
    put(files, {"version": 1, "requests": [PERSON]})
    put(files, "{broken", "slack")
    found = await JsonSource(files).look("channels", ["telegram", "slack", "discord"])
    assert [row.code for row in rows(found["telegram"])] == ["N9EMCT7A"]
    assert failure(found["slack"]).code == "store_unreadable"
    assert not failure(found["slack"]).strange, "broken is not unknown: no other source knows more"
    assert failure(found["discord"]).missing


@pytest.mark.parametrize(
    "content", [[], 5, None, {"requests": {}}, {}, {"version": 2, "requests": []}]
)
async def test_a_form_that_is_not_known_is_no_empty_list(files: JsonFiles, content: object) -> None:
    put(files, content)
    assert failure(await channel(files)).strange


@pytest.mark.parametrize("content", ["", "{", '{"requests": NaN}', "[" * 100_000, "\x00"])
async def test_what_is_no_json_is_a_failure(files: JsonFiles, content: str) -> None:
    put(files, content)
    assert failure(await channel(files)).code == "store_unreadable"


async def test_the_devices_file_is_an_object_of_requests(files: JsonFiles) -> None:
    def write(content: object) -> None:
        Path(files.devices).write_text(json.dumps(content))

    assert failure(await devices(files)).missing
    entry = {"requestId": "r", "deviceId": "d", "publicKey": "secret", "ts": 5}
    write({"key is not used": entry, "bad": 7})
    assert [row.key for row in rows(await devices(files))] == ["r"]
    write({})
    assert rows(await devices(files)) == ()
    for content in ("[]", "null"):
        write(json.loads(content))
        assert failure(await devices(files)).strange


async def test_what_is_no_plain_file_holds_nobody_up(files: JsonFiles) -> None:
    path = Path(files.credentials) / "telegram-pairing.json"
    os.mkfifo(path)
    async with asyncio.timeout(patience(5)):
        assert failure(await channel(files)).code == "store_unreadable"
    path.unlink()
    path.mkdir()
    assert failure(await channel(files)).code == "store_unreadable"


async def test_a_file_that_is_too_large_is_refused(files: JsonFiles) -> None:
    put(files, '{"requests": []}' + " " * limits.FILE_BYTES_MAX)
    assert failure(await channel(files)).code == "store_unreadable"


async def test_a_disk_that_hangs_is_given_up(
    files: JsonFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_TIMEOUT_S", 0.05)
    reading, writing = os.pipe()

    def hang(_path: str) -> Any:
        return json.loads(os.read(reading, 10))

    found = (await JsonSource(files, hang).look("devices", [DEVICES]))[DEVICES]
    assert failure(found).code == "store_timeout"
    os.write(writing, b"{}")  # release the thread
    os.close(writing)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "openclaw.sqlite", isolation_level=None)) as made:
        made.executescript(SCHEMA)
        yield made


@pytest.fixture
def source(tmp_path: Path) -> SqliteSource:
    return SqliteSource(str(tmp_path / "openclaw.sqlite"))


def add(database: sqlite3.Connection, sender: str, channel: str = "telegram") -> None:
    database.execute(
        "INSERT INTO channel_pairing_requests VALUES (?, 'default', ?, ?, ?, ?, ?)",
        (channel, sender, f"CODE{sender}", AT, AT, '{"accountId": "default", "username": "u"}'),
    )


async def test_the_tables_are_read_as_they_are(
    database: sqlite3.Connection, source: SqliteSource
) -> None:
    add(database, "1")
    add(database, "2", "slack")
    add(database, "3", "discord")
    database.execute(
        "INSERT INTO device_pairing_pending VALUES ('r', 'd', 'PUBLIC', 'n', 'linux', NULL, 'cli',"
        " 'cli', NULL, 'operator', '[\"operator\"]', '[\"operator.read\"]', NULL, 0, 1, 7, 9)"
    )
    found = await source.look("channels", ["telegram", "slack", "irc"])
    (row,) = rows(found["telegram"])
    assert (row.code, row.entry["meta"]["username"], row.entry["id"]) == ("CODE1", "u", "1")
    assert [row.code for row in rows(found["slack"])] == ["CODE2"]
    assert rows(found["irc"]) == ()
    (device,) = rows((await source.look("devices", [DEVICES]))[DEVICES])
    assert device.entry["scopes"] == ("operator.read",)
    assert device.entry["isRepair"] is True
    assert device.expires_ms == 9 + limits.DEVICE_TTL_MS
    assert "PUBLIC" not in str(device.entry)


async def test_what_the_agent_writes_is_seen_while_it_has_the_database_open(
    database: sqlite3.Connection, source: SqliteSource
) -> None:
    for number in range(1, 4):
        add(database, str(number))
        assert len(rows((await source.look("channels", ["telegram"]))["telegram"])) == number


async def test_reading_takes_no_lock_that_a_writer_would_wait_for(
    database: sqlite3.Connection, source: SqliteSource, tmp_path: Path
) -> None:
    database.execute("PRAGMA busy_timeout = 0")
    database.execute("BEGIN IMMEDIATE")
    add(database, "1")
    found = (await source.look("channels", ["telegram"]))["telegram"]
    assert rows(found) == (), "what is not committed is not there"
    database.execute("COMMIT")
    before = (tmp_path / "openclaw.sqlite").read_bytes()
    for _ in range(50):
        await source.look("channels", ["telegram"])
        database.execute("UPDATE channel_pairing_requests SET last_seen_at = ?", (AT,))
    assert (tmp_path / "openclaw.sqlite").read_bytes() == before, "and it checkpoints nothing"


@pytest.mark.parametrize(
    "change",
    [
        "PRAGMA user_version = 19",
        "ALTER TABLE channel_pairing_requests DROP COLUMN last_seen_at",
        "ALTER TABLE channel_pairing_requests RENAME COLUMN code TO secret",
        "DROP TABLE channel_pairing_requests",
    ],
)
async def test_a_layout_that_is_not_known_is_no_empty_list(
    database: sqlite3.Connection, source: SqliteSource, change: str
) -> None:
    add(database, "1")
    database.execute(change)
    assert failure((await source.look("channels", ["telegram"]))["telegram"]).strange


async def test_a_new_column_is_no_surprise(
    database: sqlite3.Connection, source: SqliteSource
) -> None:
    add(database, "1")
    database.execute("ALTER TABLE channel_pairing_requests ADD COLUMN more TEXT")
    assert len(rows((await source.look("channels", ["telegram"]))["telegram"])) == 1


async def test_no_database_means_nobody_only_while_the_agent_does_not_serve(
    tmp_path: Path,
) -> None:
    serving = False
    source = SqliteSource(str(tmp_path / "no" / "such"), is_serving=lambda: serving)
    assert failure((await source.look("devices", [DEVICES]))[DEVICES]).missing
    serving = True
    assert failure((await source.look("devices", [DEVICES]))[DEVICES]).strange
    assert os.listdir(tmp_path) == [], "and none is made"  # noqa: PTH208  the loop's lint is right


async def test_a_database_that_is_being_made_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.sqlite"
    with closing(sqlite3.connect(path)):
        path.touch()
    source = SqliteSource(str(path))
    assert failure((await source.look("devices", [DEVICES]))[DEVICES]).missing


async def test_what_is_no_database_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.sqlite"
    path.write_bytes(b"this is no database, but long enough to look like a file of one" * 100)
    assert failure((await SqliteSource(str(path)).look("devices", [DEVICES]))[DEVICES]).strange


@pytest.mark.parametrize("suffix", ["", "-journal"])
async def test_a_pipe_in_place_of_the_database_holds_no_thread_up(
    tmp_path: Path, source: SqliteSource, suffix: str
) -> None:
    path = tmp_path / "openclaw.sqlite"
    if suffix:
        with closing(sqlite3.connect(path, isolation_level=None)) as made:
            made.executescript(SCHEMA.replace("=WAL", "=DELETE"))
    pipe = path.with_name(path.name + suffix)
    os.mkfifo(pipe)
    looking = asyncio.create_task(source.look("devices", [DEVICES]))
    await asyncio.wait({looking}, timeout=1)
    if not looking.done():  # release the thread
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
    found = failure((await looking)[DEVICES])
    assert (found.code, found.detail) == ("store_unknown", "it is no plain file")


async def test_a_folder_that_cannot_be_entered_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = await SqliteSource(str(tmp_path / "file" / "x")).look("devices", [DEVICES])
    assert failure(found[DEVICES]).code == "store_unreadable"
    assert "Not a directory" in failure(found[DEVICES]).detail


async def test_a_locked_database_is_a_failure_that_asks_nobody_else(
    database: sqlite3.Connection, source: SqliteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SQLITE_BUSY_S", 0.01)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    add(database, "1")
    found = failure((await source.look("channels", ["telegram"]))["telegram"])
    assert (found.code, found.strange) == ("store_busy", False)


async def test_names_with_odd_letters_are_paths_like_others(tmp_path: Path) -> None:
    folder = tmp_path / "a ?#%20 b"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "openclaw.sqlite", isolation_level=None)) as database:
        database.executescript(SCHEMA)
        add(database, "1")
        source = SqliteSource(str(folder / "openclaw.sqlite"))
        assert len(rows((await source.look("channels", ["telegram"]))["telegram"])) == 1


def _replace_by_a_link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def _link_the_folder(path: Path, other: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to(other.parent)


@pytest.mark.parametrize(
    "attack", [_replace_by_a_link, _link_the_folder, lambda a, b: os.link(b, a)]
)
async def test_a_link_to_the_database_of_another_machine_shows_nothing(
    tmp_path: Path, database: sqlite3.Connection, attack: Callable[[Path, Path], None]
) -> None:
    add(database, "1")
    path = tmp_path / "home" / "state" / "openclaw.sqlite"
    path.parent.mkdir(parents=True)
    attack(path, tmp_path / "openclaw.sqlite")
    source = SqliteSource(str(path), below=str(tmp_path / "home"))
    assert failure((await source.look("channels", ["telegram"]))["telegram"]).strange


async def test_a_database_that_is_exchanged_while_it_is_opened_shows_nothing(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "1")
    path = tmp_path / "home" / "openclaw.sqlite"
    path.parent.mkdir()
    path.touch()
    connect = sqlite3.connect

    def late(*given: Any, **more: Any) -> sqlite3.Connection:
        path.unlink()
        path.symlink_to(tmp_path / "openclaw.sqlite")
        made: sqlite3.Connection = connect(*given, **more)
        return made

    source = SqliteSource(str(path), below=str(tmp_path / "home"))
    monkeypatch.setattr(sqlite3, "connect", late)
    found = failure((await source.look("channels", ["telegram"]))["telegram"])
    assert (found.code, found.detail) == ("store_unknown", "it was exchanged meanwhile")
