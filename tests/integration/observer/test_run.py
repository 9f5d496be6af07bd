"""The observer's loop in this process: what it does first, and in which order."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.log import NoLog
from holdfast.machine.content_key import key_of
from holdfast.machine.controller.observing.protocol import UNUSABLE
from holdfast.machine.observer import cursors, limits
from holdfast.machine.observer.cursors import Cursor
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.readers.openclaw_sqlite import DATABASE, SqliteTranscripts
from holdfast.machine.observer.run import Observer, run
from holdfast.machine.observer.sealing import Name, Sealer
from holdfast.machine.observer.settings import read_settings
from holdfast.machine.observer.upload import Envelope
from holdfast.wire.api.browser_keys import OBSERVER_SAMPLES_PATH
from holdfast.wire.browser_keys import PREVIEW
from holdfast.wire.consent import PREVIEW_MS, Preview
from holdfast.wire.controller.checkin import ObserverWork
from tests.integration.observer.conftest import KEY, Home
from tests.support.browser_seal import new_pair, open_from, point_of, text_of
from tests.support.consent_signer import NODE, Signer, answer, to_json
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.recording_plane import RecordingPlane, register_home

STREAM = "5" * 16


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    """An observer without the address of a plane: it reads and queues, and sends nothing."""
    settings = read_settings({"HOME": str(tmp_path), "TMPDIR": str(tmp_path)})
    settings.folder.mkdir(parents=True)
    made = Observer(settings, clock=SystemClock(), log=NoLog(), draw=os.urandom, version="1")
    assert made.gate.pin(NODE, Signer().public) == ""
    return made


def cursor(offset: int) -> Cursor:
    return Cursor("logs", STREAM, "a", 1, offset, "", 0)


def test_a_revocation_within_a_turn_is_followed_after_it(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a cursor that the turn saves last would pass what the revocation had put back."""
    observer.gate.heard(200, answer(Signer().grant(1, ["logs"]), sync_allowed=True))
    turns: list[object] = []

    def turn() -> bool:
        turns.append(observer.uploader.depth())
        if len(turns) > 1:
            observer.end()
            return False
        row = Envelope(
            content="logs",
            endpoint="logs",
            stream=STREAM,
            start=0,
            event_ids=(Name("e"),),
            body="{}",
        )
        assert observer.uploader.send(row, cursor(10)) == "queued"
        beat = threading.Thread(
            target=observer.gate.heard, args=(200, answer(Signer().grant(2, []), sync_allowed=True))
        )
        beat.start()
        beat.join()
        assert observer.uploader.pass_over(cursor(20))
        return True

    found: list[Cursor | None] = []

    def closing(_seconds: float) -> None:
        reader = cursors.CursorReader(observer.uploader.outbox.read)
        found.append(reader.of_name("logs", "a"))
        close(patience(3))

    close = observer.uploader.outbox.close
    monkeypatch.setattr(observer.collector, "run", turn)
    monkeypatch.setattr(observer.uploader.outbox, "close", closing)
    observer.run()
    assert turns == [{}, {}]
    (kept,) = found
    assert kept is not None
    assert kept.offset == 0


def test_samples_of_a_signed_preview_show_databases_and_their_numbers(
    home: Home, plane: RecordingPlane
) -> None:
    """Though hearing of it cut the run of reading short, in which they would not be read."""
    register_home(home.path, KEY)
    database = home.path / ".openclaw/agents/main/agent" / DATABASE
    database.parent.mkdir()
    turn = {
        "type": "message", "timestamp": "2026-11-30T10:00:00Z",
        "message": {"role": "user", "content": "hello"},
    }  # fmt: skip
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(
            "CREATE TABLE transcript_events (session_id, seq, event_json, created_at)"
        )
        row = ("s1", 1, json.dumps(turn), 1)
        connection.execute("INSERT INTO transcript_events VALUES (?, ?, ?, ?)", row)
    named = {"HOME": str(home.path), "HOLDFAST_PLANE_URL": plane.url}
    settings = read_settings(named | {"TMPDIR": str(home.path / "tmp")})
    settings.folder.mkdir(parents=True)
    clock, pair = SystemClock(), new_pair()
    made = Observer(settings, clock=clock, log=NoLog(), draw=os.urandom, version="1")
    assert made.gate.pin(NODE, Signer().public) == ""
    until_ms = clock.now_ms() + PREVIEW_MS
    signed = Signer().sign(
        Preview(
            version=1, node=NODE, number=2, public_key=text_of(point_of(pair)),
            at_ms=clock.now_ms(), until_ms=until_ms,
        )
    )  # fmt: skip
    heard = made.gate.heard(200, answer(sync_allowed=False, preview=to_json(signed)))
    assert heard is not None
    made._heard(heard)
    made._preview()
    made.uploader.close()
    for program in made._programs:
        if isinstance(program, SqliteTranscripts):
            program._queries.close()
    (sent,) = [one.body for one in plane.requests if one.path == OBSERVER_SAMPLES_PATH]
    inner = open_from(pair, PREVIEW, NODE, sent["sealed"]).decode()
    told = json.loads(Sealer(key_of(KEY), draw=os.urandom).unseal(inner))["classes"]
    found = {one["content"]: (one["sources"], one["items"], one["whole"]) for one in told}
    assert found["transcripts"] == found["counters"] == (1, 1, True)


