"""The whole outbox in one process: delivery, poison, gates, keys, limits, closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.outbox import (
    Answer,
    Answered,
    Batch,
    Failed,
    Outbox,
    Refusal,
    Rejected,
    Throttled,
    TooLarge,
    Transaction,
    Unauthorized,
    UnavailableError,
    inspect,
    open_outbox,
)
from tests.support.patience import patience

PATIENCE_S = 15.0


class Intake:
    """The other side: stores each event id once, and answers by `rule`."""

    def __init__(self) -> None:
        self.stored: dict[str, str] = {}
        self.order: list[str] = []
        self.requests: list[tuple[str, ...]] = []
        self.times: list[float] = []
        self.rule: Callable[[Batch], Answer | None] = lambda _batch: None
        self.key = "k1"

    def mark(self) -> str:
        return self.key

    def __call__(self, batch: Batch) -> Answer:
        self.requests.append(tuple(item.event_id for item in batch.items))
        self.times.append(time.monotonic())
        answer = self.rule(batch)
        return answer if answer is not None else self.take(batch)

    def take(self, batch: Batch) -> Answered:
        new: set[str] = set()
        known: set[str] = set()
        for item in batch.items:
            (known if item.event_id in self.stored else new).add(item.event_id)
            if item.event_id not in self.stored:
                self.order.append(item.event_id)
            self.stored[item.event_id] = item.payload
        return Answered(frozenset(new | known), {}, len(known))


@pytest.fixture
def intake() -> Intake:
    return Intake()


def until(condition: Callable[[], object], what: str = "it") -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience(PATIENCE_S), f"{what} did not happen"
        time.sleep(0.01)


def fill(box: Outbox, count: int, start: int = 0) -> list[str]:
    ids = [f"e{n:05d}" for n in range(start, start + count)]
    with box.transaction() as tx:
        for event_id in ids:
            assert tx.enqueue("correction", event_id, {"id": event_id}).state == "stored"
    return ids


def test_what_is_enqueued_arrives_in_order_and_in_few_requests(
    tmp_path: Path, intake: Intake
) -> None:
    with open_outbox(tmp_path, sender=intake, durability="process") as box:
        box.enqueue("correction", "first", {})
        until(lambda: intake.stored, "a lone item left at once")
        ids = []
        for n in range(100):
            ids.append(f"n{n}")
            box.enqueue("event", f"n{n}", {"n": n})
        until(lambda: len(intake.stored) == 101)
        assert intake.order == ["first", *ids]
        # Under load a hundred may take longer than the window of a second to enqueue.
        assert len(intake.requests) <= 4
        assert box.flush(5).pending == 0


def test_the_same_event_id_is_one_row(tmp_path: Path, intake: Intake) -> None:
    with open_outbox(tmp_path, durability="process") as box:
        first = box.enqueue("correction", "same", {"n": 1})
        again = box.enqueue("correction", "same", {"n": 2})
        assert (first.state, again.state) == ("stored", "duplicate")
        assert first.seq == again.seq == 1
        box.attach(intake)
        assert box.flush(5).pending == 0
        assert intake.stored == {"same": '{"n":1}'}
        assert box.enqueue("correction", "same", {"n": 3}).state == "duplicate"


def test_record_and_row_are_one_transaction(tmp_path: Path) -> None:
    with open_outbox(tmp_path, durability="process") as box:
        with box.transaction() as tx:
            tx.execute("CREATE TABLE mine (text TEXT)")

        def spoil(tx: Transaction) -> None:
            tx.execute("INSERT INTO mine VALUES ('a')")
            tx.enqueue("correction", "a", {})
            raise RuntimeError

        with pytest.raises(RuntimeError):
            box.enqueue("correction", "a2", {}, within=spoil)
        assert box.stats().pending == 0
        box.enqueue(
            "correction", "b", {}, within=lambda tx: tx.execute("INSERT INTO mine VALUES ('b')")
        )
        with box.transaction() as tx:
            assert tx.execute("SELECT text FROM mine").fetchall() == [("b",)]
        stats = box.stats()
        assert (stats.pending, stats.dropped, stats.seq) == (1, 0, 1)


@pytest.mark.parametrize("status", [422, 400])
def test_poison_at_the_head_lets_good_rows_through_in_the_same_cycle(
    tmp_path: Path, intake: Intake, status: int
) -> None:
    poison = {f"e{n:05d}" for n in range(50)}

    def rule(batch: Batch) -> Answer | None:
        bad = poison & {item.event_id for item in batch.items}
        return Rejected(status, "no such category") if bad else None

    intake.rule = rule
    with open_outbox(tmp_path, durability="process") as box:
        ids = fill(box, 120)
        box.attach(intake)
        assert box.flush(10) == (0, "")
        assert intake.order == ids[50:]
        letters = box.dead_letters()
        assert {letter.event_id for letter in letters} == poison
        assert {(letter.status, letter.detail) for letter in letters} == {
            (status, "no such category")
        }
        intake.rule = lambda _batch: None
        assert box.discard([letters[0].row]) == 1
        assert box.redrive() == 49
        assert box.flush(10).pending == 0
        assert len(intake.stored) == 119
        stats = box.stats()
        assert (stats.dead, stats.discarded, stats.delivered, stats.lost) == (0, 1, 119, 0)


def test_rows_that_make_the_server_fail_are_put_aside_and_kept(
    tmp_path: Path, intake: Intake
) -> None:
    poison = {f"e{n:05d}" for n in range(50)}

    def rule(batch: Batch) -> Answer | None:
        bad = poison & {item.event_id for item in batch.items}
        return Failed(500, "crashed", None) if bad else None

    intake.rule = rule
    with open_outbox(tmp_path, durability="process") as box:
        ids = fill(box, 60)
        box.attach(intake)
        until(lambda: len(intake.stored) == 10, "the good ones passed")
        assert set(intake.stored) == set(ids[50:])
        # The answer to a batch is written after the intake has stored it.
        until(lambda: box.stats().pending == 50, "their answers were written")
        assert box.stats().dead == 0


def test_refused_rows_named_by_the_server_become_dead_letters(
    tmp_path: Path, intake: Intake
) -> None:
    def rule(batch: Batch) -> Answer:
        ids = {item.event_id for item in batch.items}
        return Answered(frozenset(ids - {"e00001"}), {"e00001": Refusal(422, "bad")})

    intake.rule = rule
    with open_outbox(tmp_path, durability="process") as box:
        fill(box, 3)
        box.attach(intake)
        assert box.flush(5).pending == 0
        assert [letter.event_id for letter in box.dead_letters()] == ["e00001"]
        assert box.stats().delivered == 2


def test_a_refused_key_loses_nothing_and_a_new_one_is_noticed(
    tmp_path: Path, intake: Intake
) -> None:
    said: list[str] = []
    intake.rule = lambda _batch: Unauthorized(401, "who are you", intake.key)
    box = open_outbox(tmp_path, sender=intake, durability="process", notice=said.append)
    try:
        fill(box, 5)
        flushed = box.flush(5)
        assert flushed == (5, "auth")
        stats = inspect(tmp_path, clock=SystemClock())
        assert stats.pending == 5
        assert stats.auth_since_ms > 0
        assert stats.last_error == "401: who are you"
        tries = len(intake.requests)
        intake.rule = lambda _batch: None
        intake.key = "k2"
        until(lambda: len(intake.stored) == 5, "delivery with the new key")
        assert tries == 1
        assert len(said) == 1
        until(lambda: box.stats().auth_since_ms == 0)
    finally:
        box.close(1)


def test_a_key_that_appears_later_is_used(tmp_path: Path, intake: Intake) -> None:
    intake.key = ""
    with open_outbox(tmp_path, sender=intake, durability="process") as box:
        fill(box, 3)
        assert box.flush(1) == (3, "unready")
        assert not intake.requests
        intake.key = "k"
        until(lambda: len(intake.stored) == 3)


def test_too_large_is_split_and_remembered(tmp_path: Path, intake: Intake) -> None:
    def rule(batch: Batch) -> Answer | None:
        size = sum(len(item.payload) for item in batch.items)
        return TooLarge("too large") if size > 4_000 else None

    intake.rule = rule
    with open_outbox(tmp_path, durability="process") as box:
        with box.transaction() as tx:
            for n in range(100):
                tx.enqueue("correction", f"e{n}", {"t": "x" * 180})
            tx.enqueue("correction", "huge", {"t": "x" * 5_000})
        box.attach(intake)
        assert box.flush(10).pending == 0
        assert len(intake.stored) == 100
        assert [letter.status for letter in box.dead_letters()] == [413]
        refused = len(intake.requests)
    with open_outbox(tmp_path, sender=intake, durability="process") as box:
        with box.transaction() as tx:
            for n in range(100, 120):
                tx.enqueue("correction", f"e{n}", {"t": "x" * 180})
        assert box.flush(10).pending == 0
        biggest = max(len(ids) for ids in intake.requests[refused:])
        assert biggest <= 20
        assert len(intake.requests) - refused <= 4


def test_retry_after_is_waited_for(tmp_path: Path, intake: Intake) -> None:
    intake.rule = lambda _batch: Throttled("slow down", 1_200) if len(intake.times) < 2 else None
    with open_outbox(tmp_path, sender=intake, durability="process") as box:
        fill(box, 2)
        until(lambda: len(intake.requests) == 1)
        assert box.flush(0.5).reason in {"told", "deadline"}
        until(lambda: len(intake.stored) == 2)
        assert intake.times[1] - intake.times[0] >= 1.2


def test_a_closed_gate_starts_no_thread_and_sends_nothing(tmp_path: Path, intake: Intake) -> None:
    shut = ["switched off"]
    with open_outbox(tmp_path, sender=intake, durability="process", gate=lambda: shut[0]) as box:
        fill(box, 3)
        assert box.flush(5) == (3, "gate: switched off")
        assert not box.draining
        assert not any(t.name == "holdfast-outbox" for t in threading.enumerate())
        shut[0] = ""
        assert box.flush(5).pending == 0
        assert len(intake.stored) == 3


def test_a_gate_that_shuts_meanwhile_is_seen_before_the_next_send(
    tmp_path: Path, intake: Intake
) -> None:
    shut = [""]

    def rule(_batch: Batch) -> None:
        shut[0] = "revoked"

    intake.rule = rule
    with open_outbox(tmp_path, durability="process", gate=lambda: shut[0]) as box:
        fill(box, 450)
        box.attach(intake)
        until(lambda: box.blocked == "gate: revoked")
        assert len(intake.requests) == 1


def test_a_gate_or_a_notice_that_fails_reaches_nobody(tmp_path: Path, intake: Intake) -> None:
    def gate() -> str:
        raise LookupError("no consent row")

    def notice(_text: str) -> None:
        raise OSError("no log")

    with open_outbox(
        tmp_path / "missing", sender=intake, durability="process", gate=gate, notice=notice
    ) as box:
        assert box.enqueue("event", "a", {}).state == "dropped"
    with open_outbox(tmp_path, sender=intake, durability="process", gate=gate) as box:
        assert box.enqueue("event", "a", {}).state == "stored"
        assert box.flush(5) == (1, "gate: the gate failed: LookupError: no consent row")
    assert not intake.requests


@pytest.mark.parametrize("hang", ["sender", "error"])
def test_flush_and_close_are_bounded_whatever_the_sender_does(
    tmp_path: Path, intake: Intake, hang: str
) -> None:
    let_go = threading.Event()

    def rule(_batch: Batch) -> Answer | None:
        if hang == "sender":
            let_go.wait(patience(60))
            return None
        raise LookupError("a bug")

    intake.rule = rule
    box = open_outbox(tmp_path, sender=intake, durability="process", notice=lambda _text: None)
    fill(box, 3)
    start = time.monotonic()
    assert box.flush(0.3).pending == 3
    assert box.close(0.3).pending == 3
    # No figure: only that neither waited for the sender.
    assert time.monotonic() - start < patience(20)
    let_go.set()
    assert inspect(tmp_path, clock=SystemClock()).pending == 3


def test_a_dead_drain_thread_is_replaced(tmp_path: Path, intake: Intake) -> None:
    said: list[str] = []
    with open_outbox(tmp_path, sender=intake, durability="process", notice=said.append) as box:
        box.enqueue("event", "a", {})
        until(lambda: intake.stored)
        drain_worker = box._drain_worker
        assert drain_worker is not None
        assert drain_worker.drainer is not None

        def broken() -> float:
            raise SystemExit("pulled from under it")

        drain_worker.drainer.cycle = broken  # type: ignore[method-assign]
        until(lambda: drain_worker.crashes)
        assert drain_worker.healthy()
        # Even a thread that is really gone is replaced by the next call.
        drain_worker.drainer.stop()
        until(lambda: not drain_worker.healthy())
        box.enqueue("event", "b", {})
        until(lambda: "b" in intake.stored)
        assert any("crashed" in text for text in said)


def test_memory_leaves_no_file(tmp_path: Path, intake: Intake) -> None:
    with open_outbox(tmp_path, sender=intake, durability="memory") as box:
        box.enqueue("event", "a", {})
        assert box.flush(5).pending == 0
        assert intake.stored == {"a": "{}"}
        assert box.stats().delivered == 1
    assert not list(tmp_path.iterdir())


def test_a_full_queue_keeps_the_oldest_and_counts(
    tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.outbox.limits.PENDING_ROWS_MAX", 10)
    with open_outbox(tmp_path, durability="process") as box:
        fill(box, 10)
        late = box.enqueue("event", "late", {})
        assert (late.state, late.seq) == ("dropped", 11)
        assert "full" in late.reason
        assert box.stats().dropped == 1
        box.attach(intake)
        assert box.flush(5).pending == 0
        # The number of the dropped one is never given again: the gap names it.
        assert box.enqueue("event", "next", {}).seq == 12


def test_delivered_rows_do_not_pile_up(tmp_path: Path, intake: Intake) -> None:
    with open_outbox(tmp_path, durability="process") as box:
        box.attach(intake)
        drain_rate = "holdfast.outbox.limits.RATE_ROWS"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drain_rate, 10**9)
            for start in range(0, 2_000, 500):
                fill(box, 500, start)
                assert box.flush(10).pending == 0
        with box.transaction() as tx:
            kept = tx.execute("SELECT count(*) FROM sync_queue").fetchone()[0]
        assert kept <= 1_200
        assert box.stats().delivered == 2_000


def test_wrong_arguments_name_themselves(tmp_path: Path) -> None:
    with open_outbox(tmp_path, durability="memory") as box:
        with pytest.raises(ValueError, match="kind 'x'"):
            box.enqueue("x", "a", {})
        with pytest.raises(ValueError, match="event_id"):
            box.enqueue("event", "", {})
        with pytest.raises(ValueError, match="payload"):
            box.enqueue("event", "a", {"x": object()})
        with pytest.raises(ValueError, match="payload: 3"):
            box.enqueue("event", "a", '"' + "x" * 300_000 + '"')
    with pytest.raises(ValueError, match="durability"):
        open_outbox(tmp_path, durability="eternal")


def test_a_folder_that_cannot_be_used_drops_counts_and_recovers(
    tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.outbox.limits.REOPEN_MS", 0)
    said: list[str] = []
    folder = tmp_path / "missing"
    with open_outbox(folder, sender=intake, durability="process", notice=said.append) as box:
        assert said
        receipt = box.enqueue("event", "a", {})
        assert receipt.state == "dropped"
        with pytest.raises(UnavailableError), box.transaction():
            pytest.fail("nothing to stand on")
        folder.mkdir()
        assert box.enqueue("event", "b", {}).state == "stored"
        assert box.stats().dropped == 1
        assert box.flush(5).pending == 0
        assert list(intake.stored) == ["b"]
