"""What is found of OpenClaw, Claude Code and Codex, of which class, and what of it is in a body."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.machine.observer import cursors, limits
from holdfast.machine.observer.cursors import CursorReader, Place
from holdfast.machine.observer.readers.coding_agents import claude_code, codex
from holdfast.machine.observer.readers.openclaw import OpenClaw
from holdfast.machine.observer.readers.openclaw_sqlite import (
    DATABASE,
    SqliteSession,
    SqliteTranscripts,
)
from holdfast.machine.observer.readers.parts import Part, Source, Unread, encoded
from holdfast.machine.observer.readers.queries import Queries, Query
from holdfast.outbox.box import Outbox, open_outbox
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.times import parse_time

LATER_MS = 4_000_000_000_000


class Stage:
    """An OpenClaw's folders, and cursors as the observer keeps them."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / ".openclaw"
        self.sessions = self.state / "agents/main/sessions"
        self.workspace = self.state / "workspace"
        self.logs = folder / "logs"
        for path in (self.sessions, self.workspace / "memory", self.logs, folder / "queue"):
            path.mkdir(parents=True)
        self.clock = ManualClock(LATER_MS)
        self.openclaw = OpenClaw(
            self.state,
            workspace=self.workspace,
            log_folders=(folder / "none", self.logs, folder),
            clock=self.clock,
        )
        self.outbox: Outbox = open_outbox(
            folder / "queue", durability="process", prepare=cursors.prepare
        )
        self.reader = CursorReader(self.outbox.read)
        self.unwanted = False
        self.queries = Queries(self.state, clock=SystemClock(), unwanted=lambda: self.unwanted)

    @property
    def sqlite(self) -> SqliteTranscripts:
        return SqliteTranscripts(self.openclaw, self.queries, clock=self.clock)

    def parts(self, content: ContentClass, program: Any = None, since_ms: int = 0) -> list[Part]:
        found = []
        for source in (program or self.openclaw).sources(content):
            while (part := self.step(source, since_ms)) is not None:
                found.append(part)
        return [part for part in found if part.event_ids]

    def step(self, source: Source, since_ms: int) -> Part | None:
        part = source.next_part(self.reader, since_ms=since_ms)
        if part is not None:
            self.outbox.write(lambda current: cursors.save(current, part.cursor))
        return part


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.queries.close()
    made.outbox.close()


def message(text: str) -> str:
    return json.dumps({"type": "message", "id": text, "timestamp": "2026-11-30T10:00:00Z"}) + "\n"


def test_transcripts_also_those_that_were_reset_and_of_subagents(stage: Stage) -> None:
    (stage.sessions / "s1.jsonl").write_text(message("one"))
    (stage.sessions / "s2.jsonl.reset.2026-11-30").write_text(message("two"))
    (stage.sessions / "s1.trajectory.jsonl").write_text(message("not this"))
    (stage.sessions / "s1.jsonl.lock").write_text(message("nor this"))
    (stage.sessions / "s3.jsonl").write_text(message("three"))
    index = {"agent:main:subagent:abc": {"sessionId": "s3"}, "agent:main:main": {"sessionId": "s1"}}
    (stage.sessions / "sessions.json").write_text(json.dumps(index))
    found = {part.fields["session_file"]: part.fields for part in stage.parts("transcripts")}
    assert found.keys() == {"s1.jsonl", "s2.jsonl", "s3.jsonl"}
    assert found["s3.jsonl"]["subagent_id"] == "abc"
    assert "subagent_id" not in found["s1.jsonl"]
    assert stage.parts("transcripts") == []


def test_the_newest_logs_of_the_first_folder_that_exists(stage: Stage) -> None:
    for day in range(1, 8):
        (stage.logs / f"openclaw-2026-11-0{day}.log").write_text('{"0":"x"}\nnot json\n')
    (stage.logs / "other.log").write_text("x\n")
    found = stage.parts("logs")
    names = [part.fields["log_file"] for part in found]
    assert names == [f"openclaw-2026-11-0{day}.log" for day in range(3, 8)]
    assert found[0].fields["lines"] == [{"0": "x"}, {"raw": "not json"}]


