"""Arguments of any type and any bytes: recorded, or refused with the argument's name."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.compat import gradata
from holdfast.outbox import open_outbox
from holdfast.sdk import Brain, doctor
from holdfast.sdk.destination import Destination
from tests.integration.outbox.intake import HttpIntake
from tests.integration.sdk.test_folders import make_other_folder

Opened = Callable[..., Brain]


class Stubborn:
    """An object that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def cyclic() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


STRANGE: dict[str, Any] = {
    "half a surrogate pair": "a\ud800b",
    "a name that is not UTF-8": os.fsdecode(b"a\xffb"),
    "NUL": "a\0b",
    "controls": "".join(map(chr, range(32))) + "\x7f\x85\u2028\ufeff\ufffe",
    "right to left": "\u202eabc\u202c",
    "beyond the plane": "\U0010ffff\U0001f600",
    "ten megabytes": "x" * 10_000_000,
    "bytes": b"a\xff\0",
    "a bytearray": bytearray(b"abc"),
    "a path": Path("letter.md"),
    "a number": 5,
    "a long number": 10**5_000,
    "not a number": float("nan"),
    "a decimal": decimal.Decimal("1.5"),
    "a time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "a set": {1, 2},
    "a tuple": ("a", 1),
    "what holds itself": cyclic(),
    "deep": json.loads("[" * 900 + "]" * 900),
    "an object": object(),
    "one without a text": Stubborn(),
    "yes": True,
    "nothing": "",
    "None": None,
}


def outcome(named: str, call: Callable[[], Any]) -> str:
    """Return "done", or that the argument was refused by its name; anything else raises."""
    answer: Any = None
    try:
        answer = call()
    except (ValueError, TypeError) as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.match(rf"{named}\b|draft, final\b", refused), refused
        assert len(refused) < 500
        return "refused"
    if hasattr(answer, "persisted"):
        assert answer.persisted, answer.reason
    return "done"


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
def test_correct_takes_any_argument_or_names_it(opened: Opened, value: Any) -> None:
    brain = opened()
    texts = {"draft": "a", "final": "b"}
    done = {
        name: outcome(name, partial(brain.correct, **{**texts, name: value}))
        for name in ("draft", "final", "category", "context", "session")
    }
    if isinstance(value, str) and 0 < len(value) < 100_000:
        assert (done["draft"], done["final"], done["context"]) == ("done", "done", "done")
    kept = [event for event in brain.tail(most=100) if event.type == "CORRECTION"]
    assert len({event.event_id for event in kept}) >= ("done" in done.values())
    for event in kept:
        event.data.encode()
    stats = brain.stats()
    assert (stats.dropped, stats.lost, stats.quarantined) == (0, 0, 0)


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
def test_record_takes_any_argument_or_names_it(opened: Opened, value: Any) -> None:
    brain = opened()
    strange: object = value
    done = {
        "type": outcome("type", lambda: brain.record(value, {})),
        "data": outcome("data", lambda: brain.record("N", value)),
        "value": outcome("data", lambda: brain.record("N", {"key": value})),
        "key": "refused"
        if isinstance(strange, set | list | bytearray)
        else outcome("data", lambda: brain.record("N", {value: 1})),
        "source": outcome("source", lambda: brain.record("N", {}, source=value)),
        "tags": outcome("tags", lambda: brain.record("N", {}, tags=value)),
        "tag": outcome("tags", lambda: brain.record("N", {}, tags=[value])),
        "session": outcome("session", lambda: brain.record("N", {}, session=value)),
    }
    if isinstance(value, str) and len(value) < 100_000:
        assert (done["value"], done["key"]) == ("done", "done")
    assert len(brain.tail(most=100)) == list(done.values()).count("done")
    stats = brain.stats()
    assert (stats.dropped, stats.lost, stats.quarantined) == (0, 0, 0)


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
def test_every_other_call_takes_any_argument_or_names_it(opened: Opened, value: Any) -> None:
    brain = opened()
    outcome("lesson_id", lambda: brain.approve(value))
    outcome("lesson_id", lambda: brain.reject(value))
    outcome("task", lambda: brain.rules_for(value))
    outcome("session", lambda: brain.end_session(value, deadline_s=0))
    assert brain.correct("still", "works").persisted
    stats = brain.stats()
    assert (stats.dropped, stats.lost, stats.quarantined) == (0, 0, 0)


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
def test_the_other_interface_takes_any_argument_or_names_it(tmp_path: Path, value: Any) -> None:
    with gradata.Brain.init(tmp_path / "brain") as brain:
        arguments = {"draft": "a", "final": "b"}
        for name in ("draft", "final", "category", "session", "agent_type", "applies_to"):
            shown = "context" if name in {"agent_type", "applies_to"} else name
            outcome(shown, partial(brain.correct, **{**arguments, name: value}))
        outcome("context", lambda: brain.correct("a", "b", context={"key": value}))
        outcome("context", lambda: brain.correct("a", "b", context=value))
        outcome("data", lambda: brain.emit("N", "me", {"key": value}))
        assert brain.correct("still", "works")["_persisted"]["sqlite"]


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
def test_the_queue_takes_any_argument_or_names_it(tmp_path: Path, value: Any) -> None:
    with open_outbox(tmp_path, durability="process") as outbox:
        outcome("kind", lambda: outbox.enqueue(value, "e1", {}))
        outcome("event_id", lambda: outbox.enqueue("event", value, {}))
        outcome("payload", lambda: outbox.enqueue("event", "e2", value))
        outcome("payload", lambda: outbox.enqueue("event", "e3", {"key": value}))
        assert outbox.enqueue("event", "e4", {"a": 1}).state == "stored"
        assert outbox.stats().dropped == 0


