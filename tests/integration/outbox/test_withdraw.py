"""Rows are withdrawn by the beginning of their event ids: all of those, no other, and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.outbox import Answered, Batch, Outbox, Refusal, open_outbox


def nothing(_current: object, _event_ids: object) -> None:
    pass


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    made = open_outbox(tmp_path, durability="process")
    for event_id in ("logs:1", "logs:2", "logsx:3", "log:4", "memory:5"):
        assert made.enqueue("event", event_id, {"text": event_id}).state == "stored"
    return made


def event_ids(box: Outbox) -> list[str]:
    return box.read(
        lambda connection: [
            row[0] for row in connection.execute("SELECT event_id FROM sync_queue ORDER BY id")
        ]
    )


def test_pending_rows_go_and_the_account_holds(box: Outbox) -> None:
    seen: list[str] = []
    assert box.withdraw("logs:", lambda _current, found: seen.extend(found)) == 2
    assert seen == ["logs:1", "logs:2"]
    assert event_ids(box) == ["logsx:3", "log:4", "memory:5"]
    stats = box.stats()
    assert (stats.pending, stats.discarded, stats.dropped, stats.lost) == (3, 2, 0, 0)
    bytes_left = box.read(
        lambda connection: connection.execute(
            "SELECT sum(length(payload_json)) FROM sync_queue"
        ).fetchone()[0]
    )
    assert stats.pending_bytes == bytes_left
    assert "sound" in box.repair()
    folder = box.folder
    box.close()
    again = open_outbox(folder, durability="process")
    assert (again.stats().pending, again.stats().lost) == (3, 0)
    again.close()


def test_delivered_and_dead_rows_go_too(tmp_path: Path, until: Callable[..., Any]) -> None:
    def answer(batch: Batch) -> Answered:
        dead = {one.event_id: Refusal(400, "no") for one in batch.items if "dead" in one.event_id}
        taken = frozenset(one.event_id for one in batch.items if "dead" not in one.event_id)
        return Answered(taken, dead)

    box = open_outbox(tmp_path, durability="process", sender=answer)
    for event_id in ("logs:sent", "logs:dead", "memory:dead"):
        box.enqueue("event", event_id, {})
    until(lambda: box.stats().pending == 0)
    assert box.withdraw("logs:", nothing) == 1
    assert event_ids(box) == ["memory:dead"]
    assert (box.stats().dead, box.stats().discarded) == (1, 1)
    assert box.enqueue("event", "logs:sent", {}).state == "stored"
    box.close()


def test_what_runs_within_is_part_of_it(box: Outbox) -> None:
    def fail(_current: object, _event_ids: object) -> None:
        raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        box.withdraw("logs:", fail)
    assert len(event_ids(box)) == 5
    assert box.stats().pending == 5
    box.close()


@pytest.mark.parametrize("prefix", ["", "\u20ac"])
def test_a_prefix_that_would_be_all_or_none_is_refused(box: Outbox, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        box.withdraw(prefix, nothing)
    box.close()