def test_memory_files_are_sent_whole_each_time_they_change(stage: Stage) -> None:
    (stage.workspace / "MEMORY.md").write_text("likes tea; mail jo@example.org")
    (stage.workspace / "memory/day.md").write_text("monday")
    (stage.workspace / "notes.md").write_text("not a memory file")
    (stage.workspace / "memory/x.txt").write_text("nor this")
    bodies = [part.fields["memory_content"][0] for part in stage.parts("memory")]
    assert bodies == [
        {"path": "MEMORY.md", "content": "likes tea; mail [mail]"},
        {"path": "memory/day.md", "content": "monday"},
    ]
    assert stage.parts("memory") == []
    (stage.workspace / "memory/day.md").write_text("tuesday")
    (changed,) = stage.parts("memory")
    assert changed.fields["memory_content"][0]["content"] == "tuesday"
    assert changed.fields["memory_state"]["files"][0]["name"] == "memory/day.md"


def test_other_texts_of_the_workspace_are_files(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "outside.md").write_text("MARKER outside")
    for name, text in {
        "MEMORY.md": "MARKER memory", "memory/day.md": "MARKER memory", "memory/x.txt": "MARKER x",
        "notes.md": "mail jo@example.org", "a/b/c/d/deep.TXT": "deep", "a/b/c/d/e/no.txt": "MARKER",
        ".env": "MARKER hidden", ".git/config.txt": "MARKER hidden", "node_modules/p.js": "MARKER",
        "picture.png": "MARKER", "id_ed25519": "MARKER", "zero.txt": "MARKER\0",
        "large.txt": "MARKER" * limits.WORKSPACE_FILE_BYTES_MAX,
    }.items():  # fmt: skip
        path = stage.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (stage.workspace / "link.md").symlink_to(tmp_path / "outside.md")
    (stage.workspace / "folder").symlink_to(tmp_path)
    found = stage.parts("files")
    bodies = [part.fields["memory_content"][0] for part in found if part.event_ids]
    assert bodies == [
        {"path": "a/b/c/d/deep.TXT", "content": "deep"},
        {"path": "notes.md", "content": "mail [mail]"},
    ]
    assert "MARKER" not in json.dumps([dict(part.fields) for part in found])
    assert stage.parts("files") == []
    (stage.workspace / "notes.md").write_text("more")
    assert len(stage.parts("files")) == 1


def test_files_of_the_workspace_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        (stage.workspace / f"f{number}.md").write_text("x")
    monkeypatch.setattr(limits, "WORKSPACE_FILES_MAX", 3)
    assert len(stage.parts("files")) == 3
    monkeypatch.setattr(limits, "WORKSPACE_ENTRIES_MAX", 2)
    monkeypatch.setattr(limits, "WORKSPACE_FILES_MAX", 100)
    (stage.workspace / "f0.md").write_text("y")
    (stage.workspace / "f8.md").write_text("y")
    assert [part.fields["memory_content"][0]["path"] for part in stage.parts("files")] == ["f0.md"]


def test_a_memory_file_that_may_be_half_written_waits(stage: Stage) -> None:
    path = stage.workspace / "MEMORY.md"
    path.write_text("x")
    written_ms = path.stat().st_ctime_ns // 1_000_000
    stage.clock = ManualClock(written_ms + limits.SETTLED_MS - 1)
    stage.openclaw = OpenClaw(
        stage.state, workspace=stage.workspace, log_folders=(), clock=stage.clock
    )
    assert stage.parts("memory") == []
    stage.clock.advance(1)
    assert len(stage.parts("memory")) == 1


def test_a_large_memory_file_is_cut(stage: Stage) -> None:
    (stage.workspace / "MEMORY.md").write_text("\u20ac" * 200_000)
    (part,) = stage.parts("memory")
    assert len(json.dumps(part.fields, ensure_ascii=False).encode()) < limits.BODY_BYTES_MAX
    assert part.fields["memory_state"]["files"][0]["size"] == 600_000


