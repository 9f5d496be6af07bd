"""A program written for the real SDK's core calls, run as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.compat.gradata import (
    Brain,
    BrainNotFoundError,
    EventPersistenceError,
    NotSupportedError,
)
from tests.support.patience import patience


@pytest.fixture
def brain(tmp_path: Path) -> Iterator[Brain]:
    made = Brain.init(tmp_path / "brain", name="mine", domain="letters", interactive=False)
    yield made
    made.close()


def test_a_correction_answers_in_the_same_form(brain: Brain) -> None:
    event = brain.correct("Dear Sir, please utilize the tool", "Hi, please use the tool", session=2)
    assert event["type"] == "CORRECTION"
    assert event["session"] == 2
    assert event["data"]["severity"] in {"minor", "moderate", "major"}
    assert event["data"]["category"] == event["data"]["category"].upper()
    assert event["data"]["draft_text"] == "Dear Sir, please utilize the tool"
    assert event["_persisted"] == {"jsonl": True, "sqlite": True}
    assert "severity" not in event, "it lives under data, as callers of the real SDK expect"


def test_the_same_twice_is_one_event(brain: Brain) -> None:
    first = brain.correct("a word", "another word", session=1)
    second = brain.correct("a word", "another word", session=1)
    assert second["event_id"] == first["event_id"]
    assert (first["observation_seen_count"], second["observation_seen_count"]) == (1, 2)
    assert second["observation_deduped"]
    assert len(brain.query_events("CORRECTION")) == 1


def test_a_category_of_any_form_is_taken(brain: Brain) -> None:
    made = brain.correct("a word", "another word", category="Code style!", session=1)
    assert made["data"]["category"] == "CODE_STYLE"


def test_an_event_of_a_kept_type_is_a_note_of_it(brain: Brain) -> None:
    assert brain.emit("CORRECTION", "me", {"detail": "x"})["type"] == "CORRECTION"
    (found,) = brain.query_events("CORRECTION")
    assert (found["type"], found["data"]) == ("CORRECTION", {"detail": "x"})
    assert [one.type for one in brain._brain.tail()][-1] == "CORRECTION_NOTE"


def test_what_the_real_one_refuses_is_refused(brain: Brain) -> None:
    with pytest.raises(ValueError, match="empty"):
        brain.correct("", "")
    with pytest.raises(ValueError, match=r"same|equal|identical"):
        brain.correct("a", "a")
    with pytest.raises(ValueError, match="session"):
        brain.correct("a", "b", session=0)
    with pytest.raises(ValueError, match="scope"):
        brain.correct("a", "b", scope="galaxy")
    with pytest.raises(ValueError, match=r"100.?000"):
        brain.correct("a" * 60_000, "b" * 60_000)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrainNotFoundError):
        Brain(tmp_path / "nowhere")


def test_events_can_be_asked_for(brain: Brain) -> None:
    brain.emit("STEP", "me", {"n": 1}, ["t"], session=3)
    brain.emit("STEP", "me", {"n": 2}, session=5)
    brain.record_correction("too long", assistant_draft="a long text", category="STYLE", extra=1)

    newest, older = brain.query_events("STEP")
    assert (newest["data"], older["data"]) == ({"n": 2}, {"n": 1})
    assert older["tags"] == ["t"]
    assert [e["session"] for e in brain.query_events(session=3)] == [3]
    assert [e["data"]["n"] for e in brain.query_events("STEP", last_n_sessions=2)] == [2]
    assert brain.session == 5
    (note,) = brain.query_events("CORRECTION")
    assert note["data"] == {
        "extra": 1, "detail": "too long", "category": "STYLE", "draft_text": "a long text",
    }  # fmt: skip


def test_what_keeps_coming_back_becomes_a_rule_and_is_shown(brain: Brain) -> None:
    for session in range(1, 9):
        brain.correct(
            f"Please utilize part {session} now", f"Please use part {session} now",
            category="STYLE", session=session,
        )  # fmt: skip
    assert brain.rules(category="style")
    assert "use" in brain.apply_brain_rules("write about parts")
    ended = brain.end_session()
    assert ended["session"] == 8
    assert ended["total_lessons"] >= 1


def test_nothing_is_proven_by_little_and_shrinking_edits_prove(brain: Brain) -> None:
    assert brain.prove()["confidence_level"] == "insufficient"
    same = " ".join(f"word{n}" for n in range(40))
    for session in range(1, 4):
        brain.correct(f"all of this {session}", f"entirely other text {session}", session=session)
    for session in range(4, 9):
        brain.correct(same + f" end{session}", same + f" END{session}", session=session)
    proof = brain.prove()
    assert proof["proven"]
    assert proof["confidence_level"] in {"moderate", "strong"}
    assert proof["evidence"]["sessions"] == 8


@pytest.mark.parametrize("name", ["share", "search", "guard", "review_pending", "export"])
def test_what_is_not_supported_says_so_by_name(brain: Brain, name: str) -> None:
    with pytest.raises(NotSupportedError, match=name):
        getattr(brain, name)
    with pytest.raises(AttributeError, match="no_such_thing"):
        brain.no_such_thing  # noqa: B018  asking is what is tested


def test_arguments_that_are_not_supported_say_so_by_name(brain: Brain, tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="dry_run"):
        brain.correct("a", "b", dry_run=True)
    with pytest.raises(NotSupportedError, match="encryption_key"):
        Brain(tmp_path, encryption_key="k")


def test_a_folder_that_cannot_be_written_raises_what_the_real_one_raises() -> None:
    with Brain("/proc") as brain, pytest.raises(EventPersistenceError):  # not even root may
        brain.correct("a", "b")


def test_the_log_stays_readable_for_programs_of_the_real_one(brain: Brain) -> None:
    brain.correct("one word", "two words")
    brain.close()
    lines = (brain.dir / "events.jsonl").read_text().splitlines()
    assert "CORRECTION" in {json.loads(line)["type"] for line in lines}


def test_a_correction_is_asked_for_under_the_names_of_the_real_one(brain: Brain) -> None:
    made = brain.correct("Please utilize it", "Please use it", category="STYLE", session=1)
    (found,) = brain.query_events("CORRECTION")
    assert found["data"] == made["data"]
    assert {"id", "ts", "tags", "valid_from", "valid_until"} <= set(found)
    sent = brain.emit("STEP", "me", {"n": 1})
    assert sent["id"] == brain.query_events("STEP")[0]["id"]


def test_a_second_init_is_refused_and_local_embeddings_are_taken(tmp_path: Path) -> None:
    Brain.init(tmp_path / "b", name="x", embedding="local").close()
    with pytest.raises(FileExistsError, match="already exists"):
        Brain.init(tmp_path / "b", name="x")
    with pytest.raises(NotSupportedError, match="gemini"):
        Brain.init(tmp_path / "c", embedding="gemini")
    Brain(tmp_path / "b").close()


REAL = """
import sys
from gradata import Brain

