"""A preview shows the beginning of every class, however much there is of another."""

from __future__ import annotations

import json
import os
from pathlib import Path

from holdfast.kernel.clock import HOUR_MS, ManualClock, SystemClock
from holdfast.machine.observer.preview import previews
from holdfast.machine.observer.run import programs_of
from holdfast.machine.observer.settings import read_settings
from holdfast.wire.consent import CLASSES

SESSIONS = 60


class Steps:
    """Time that passes with each look at it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def left_ms(self) -> float:
        self.left -= 1
        return self.left


def home(folder: Path) -> Path:
    """Return a home with more transcripts than there is time for, and a little of the rest."""
    state = folder / ".openclaw"
    sessions, workspace = state / "agents" / "main" / "sessions", state / "workspace"
    for made in (sessions, workspace, folder / "openclaw"):
        made.mkdir(parents=True)
    for at in range(SESSIONS):
        line = {
            "type": "message", "timestamp": "2026-11-30T10:00:00Z",
            "message": {"role": "user", "content": f"turn {at}"},
        }  # fmt: skip
        (sessions / f"s{at}.jsonl").write_text(json.dumps(line) + "\n")
    index = {"agent:main:main": {"sessionId": "s1", "updatedAt": 1_796_000_000_000}}
    (sessions / "sessions.json").write_text(json.dumps(index))
    (workspace / "MEMORY.md").write_text("likes tea")
    (workspace / "notes.txt").write_text("a note")
    (folder / "openclaw" / "openclaw-2026-11-30.log").write_text("started\n")
    return folder


def test_what_cannot_be_read_is_not_said_to_be_all(tmp_path: Path) -> None:
    where = home(tmp_path)
    settings = read_settings({"HOME": str(where), "TMPDIR": str(where)})
    later = ManualClock(SystemClock().now_ms() + HOUR_MS)
    sessions = where / ".openclaw/agents/main/sessions"
    os.link(sessions / "s1.jsonl", sessions / "again.jsonl")  # which is not opened
    found = {one.content: one for one in previews(programs_of(settings, later), since_ms=0)}
    assert not found["transcripts"].whole
    assert not found["counters"].whole
    assert found["logs"].whole
    assert found["transcripts"].items == SESSIONS - 1


def test_each_class_has_samples_where_one_takes_all_time(tmp_path: Path) -> None:
    where = home(tmp_path)
    settings = read_settings({"HOME": str(where), "TMPDIR": str(where)})
    later = ManualClock(SystemClock().now_ms() + HOUR_MS)  # what has just changed is not read yet
    programs = programs_of(settings, later)
    whole = {one.content: one for one in previews(programs, since_ms=0)}
    assert whole["transcripts"].sources == SESSIONS
    assert all(one.whole for one in whole.values())
    shown = [content for content in CLASSES if whole[content].samples]
    assert {"transcripts", "logs", "memory", "files"} <= set(shown)

    for left in (SESSIONS, 1):
        time = Steps(left)
        hurried = {one.content: one for one in previews(programs, since_ms=0, left_ms=time.left_ms)}
        assert [content for content in CLASSES if hurried[content].samples] == shown
        assert 0 < hurried["transcripts"].sources < SESSIONS
        assert not hurried["transcripts"].whole
        assert not hurried["counters"].whole