def test_metadata_is_titles_and_times_and_cron_without_its_task(stage: Stage) -> None:
    index = {
        "agent:main:main": {
            "sessionId": "s1", "updatedAt": 1_795_226_324_570, "model": "m1",
            "origin": {"label": "Jo +49 30 1234567", "provider": "telegram"}, "totalTokens": 16,
            "skillsSnapshot": {"prompt": "MARKER private"},
        },
        "broken": {"sessionId": 5},
    }  # fmt: skip
    (stage.sessions / "sessions.json").write_text(json.dumps(index))
    (stage.state / "cron").mkdir()
    job = {
        "id": "j1", "name": "daily", "enabled": True, "payload": {"message": "MARKER task"},
        "schedule": {"kind": "cron", "expr": "0 9 * * *"},
        "state": {"lastStatus": "ok", "nextRunAtMs": 5, "lastError": "MARKER " * 9},
    }  # fmt: skip
    (stage.state / "cron/jobs.json").write_text(json.dumps({"version": 1, "jobs": [job]}))
    found = stage.parts("metadata")
    assert "MARKER" not in json.dumps([dict(part.fields) for part in found])
    (row,) = found[0].fields["sessions"]
    assert row["display_name"] == "Jo [phone]"
    assert (row["channel"], row["total_tokens"], row["model"]) == ("telegram", 16, "m1")
    data = found[1].fields["events"][0]["data"]
    assert data["expr"] == "0 9 * * *"
    assert data["state"] == {"lastStatus": "ok", "nextRunAtMs": 5}


def test_a_document_older_than_the_bound_is_not_sent(stage: Stage) -> None:
    path = stage.workspace / "MEMORY.md"
    path.write_text("old")
    os.utime(path, (1_000, 1_000))
    assert stage.parts("memory", since_ms=2_000_000) == []
    stage.outbox.write(lambda current: cursors.widen(current, "memory", 0))
    assert len(stage.parts("memory", since_ms=0)) == 1


def test_sessions_older_than_the_bound_are_not_sent_until_it_falls(stage: Stage) -> None:
    index = {
        "new": {"sessionId": "new", "updatedAt": "2026-11-30T10:00:00Z"},
        "old": {"sessionId": "old", "updatedAt": "2026-11-01T10:00:00Z"},
        "untold": {"sessionId": "untold"},
    }
    (stage.sessions / "sessions.json").write_text(json.dumps(index))
    since_ms = parse_time("2026-11-29T00:00:00Z")
    assert since_ms is not None
    (part,) = stage.parts("metadata", since_ms=since_ms)
    assert [row["session_id"] for row in part.fields["sessions"]] == ["new"]
    assert stage.parts("metadata", since_ms=since_ms) == []
    stage.outbox.write(lambda current: cursors.widen(current, "metadata", 0))
    (wider,) = stage.parts("metadata")
    assert [row["session_id"] for row in wider.fields["sessions"]] == ["new", "old", "untold"]
    # Else the queue would take it for what it has sent already.
    assert wider.event_ids != part.event_ids


LONG = "\x01" * 150_000
"""Six bytes a character in JSON."""


def test_titles_of_any_length_fit_an_upload(stage: Stage) -> None:
    row = dict.fromkeys(("displayName", "channel", "chatType", "model"), LONG[:250])
    index = {
        f"{number}{LONG[:250]}": {"sessionId": f"{number}" * 200, "totalTokens": 10**30, **row}
        for number in range(60)
    }
    (stage.sessions / "sessions.json").write_text(json.dumps(index))
    (part,) = stage.parts("metadata")
    assert 10 < len(part.fields["sessions"]) < 50
    assert len(encoded(part.fields)) < limits.BODY_BYTES_MAX
    (stage.sessions / "sessions.json").write_text(
        json.dumps({"s1": {"sessionId": "s1", "displayName": LONG}})
    )
    (part,) = stage.parts("metadata")
    (session,) = part.fields["sessions"]
    assert session["display_name"] == LONG[: limits.LABEL_CHARS_MAX]


def test_cron_jobs_of_any_length_fit_an_upload(stage: Stage) -> None:
    (stage.state / "cron").mkdir()
    path = stage.state / "cron/jobs.json"
    path.write_text(json.dumps({"jobs": [{"name": LONG}]}))
    (part,) = stage.parts("metadata")
    assert part.fields["events"][0]["data"]["name"] == LONG[: limits.LABEL_CHARS_MAX]
    state = {"n": 10**40} | {f"{number}{LONG[:250]}": number for number in range(40)}
    job = {"id": LONG[:250], "name": LONG[:250], "schedule": {"expr": LONG[:250]}, "state": state}
    path.write_text(json.dumps({"jobs": [job] * 12}))
    (part,) = stage.parts("metadata")
    events = part.fields["events"]
    assert 3 < len(events) < 12
    assert len(encoded(part.fields)) < limits.BODY_BYTES_MAX
    assert len(events[0]["data"]["state"]) == limits.JOB_FIELDS_MAX
    assert "n" not in events[0]["data"]["state"]