@pytest.mark.parametrize(
    ("key", "node", "pinned"),
    [
        (Signer().public[:-1], NODE, False),
        (Signer().public, "", False),
        ("", NODE, False),
        (Signer(2).public, NODE, True),
        (Signer().public, "nd_other", True),
    ],
)
def test_a_consent_key_that_cannot_be_used_ends_it_before_another_is_asked_for(
    home: Home, plane: RecordingPlane, key: str, node: str, *, pinned: bool
) -> None:
    register_home(home.path, KEY)
    named = {"HOLDFAST_CONSENT_KEY": key, "HOLDFAST_CONSENT_NODE": node}
    where = {"HOME": str(home.path), "HOLDFAST_PLANE_URL": plane.url}
    settings = read_settings(where | named)
    settings.folder.mkdir(parents=True)
    clock, log = SystemClock(), Lines()
    if pinned:
        assert Gate(settings.folder, clock=clock, log=log).pin(NODE, Signer().public) == ""
    code = run(
        settings,
        clock=clock,
        log=log,
        draw=os.urandom,
        version="1",
        on_signal=lambda handlers: handlers[signal.SIGTERM](signal.SIGTERM, None),
    )
    assert code == UNUSABLE
    (told,) = log.named("gate.not_pinned")
    assert "HOLDFAST_CONSENT_KEY" in told["settings"]
    assert plane.counts() == {}


def test_a_consent_key_that_is_named_is_the_one_that_is_pinned(home: Home) -> None:
    named = {"HOLDFAST_CONSENT_KEY": Signer(2).public, "HOLDFAST_CONSENT_NODE": NODE}
    settings = read_settings({"HOME": str(home.path)} | named)
    settings.folder.mkdir(parents=True)
    made = Observer(settings, clock=SystemClock(), log=NoLog(), draw=os.urandom, version="1")
    assert made.pin()
    made.gate.heard(200, answer(Signer(2).grant(1, ["logs"])))
    assert made.gate.open_classes() == {"logs"}
    made.uploader.close()


def test_it_says_what_it_did_and_why_nothing_is_sent(home: Home, plane: RecordingPlane) -> None:
    register_home(home.path, KEY)
    settings = read_settings({"HOME": str(home.path), "HOLDFAST_PLANE_URL": plane.url})
    settings.folder.mkdir(parents=True)
    told: list[ObserverWork] = []
    made = Observer(
        settings, clock=SystemClock(), log=NoLog(), draw=os.urandom, version="1", tell=told.append
    )
    running = threading.Thread(target=made.run)
    running.start()
    try:
        plane.wait(lambda: bool(told))
        assert told[-1].paused == made.gate.closed_because() != ""
        assert (told[-1].looked, told[-1].sources, told[-1].stuck) == (0, 0, "")
        (home.sessions / "bad.jsonl").symlink_to(home.sessions / "s1.jsonl")
        home.say("s1", "hello")
        os.link(home.sessions / "s1.jsonl", home.sessions / "s2.jsonl")
        plane.allow()

        def is_told() -> bool:
            plane.woken.set()
            return bool(told[-1].unread)

        plane.wait(is_told)
        last = told[-1]
        assert last.paused == ""
        assert last.heard > 0
        assert [(each.reason, each.sources) for each in last.unread] == [
            ("LineFile: has another name (a hard link)", 2)
        ], "each once, though they are read for numbers too"
    finally:
        made.end()
        running.join(patience(10))


def test_reading_that_hangs_and_heartbeats_without_answer_are_said(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ObserverWork] = []
    observer._tell = told.append
    monkeypatch.setattr(limits, "STUCK_MS", -1)
    observer._beaten()
    assert told[-1].stuck.startswith("reading has made no step for")
    monkeypatch.setattr(limits, "WORD_MS", -1)
    observer._beaten()
    assert told[-1].stuck == "it could not register: the plane was not asked"
    observer.uploader.close()


def test_a_read_that_hangs_holds_up_no_heartbeat_and_no_purge(
    home: Home, plane: RecordingPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUERY_S", 3_600)
    register_home(home.path, KEY)
    database = home.path / ".openclaw/agents/main/agent" / DATABASE
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE transcript_events (session_id, seq, event_json)")
    database.with_name(f"{DATABASE}-wal").touch()
    os.mkfifo(database.with_name(f"{DATABASE}-journal"))
    home.log("MARKER")
    plane.fault = lambda path: (503, b"{}") if path == "/ingest/logs" else None
    settings = read_settings(
        {"HOME": str(home.path), "HOLDFAST_PLANE_URL": plane.url, "TMPDIR": str(home.path / "tmp")}
    )
    settings.folder.mkdir(parents=True)
    made = Observer(settings, clock=SystemClock(), log=NoLog(), draw=os.urandom, version="1")
    running = threading.Thread(target=made.run)
    running.start()
    try:
        plane.wait(lambda: plane.count("/ingest/heartbeat") > 0)
        plane.allow(("logs",))
        plane.wait(lambda: made.uploader.depth() == {"logs": 1})
        plane.allow(("logs", "transcripts"))
        plane.wait(lambda: any("sqlite_queries" in part for part in started_by_us()))
        heard = plane.count("/ingest/heartbeat")
        plane.woken.set()
        plane.wait(lambda: plane.count("/ingest/heartbeat") > heard)
        assert made.uploader.depth() == {"logs": 1}
        plane.refuse()
        plane.wait(lambda: made.uploader.depth() == {})
    finally:
        made.end()
        running.join(patience(10))
    assert not running.is_alive()


def started_by_us() -> list[str]:
    """Return the command lines of this process's children."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it ends at this moment
            found.append(" ".join(child.cmdline()))
    return found
