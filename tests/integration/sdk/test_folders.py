"""Existing folders: made by another program, written to by many, damaged, restored."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.sdk import Brain, doctor, event_log, schema
from tests.integration.outbox.intake import SRC, HttpIntake, until
from tests.support.patience import patience

Opened = Callable[..., Brain]

OTHER_TABLES = """
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, ts TEXT NOT NULL, session INTEGER,
  type TEXT NOT NULL, source TEXT, data_json TEXT, tags_json TEXT, valid_from TEXT,
  valid_until TEXT, scope TEXT DEFAULT 'local');
CREATE TABLE migrations (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE facts (id INTEGER PRIMARY KEY AUTOINCREMENT, fact_value TEXT NOT NULL);
CREATE INDEX idx_events_type ON events(type);
CREATE VIRTUAL TABLE brain_fts USING fts5(source, text);
CREATE TABLE sync_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, payload_json TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('correction', 'lesson', 'event')),
  enqueued_at REAL NOT NULL, synced_at REAL, attempts INTEGER DEFAULT 0, last_error TEXT);
CREATE INDEX idx_sync_queue_pending ON sync_queue (synced_at) WHERE synced_at IS NULL;
"""
OLD_LINE = b'{"ts":"2026-04-15T10:00:00+00:00","type":"CORRECTION","source":"brain.correct"}\n'


def make_other_folder(folder: Path) -> dict[str, Any]:
    """Make a folder as the other SDK leaves it, and return what must never change."""
    folder.mkdir()
    with sqlite3.connect(folder / "system.db") as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(OTHER_TABLES)
        for n in range(6):
            texts = {
                "draft_text": f"We utilize part {n % 5}.",
                "final_text": f"We use part {n % 5}.",
            }
            data = json.dumps({**texts, "category": "TONE", "severity": "minor"})
            moment = f"2026-04-15T10:00:0{n}.123456+00:00"
            db.execute(
                "INSERT INTO events (ts, session, type, data_json) VALUES (?, 1, 'CORRECTION', ?)",
                (moment, data),
            )
        db.execute(
            "INSERT INTO events (ts, type, data_json)"
            " VALUES ('2026-04-15T10:00:09', 'CORRECTION', ?)",
            ("{not json",),
        )
        db.execute(
            "INSERT INTO sync_queue (payload_json, kind, enqueued_at) VALUES ('{}', 'event', 1)"
        )
        db.execute("INSERT INTO facts (fact_value) VALUES ('theirs')")
    (folder / "lessons.md").write_text("[2026-04-15] [RULE:0.91] TONE: theirs\n")
    (folder / "events.jsonl").write_bytes(OLD_LINE * 2)
    db.close()
    return theirs(folder)


def theirs(folder: Path) -> dict[str, Any]:
    db = sqlite3.connect(folder / "system.db")
    kept: dict[str, Any] = {
        table: db.execute(f"SELECT * FROM {table}").fetchall()
        for table in ("events", "facts", "migrations")
    }
    kept["queue"] = db.execute(
        "SELECT id, payload_json, kind, enqueued_at, synced_at, attempts FROM sync_queue"
        " WHERE state IS NULL"
        if "state" in {row[1] for row in db.execute("PRAGMA table_info(sync_queue)")}
        else "SELECT id, payload_json, kind, enqueued_at, synced_at, attempts FROM sync_queue"
    ).fetchall()
    db.close()
    kept["lessons.md"] = (folder / "lessons.md").read_text()
    kept["log"] = (folder / "events.jsonl").read_bytes()[: 2 * len(OLD_LINE)]
    return kept


def test_another_programs_folder_opens_as_it_is_and_can_go_back(
    opened: Opened, plane: HttpIntake, tmp_path: Path
) -> None:
    before = make_other_folder(tmp_path / "old")
    brain = opened("old", url=plane.url, api_key="k")
    made = brain.correct("a new one", "a newer one", session="s")
    assert brain.flush(10).pending == 0
    assert list(plane.stored) == [made.event_id]
    brain.close()
    assert theirs(tmp_path / "old") == before
    backup = tmp_path / "old" / "system.db.before-holdfast-1"
    copy = sqlite3.connect(backup)
    assert {
        name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE name LIKE 'hf_%'")
    } == set()
    assert copy.execute("SELECT count(*) FROM events").fetchone() == (7,)
    copy.close()
    lines = (tmp_path / "old" / "events.jsonl").read_bytes().splitlines()
    assert json.loads(lines[2])["event_id"] == made.event_id
    # Opened again nothing is migrated twice, and no second backup is made.
    opened("old").close(0)
    assert len(list((tmp_path / "old").glob("system.db.before*"))) == 1


def test_old_corrections_are_sent_only_when_asked_for_and_once(
    opened: Opened, plane: HttpIntake, tmp_path: Path
) -> None:
    before = make_other_folder(tmp_path / "old")
    brain = opened("old", url=plane.url, api_key="k")
    told = {check.name: check.detail for check in doctor.examine(brain.folder).checks}
    assert "7 of another program, sent only with backfill" in told["database"]
    assert brain.sync(deadline_s=10).queued_again == 0
    assert plane.stored == {}
    done = brain.sync(backfill=True, deadline_s=20)
    # Six were good; the sixth repeats the first, in the same session.
    assert (done.queued_again, done.exit_code) == (5, 0)
    sent = [row["payload"] for row in plane.stored.values() if row["kind"] == "correction"]
    assert [(row["session"], row["count"], row["day"], row["category"]) for row in sent] == [
        *[("1", 1, "2026-04-15", "TONE")] * 5,
        ("1", 2, "2026-04-15", "TONE"),
    ]
    assert brain.lessons()[0].corrections == 5
    count = len(plane.stored)
    assert brain.sync(backfill=True, deadline_s=10).queued_again == 0
    assert len(plane.stored) == count
    brain.close()
    assert theirs(tmp_path / "old") == before


def test_a_newer_schema_is_left_alone(opened: Opened) -> None:
    brain = opened()
    brain.correct("a b", "a c")
    brain.close(0)
    with sqlite3.connect(f"{brain.folder}/system.db") as db:
        db.execute(
            "INSERT INTO hf_schema VALUES (?, 'from the future', 0, '')",
            (len(schema.MIGRATIONS) + 1,),
        )
    db.close()
    later = opened()
    made = later.correct("d e", "d f")
    assert not made.persisted
    assert "upgrade holdfast" in made.reason
    assert not list(Path(brain.folder).glob("*quarantine*"))


def logged(brain: Brain) -> list[int]:
    lines = Path(brain.folder, "events.jsonl").read_bytes().splitlines()
    return [json.loads(line)["n"] for line in lines]


def test_the_log_is_written_by_itself_and_repaired_from_the_database(opened: Opened) -> None:
    brain = opened()
    path = Path(brain.folder, "events.jsonl")
    for n in range(5):
        brain.correct(f"a{n}", f"b{n}", session="s")
    until(lambda: path.exists() and len(path.read_bytes().splitlines()) == 5, "it was written")
    # Torn in the middle of the last line, as by a loss of power.
    path.write_bytes(path.read_bytes()[:-20])
    brain.correct("more", "text", session="s")
    brain.close(0)
    assert logged(brain) == [1, 2, 3, 4, 5, 6]
    path.unlink()
    opened().close(0)
    assert logged(brain) == [1, 2, 3, 4, 5, 6]
    path.write_bytes(path.read_bytes() + b'{"somebody": "else\'s, torn')
    again = opened()
    again.correct("and", "more", session="s")
    again.close(0)
    lines = path.read_bytes().splitlines()
    assert lines[6] == b'{"somebody": "else\'s, torn'
    assert json.loads(lines[7])["n"] == 7
    assert event_log.last_number(path) == 7


def test_a_hole_in_the_log_is_filled_by_repair(opened: Opened) -> None:
    brain = opened()
    for n in range(5):
        brain.correct(f"a{n}", f"b{n}", session="s")
    brain.close(0)
    path = Path(brain.folder, "events.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(OLD_LINE + lines[0] + lines[4])
    doctor.repair(brain.folder)
    assert path.read_bytes() == OLD_LINE + b"".join(lines)


MANY = """
from holdfast.sdk import Brain
folder, who = sys.argv[1:3]
brain = Brain(folder, durability="process", notice=lambda text: None, gate=lambda: "shut")
print("ready", flush=True)
sys.stdin.readline()
for n in range(25):
    part = "ab"[n % 2] + who
    brain.correct(f"We utilize {part}.", f"We use {part}.", session=f"{who}-{n}")
brain.close(0)
"""


def test_eight_processes_lose_no_lesson(opened: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "brain"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", "import sys\n" + MANY, str(folder), str(who)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(SRC)},
        )
        for who in range(8)
    ]
    for program in started:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in started:
        program.communicate("\n", timeout=patience(50))
        assert program.returncode == 0
    brain = opened(gate=lambda: "shut")
    [lesson] = [lesson for lesson in brain.lessons() if "utilize" in lesson.text]
    # Every correction counts, from every process: no write is lost under another's.
    assert lesson.corrections == 8 * 25
    assert lesson.revision == lesson.corrections - 1
    assert brain.stats().dropped == 0
    assert sorted(logged(brain)) == list(range(1, brain.tail()[-1].id + 1))