def test_a_subagent_of_any_name_leaves_room_for_its_lines(stage: Stage) -> None:
    (stage.sessions / "s1.jsonl").write_text(message("one"))
    index = {f"agent:main:subagent:{LONG}": {"sessionId": "s1"}}
    (stage.sessions / "sessions.json").write_text(json.dumps(index))
    (part,) = stage.parts("transcripts")
    assert part.fields["subagent_id"] == LONG[: limits.LABEL_CHARS_MAX]


def test_claude_code_and_codex(stage: Stage, tmp_path: Path) -> None:
    claude, other = tmp_path / ".claude/projects/-work/s", tmp_path / ".codex/sessions/2026/11/30"
    for folder in (claude / "subagents", other):
        folder.mkdir(parents=True)
    (claude.parent / "abc.jsonl").write_text(message("c"))
    (claude / "subagents/agent-1.jsonl").write_text(message("a"))
    (other / "rollout-1.jsonl").write_text(message("x"))
    names = [
        part.fields["session_file"]
        for program in (claude_code(tmp_path / ".claude"), codex(tmp_path / ".codex"))
        for part in stage.parts("transcripts", program)
    ]
    assert sorted(names) == ["abc.jsonl", "agent-1.jsonl", "rollout-1.jsonl"]


def test_every_class_of_an_empty_home_is_empty(stage: Stage, tmp_path: Path) -> None:
    for program in (stage.openclaw, stage.sqlite, claude_code(tmp_path / "x")):
        for content in CLASSES:
            assert stage.parts(content, program) == []


# ------------------------------------------------------------------ SQLite