def test_a_folder_of_any_bytes(tmp_path: Path, plane: HttpIntake) -> None:
    folder = os.fsencode(tmp_path) + b"/b\xffrain\n"
    with Brain(folder, url=plane.url, api_key="k", notice=lambda _text: None) as brain:
        made = brain.correct("a", "b")
        assert made.persisted
        assert brain.flush(10).pending == 0
        assert brain.name().startswith("brain-")
    assert made.event_id in plane.stored
    assert doctor.examine(folder).facts["corrections"] == 1
    for wrong in (b"a\0b", "a\0b", "\ud800", 5, None):
        with pytest.raises((ValueError, TypeError), match=r"^folder"):
            Brain(wrong)  # type: ignore[arg-type]
        with pytest.raises((ValueError, TypeError), match=r"^folder"):
            open_outbox(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["k\udcff", "a\nb", "a\0b", "\U0001f511", b"k"])
def test_a_key_of_any_bytes_keeps_everything_and_is_named(
    opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch, key: str | bytes
) -> None:
    if isinstance(key, bytes):
        with pytest.raises((ValueError, TypeError), match=r"^api_key"):
            opened(url=plane.url, api_key=key)
        return
    brain = opened(url=plane.url, api_key=key)
    assert brain.correct("a", "b").persisted
    assert "key" in brain.waits_because
    assert key not in brain.waits_because
    assert brain.flush(1).pending == 1
    assert plane.requests == []
    if "\0" not in key:
        monkeypatch.setenv("HOLDFAST_API_KEY", key)
        monkeypatch.setenv("HOLDFAST_URL", plane.url)
        assert "HOLDFAST_API_KEY" in Destination().find().problem


def test_the_record_of_another_program_may_hold_any_bytes(opened: Opened, tmp_path: Path) -> None:
    made = make_other_folder(tmp_path / "brain")
    with sqlite3.connect(tmp_path / "brain" / "system.db") as other:
        other.execute(
            "INSERT INTO events (ts, session, type, data_json) VALUES ('2026-04-15T10:00:11', 2,"
            " 'CORRECTION', CAST(? AS TEXT))",
            (b'{"draft_text": "We utilize \xff.", "final_text": "We use \\ud800."}',),
        )
    other.close()
    brain = opened(gate=lambda: "not now")
    assert brain.sync(backfill=True, deadline_s=0.2).queued_again == 6
    assert brain.stats().quarantined == 0
    assert doctor.examine(brain.folder).facts["old_corrections"] == 0
    assert made["facts"]


def test_two_corrections_that_differ_by_a_nul_are_two(opened: Opened) -> None:
    """One byte 0 separates the texts in the hash that tells corrections apart."""
    brain = opened()
    first = brain.correct("a\0b", "c", session="s")
    second = brain.correct("a", "b\0c", session="s")
    assert first.content_hash != second.content_hash
    assert not second.deduplicated


def test_keys_that_redaction_makes_alike_keep_their_values(opened: Opened) -> None:
    brain = opened()
    data: dict[Any, Any] = {"a@b.org": 1, "c@d.org": 2, 3: "x", "3": "y"}
    assert brain.record("N", data).persisted
    (event,) = brain.tail()
    assert sorted(map(str, json.loads(event.data).values())) == ["1", "2", "x", "y"]