brain = Brain.init(sys.argv[1], name="real", domain="mail", interactive=False)
for session in range(1, 6):
    for n in range(3):
        brain.correct(f"Dear sir {n} {session}, we utilize it.", f"Hi {n} {session}, we use it!",
                      category="TONE", session=session)
brain.emit("STEP", "me", {"n": 1}, ["t"], session=3)
ended = sorted(brain.end_session())
print(json.dumps({"ended": ended, "events": brain.query_events(limit=500),
                  "rules": brain.rules(include_all=True)}))
"""


def test_a_folder_of_the_real_sdk_opens_with_its_history_and_its_rules(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    done = subprocess.run(
        (sys.executable, "-c", "import json" + REAL, str(folder)),
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GRADATA_TELEMETRY": "0"},
        capture_output=True, text=True, timeout=patience(50), check=True,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    before = (folder / "lessons.md").read_bytes()
    with Brain(folder) as brain:
        assert brain.session == 5
        assert brain.query_events(limit=500) == told["events"]
        assert brain.query_events("STEP")[0]["data"]["n"] == 1
        assert {event["session"] for event in brain.query_events(last_n_sessions=2)} <= {4, 5}
        shown = {(rule["category"], rule["description"]) for rule in brain.rules(include_all=True)}
        assert shown == {(rule["category"], rule["description"]) for rule in told["rules"]}
        if any(rule["state"] in {"PATTERN", "RULE"} for rule in told["rules"]):
            assert "TONE" in brain.apply_brain_rules("write a mail")
        assert brain.prove()["evidence"]["correction_count"] == 15
        brain.correct("One more, sir", "One more", session=6)
        assert brain.query_events(limit=1)[0]["data"]["draft_text"] == "One more, sir"
        assert set(told["ended"]) <= set(brain.end_session())
        with pytest.raises(FileExistsError):
            Brain.init(folder, name="again")
    assert (folder / "lessons.md").read_bytes() == before
