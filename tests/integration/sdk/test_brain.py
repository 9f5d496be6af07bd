"""The Brain in its folder: stored records, identity of corrections, lessons."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import DAY_MS, SystemClock
from holdfast.sdk import Brain

Made = Callable[..., Brain]


class Calendar(SystemClock):
    """The real clock, with a date that is set by hand."""

    __slots__ = ("ahead_ms",)

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        # Noon, so that no test runs across midnight.
        noon_ms = 1_700_049_600_000 - 1_700_049_600_000 % DAY_MS + DAY_MS // 2
        return noon_ms + self.ahead_ms


def queued(brain: Brain) -> list[tuple[str, str, dict[str, Any]]]:
    with sqlite3.connect(f"{brain.folder}/system.db") as connection:
        rows = connection.execute("SELECT kind, event_id, payload_json FROM sync_queue ORDER BY id")
        return [(kind, event_id, json.loads(text)) for kind, event_id, text in rows]


def test_a_correction_is_recorded_judged_and_queued_under_one_id(opened: Made) -> None:
    brain = opened()
    made = brain.correct("Please utilize the tool.", "Please use the tool.", session=7)
    assert (made.category, made.severity) == ("STYLE", "moderate")
    assert (made.persisted, made.queued, made.seen, made.deduplicated) == (True, True, 1, False)
    assert (
        made.content_hash == sha256(b"Please utilize the tool.\0Please use the tool.").hexdigest()
    )
    [(kind, event_id, payload)] = queued(brain)
    assert (kind, event_id) == ("correction", made.event_id)
    assert payload == {
        "session": "7", "category": "STYLE", "severity": "moderate",
        "draft": "Please utilize the tool.", "final": "Please use the tool.",
        "content_hash": made.content_hash, "context": None, "count": 1,
        "edit_distance": made.edit_distance, "summary": "“utilize” became “use”",
        "classifications": ["STYLE"], "day": made.day,
    }  # fmt: skip
    brain.close(0)
    [line] = (Path(brain.folder) / "events.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert (logged["event_id"], logged["data"]) == (made.event_id, payload)


def test_the_same_in_one_session_is_one_and_in_another_a_recurrence(opened: Made) -> None:
    brain = opened()
    first = brain.correct("utilize it", "use it", session="a")
    again = brain.correct("utilize it", "use it", session="a")
    assert (again.event_id, again.seen, again.deduplicated) == (first.event_id, 2, True)
    assert again.lessons == ()
    other = brain.correct("utilize it", "use it", session="b")
    assert other.event_id != first.event_id
    assert other.content_hash == first.content_hash
    assert (other.seen, len(other.lessons)) == (1, 1)
    rows = [
        (event_id, payload["count"])
        for kind, event_id, payload in queued(brain)
        if kind == "correction"
    ]
    assert rows == [(first.event_id, 1), (f"{first.event_id}~2", 2), (other.event_id, 1)]
    assert [event.type for event in brain.tail()].count("CORRECTION") == 2


def test_without_a_session_the_utc_day_is_the_session(opened: Made) -> None:
    clock = Calendar()
    brain = opened(clock=clock)
    first = brain.correct("a b c", "a b d")
    clock.ahead_ms += 60_000
    assert brain.correct("a b c", "a b d").event_id == first.event_id
    clock.ahead_ms += DAY_MS
    tomorrow = brain.correct("a b c", "a b d")
    assert (tomorrow.seen, tomorrow.event_id != first.event_id) == (1, True)
    assert tomorrow.day > first.day


def test_a_flood_of_repeats_is_told_in_steps(opened: Made) -> None:
    brain = opened()
    seen = [brain.correct("same", "thing", session="loop").seen for _ in range(120)]
    assert seen == [*range(1, 121)]
    told = [payload["count"] for kind, _, payload in queued(brain) if kind == "correction"]
    assert told == [*range(1, 11), 20, 50, 100]


def test_wrong_arguments_are_named_and_leave_nothing(opened: Made) -> None:
    brain = opened()
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("both are empty", {"draft": " ", "final": ""}),
        ("nothing was corrected", {"draft": "a", "final": "a"}),
        ("characters together", {"draft": "a" * 60_000, "final": "b" * 60_000}),
        ("draft: want a str", {"draft": 4, "final": "a"}),
        ("category", {"draft": "a", "final": "b", "category": "no such thing!"}),
        ("session", {"draft": "a", "final": "b", "session": "x" * 65}),
        ("session", {"draft": "a", "final": "b", "session": True}),
        ("context", {"draft": "a", "final": "b", "context": 3}),
    ]
    for message, arguments in wrong:
        with pytest.raises(ValueError, match=message):
            brain.correct(**arguments)
    with pytest.raises(ValueError, match="data"):
        brain.record("NOTE", {"a": object()})
    with pytest.raises(ValueError, match=r"data: \d+ bytes"):
        brain.record("NOTE", {"a": "ü" * 150_000})
    with pytest.raises(ValueError, match="tags"):
        brain.record("NOTE", {}, tags=["t"] * 21)
    with pytest.raises(ValueError, match="durability"):
        opened(durability="stone")
    assert brain.tail() == []
    assert queued(brain) == []


def test_long_and_unwritable_texts_are_kept_within_bounds(opened: Made) -> None:
    brain = opened()
    same = "x\x01" * 10_000
    first = brain.correct(same + "tail one", "y" * 40_000)
    other = brain.correct(same + "tail two", "y" * 40_000)
    assert len(first.draft) <= 20_000
    assert first.draft != other.draft
    assert first.event_id != other.event_id
    assert brain.correct("lone \ud800 half", "whole").persisted
    assert brain.stats().pending >= 3


def test_nothing_private_reaches_folder_or_queue(opened: Made) -> None:
    brain = opened(url="http://127.0.0.1:9", api_key="hfm_secretsecret1234")
    secret = "sk-" + "verysecretkey12345678"
    brain.correct(
        f"mail jo@x.org key {secret}", "mail jo@x.org", context="for eve@x.org", session="s"
    )
    brain.record("NOTE", {"who": "bob@x.org", "key": secret}, tags=["al@x.org"])
    brain.close(0)
    files = [path for path in Path(brain.folder).iterdir() if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    for private in (secret, "jo@x", "eve@x", "bob@x", "al@x", "hfm_secretsecret1234"):
        assert private.encode() not in written
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_recurs_becomes_a_rule_and_is_told(opened: Made) -> None:
    brain = opened()
    assert brain.rules_for("anything") == ""
    states = []
    for n in range(7):
        brain.correct(f"We utilize part {n}.", f"We use part {n}.", session=f"s{n}")
        states.append([(lesson.state, lesson.corrections) for lesson in brain.lessons()])
    assert states[0] == []
    assert states[1] == [("INSTINCT", 2)]
    assert states[2] == [("PATTERN", 3)]
    assert states[6] == [("RULE", 7)]
    assert "STYLE: Write “use” instead of “utilize”." in brain.rules_for("release notes")
    assert brain.lessons()[0].fires == 1
    told = [payload for kind, _, payload in queued(brain) if kind == "lesson"]
    assert [payload["corrections"] for payload in told] == [2, 3, 4, 5, 6, 7]
    assert told[-1]["state"] == "RULE"


def test_a_person_approves_and_rejects(opened: Made) -> None:
    brain = opened()
    for n in range(2):
        brain.correct(f"We utilize {'it' * n}.", f"We use {'it' * n}.", session=f"s{n}")
        brain.correct(f"Great {'it' * n}!", f"Fine {'it' * n}!", session=f"s{n}")
    lessons = {lesson.text: lesson.lesson_id for lesson in brain.lessons()}
    approved = brain.approve(lessons["Write “use” instead of “utilize”."])
    assert (approved.state, approved.confidence) == ("RULE", 0.9)
    rejected = brain.reject(lessons["Write “Fine” instead of “Great”."])
    assert rejected.state == "KILLED"
    for n in range(5):
        brain.correct(f"Great {n}!", f"Fine {n}!", session=f"t{n}")
    assert brain.rules_for("x") == (
        "Learned from earlier corrections:\n- [RULE 0.90] STYLE: Write “use” instead of “utilize”."
    )
    with pytest.raises(ValueError, match="lesson_id"):
        brain.approve("l0")


def test_the_opposite_correction_takes_confidence_away(opened: Made) -> None:
    brain = opened()
    for n in range(3):
        brain.correct(f"We utilize {n}a.", f"We use {n}a.", session=f"s{n}")
    [before] = brain.lessons()
    brain.correct("We use more.", "We utilize more.", session="x")
    [after] = brain.lessons()
    assert after.confidence == pytest.approx(before.confidence - 0.2)
    assert (before.state, after.state) == ("PATTERN", "INSTINCT")


def test_end_session_sums_up_and_records_it(opened: Made) -> None:
    brain = opened()
    brain.correct("a b", "a c", session="s")
    brain.correct("a b", "a c", session="s")
    end = brain.end_session("s", deadline_s=0.1)
    assert (end.corrections, end.repeats, end.severities) == (1, 1, {"major": 1})
    assert end.pending == 3
    assert brain.tail()[-1].type == "SESSION_END"


def test_a_brain_keeps_its_name_and_shows_it(opened: Made) -> None:
    first = opened()
    name = first.name()
    assert name.startswith("brain-")
    first.close(0)
    assert opened().name() == name
    assert opened(name="poet").name() == "poet"


def test_a_folder_that_cannot_be_used_is_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Brain(tmp_path / "file", notice=lambda _text: None) as brain:
        made = brain.correct("a b", "a c")
        assert (made.persisted, made.queued) == (False, False)
        assert made.reason
        assert brain.rules_for("x") == ""
        assert not brain.record("NOTE").persisted
        assert brain.stats().dropped == 2


def test_sessions_that_look_like_numbers_of_cards_stay_apart(opened: Made) -> None:
    brain = opened()
    # Both pass the check of a card's last digit, as one in ten times in milliseconds does.
    first, second = 1_700_000_000_004, 1_700_000_000_012
    one = brain.correct("Please utilize it.", "Please use it.", session=first)
    other = brain.correct("Please utilize it.", "Please use it.", session=second)
    assert one.session is not None
    assert other.session is not None
    assert "[card]" in one.session
    assert "[card]" in other.session
    assert one.session != other.session
    assert not other.deduplicated
    assert brain.correct("Please utilize it.", "Please use it.", session=first).deduplicated


def test_a_type_with_a_form_of_its_own_is_refused(opened: Made) -> None:
    for kind in ("CORRECTION", "LESSON_CHANGE"):
        with pytest.raises(ValueError, match=kind):
            opened().record(kind, {"detail": "x"})