def database(stage: Stage, *, mode: str = "wal") -> sqlite3.Connection:
    folder = stage.state / "agents/main/agent"
    folder.mkdir()
    connection = sqlite3.connect(folder / "openclaw-agent.sqlite", isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute(
        "CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT,"
        " created_at INTEGER, event_zstd BLOB, PRIMARY KEY (session_id, seq))"
    )
    return connection


def insert(connection: sqlite3.Connection, session: str, seq: int, text: str | None) -> None:
    connection.execute(
        "INSERT INTO transcript_events VALUES (?, ?, ?, 1795226324570, NULL)", (session, seq, text)
    )


def test_sqlite_transcripts_come_once_and_go_on(stage: Stage) -> None:
    connection = database(stage)
    program = stage.sqlite
    many = 2 * limits.BLOCK_LINES_MAX + 1
    for seq in range(many):
        insert(connection, "s1", seq, message(f"e{seq}"))
    insert(connection, "s2", 4, None)
    found = stage.parts("transcripts", program)
    events = [event for part in found for event in part.fields["events"]]
    assert [event["id"] for event in events[:-1]] == [f"e{seq}" for seq in range(many)]
    assert events[-1] == {"type": "unreadable", "encoding": "zstd", "seq": 4}
    assert stage.parts("transcripts", program) == []
    insert(connection, "s2", 5, message("next"))
    (part,) = stage.parts("transcripts", program)
    assert part.fields["session_file"] == "s2.jsonl"
    connection.close()


def test_a_withdrawn_upload_of_sqlite_is_read_again_with_the_same_events(stage: Stage) -> None:
    connection = database(stage)
    insert(connection, "s1", 1, message("e1"))
    (lost,) = stage.parts("transcripts", stage.sqlite)
    content, places = lost.cursor.content, [Place(lost.cursor.stream, lost.start)]
    stage.outbox.write(lambda current: cursors.rewind(current, content, places, places))
    insert(connection, "s1", 2, message("e2"))
    again, more = stage.parts("transcripts", stage.sqlite)
    assert again.event_ids == lost.event_ids
    assert len(more.event_ids) == 1
    first = [Place(lost.cursor.stream, 0)]
    stage.outbox.write(lambda current: cursors.rewind(current, content, first, first))
    stage.outbox.write(lambda current: cursors.save(current, lost.cursor._replace(offset=0)))
    connection.execute("DELETE FROM transcript_events WHERE seq = 1")
    (rest,) = stage.parts("transcripts", stage.sqlite)
    assert rest.event_ids == more.event_ids, "an edge with nothing before it is none"
    connection.close()


def test_reading_sqlite_never_holds_up_the_agents_writes(stage: Stage) -> None:
    connection = database(stage)
    connection.execute("PRAGMA busy_timeout = 0")
    program = stage.sqlite
    insert(connection, "s1", 1, message("a"))
    sources = list(program.sources("transcripts"))
    connection.execute("BEGIN IMMEDIATE")
    insert(connection, "s1", 2, message("b"))
    assert stage.step(sources[0], 0) is not None
    connection.execute("COMMIT")
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert len(stage.parts("transcripts", program)) == 1
    connection.close()


@pytest.mark.parametrize("mode", ["delete", "persist"])
def test_a_database_that_a_reader_would_lock_is_left_alone(stage: Stage, mode: str) -> None:
    connection = database(stage, mode=mode)
    insert(connection, "s1", 1, message("a"))
    assert stage.parts("transcripts", stage.sqlite) == []
    connection.close()


def test_a_database_of_an_agent_that_does_not_run(stage: Stage) -> None:
    connection = database(stage)
    insert(connection, "s1", 1, message("a"))
    connection.close()
    assert len(stage.parts("transcripts", stage.sqlite)) == 1


def test_reading_a_database_leaves_nothing_in_its_folder(stage: Stage) -> None:
    connection = database(stage)
    insert(connection, "s1", 1, message("a"))
    connection.close()
    folder = stage.state / "agents/main/agent"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {DATABASE}
    assert len(stage.parts("transcripts", stage.sqlite)) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_read_while_an_agent_starts_does_not_count(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = database(stage)
    insert(connection, "s1", 1, message("a"))
    connection.close()
    path = stage.state / "agents/main/agent" / DATABASE
    again = sqlite3.connect(path, isolation_level=None)
    ask = stage.queries.ask

    def ask_while_it_starts(path: Path, query: Query, kind: Any) -> Any:
        found = ask(path, query, kind)
        insert(again, "s1", 2, message("b"))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(stage.queries, "ask", ask_while_it_starts)
        (source,) = stage.sqlite.sources("transcripts")
        assert isinstance(source, Unread), "what it has is not known, which is not nothing"
    (source,) = stage.sqlite.sources("transcripts")
    assert isinstance(source, SqliteSession)
    assert source.newest == 2
    again.close()


def test_a_database_that_did_not_change_is_not_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = database(stage)
    insert(connection, "s1", 1, message("a"))
    program = stage.sqlite
    first = list(program.sources("transcripts"))
    with monkeypatch.context() as patched:
        patched.setattr(stage.queries, "ask", None)
        assert list(program.sources("transcripts")) == first
    insert(connection, "s2", 1, message("b"))
    assert len(list(program.sources("transcripts"))) == 2
    connection.close()


def test_a_session_that_was_written_anew_is_read_and_counted_from_its_beginning(
    stage: Stage,
) -> None:
    connection = database(stage)
    program = stage.sqlite
    for seq in range(5):
        insert(connection, "s1", seq, message(f"old{seq}"))
    assert len(stage.parts("transcripts", program)) == 1
    (source,) = program.sources("transcripts")
    lines = source.next_lines(stage.reader, "counters")
    assert lines is not None
    stage.outbox.write(lambda current: cursors.save(current, lines.cursor))
    connection.execute("DELETE FROM transcript_events")
    for seq in range(2):
        insert(connection, "s1", seq, message(f"new{seq}"))
    (part,) = stage.parts("transcripts", program)
    assert [event["id"] for event in part.fields["events"]] == ["new0", "new1"]
    assert stage.parts("transcripts", program) == []
    (source,) = program.sources("transcripts")
    again = source.next_lines(stage.reader, "counters")
    assert again is not None
    assert again.anew
    assert len(again.contents) == 2
    connection.close()


@pytest.mark.parametrize("open_still", [True, False])
def test_a_database_behind_a_link_is_left_alone(stage: Stage, *, open_still: bool) -> None:
    connection = database(stage)
    insert(connection, "s1", 1, message("a"))
    if not open_still:
        connection.close()
    folder = stage.state / "agents/main/agent"
    folder.rename(stage.state / "elsewhere")
    folder.symlink_to(stage.state / "elsewhere")
    assert list(stage.sqlite.sources("transcripts")) == []
    connection.close()


def test_another_schema_or_no_database_has_nothing(stage: Stage) -> None:
    connection = database(stage)
    connection.execute("DROP TABLE transcript_events")
    connection.close()
    assert stage.parts("transcripts", stage.sqlite) == []
    (stage.state / "agents/main/agent/openclaw-agent.sqlite").write_bytes(b"not a database" * 99)
    assert stage.parts("transcripts", stage.sqlite) == []
