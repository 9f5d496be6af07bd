"""Seven days of outage, in virtual time with the real drain, and the recovery."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from holdfast.kernel.clock import DAY_MS, HOUR_MS, ManualClock
from holdfast.outbox import limits
from holdfast.outbox.drain import Drainer
from holdfast.outbox.lease import Lease
from holdfast.outbox.ports import Answer, Answered, Batch, Failed
from holdfast.outbox.queue import Queue
from holdfast.outbox.send_thread import carry_here
from holdfast.outbox.signal import Signal

WEEK_ROWS = 672  # one every fifteen minutes


def drained(queue: Queue, sender: Callable[[Batch], Answer], clock: ManualClock) -> Drainer:
    return Drainer(
        queue,
        sender,
        gate=lambda: "",
        lease=Lease(None, token="t", clock=clock),
        bell=Signal(None),
        clock=clock,
        notice=lambda _text: None,
        carry=carry_here,
        give_up=lambda: None,
        seed="s",
    )


def test_a_week_of_outage_leaves_no_gap_and_is_drained_within_the_rate(tmp_path: Path) -> None:
    clock = ManualClock()
    start_ms = clock.now_ms()
    queue = Queue(tmp_path, durability="memory", clock=clock, chance=os.urandom)
    arrived: list[tuple[float, str, int]] = []
    tries = 0

    def sender(batch: Batch) -> Answer:
        nonlocal tries
        tries += 1
        if clock.now_ms() - start_ms < 7 * DAY_MS:
            return Failed(None, "refused", None)
        arrived.extend((clock.steady_ms(), item.event_id, item.seq) for item in batch.items)
        return Answered(frozenset(item.event_id for item in batch.items), {})

    drainer = drained(queue, sender, clock)
    for n in range(WEEK_ROWS):
        with queue.transaction() as tx:
            tx.enqueue("correction", f"e{n}", {"n": n})
        # Between two rows the drain would try thirty times; a few of them are enough here.
        for _ in range(2):
            drainer.cycle()
            clock.advance(limits.RETRY_LONG_CAP_MS)
        clock.advance(15 * 60_000 - 2 * limits.RETRY_LONG_CAP_MS)
    back_ms = clock.steady_ms()
    while len(arrived) < WEEK_ROWS:
        clock.advance(max(int(drainer.cycle()), 1))
    assert [seq for _, _, seq in arrived] == list(range(1, WEEK_ROWS + 1))
    assert [name for _, name, _ in arrived] == [f"e{n}" for n in range(WEEK_ROWS)]
    assert arrived[0][0] - back_ms <= limits.RETRY_LONG_CAP_MS
    for at in {at for at, _, _ in arrived}:
        assert sum(at <= when < at + 60_000 for when, _, _ in arrived) <= limits.RATE_ROWS
    assert tries > WEEK_ROWS


def test_steps_of_the_time_of_day_change_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    queue = Queue(tmp_path, durability="memory", clock=clock, chance=os.urandom)
    arrived: list[str] = []

    def sender(batch: Batch) -> Answer:
        arrived.extend(item.event_id for item in batch.items)
        return Answered(frozenset(item.event_id for item in batch.items), {})

    drainer = drained(queue, sender, clock)
    for n, step_ms in enumerate((0, -HOUR_MS, HOUR_MS, 2 * HOUR_MS, -3 * HOUR_MS)):
        clock.jump(step_ms)
        with queue.transaction() as tx:
            tx.enqueue("correction", f"e{n}", {})
        drainer.cycle()
        clock.advance(limits.BATCH_WINDOW_MS)
    assert arrived == [f"e{n}" for n in range(5)]
