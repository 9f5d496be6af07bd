"""What debug routes of towns hide, and how often a town may be asked."""

from __future__ import annotations

import pytest

from holdfast.kernel.clock import MINUTE_MS
from holdfast.plane.town_debug import CALLS_A_MINUTE, TOWNS_KEPT, Turns, hidden, span
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.town_debug import (
    DebugAction,
    DebugNudge,
    DebugNudges,
    DrainStatus,
    ReplayEvents,
)

NOW = 1_700_000_000_000


async def test_one_call_a_town_runs_at_a_time() -> None:
    turns = Turns()
    async with turns.turn("t1", NOW):
        async with turns.turn("t2", NOW):
            pass
        with pytest.raises(Refusal) as refused:
            async with turns.turn("t1", NOW):
                pass
    assert (refused.value.status, refused.value.problem.code) == (429, "rehearsal_running")
    async with turns.turn("t1", NOW):
        pass


async def test_a_call_that_fails_gives_its_turn_back() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="x"):
        async with turns.turn("t1", NOW):
            raise ValueError("x")
    async with turns.turn("t1", NOW):
        pass


async def test_a_town_is_asked_so_often_a_minute() -> None:
    turns = Turns()
    for number in range(CALLS_A_MINUTE):
        async with turns.turn("t1", NOW + number):
            pass
    with pytest.raises(Refusal) as refused:
        async with turns.turn("t1", NOW + 1_000):
            pass
    assert (refused.value.problem.code, refused.value.retry_after_s) == ("rate_limited", 59)
    async with turns.turn("t2", NOW + 1_000):
        pass
    async with turns.turn("t1", NOW + MINUTE_MS):
        pass


async def test_towns_that_were_asked_long_ago_are_forgotten() -> None:
    turns = Turns()
    for number in range(TOWNS_KEPT + 5):
        async with turns.turn(f"t{number}", NOW):
            pass
    assert len(turns._towns) == TOWNS_KEPT


def test_texts_addresses_and_nonces_are_hidden_wherever_they_are() -> None:
    nudge = DebugNudge(
        nudge_id="n1", agent_bead_id="a1", message="words", source="person",
        created_at="2026-11-21T09:30:00.000Z",
    )  # fmt: skip
    assert hidden(DebugNudges(nudges=(nudge,))).nudges[0].message == "[hidden]"
    drain = DrainStatus(draining=True, drain_nonce="n", drain_until=None)
    assert hidden(drain) == DrainStatus(draining=True, drain_nonce="[hidden]", drain_until=None)
    action = DebugAction(
        type="Merge", rule="r", reason="see https://forge.test/pr/1, it is ready", entity="b/1",
        args={"deep": [{"pr_url": "http://forge.test/pr/1"}], "number": 1, "none": None},
    )  # fmt: skip
    assert hidden(action).reason == "see [hidden] it is ready"
    assert hidden(action).args == {"deep": [{"pr_url": "[hidden]"}], "number": 1, "none": None}


def test_a_span_is_of_instants_and_not_of_texts() -> None:
    body = ReplayEvents(start="2026-01-01T01:00:00+01:00", to="2026-01-01T00:00:00.5Z")
    from_ms, to_ms = span(body)
    assert to_ms - from_ms == 500
