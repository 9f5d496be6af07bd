"""The recovery panel: where the ladder stands, why, and what a person can do about it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.web.parts.recovery import LADDER, recovery
from holdfast.wire.api.instances import Climb, InstanceDetail, InstanceView, RecoveryView
from holdfast.wire.times import time_text
from tests.unit.web.shapes import view

NOW_MS = 1_800_000_000_000


def shown(instance: InstanceView, *climbs: Climb) -> Any:
    return recovery(InstanceDetail(instance=instance, climbs=climbs), now_ms=NOW_MS)


def panel(desired: str = "running", **told: Any) -> Any:
    return shown(view(desired=desired, recovery=RecoveryView(**told)))


def test_a_machine_that_has_not_told_is_not_taken_for_well() -> None:
    assert shown(view()) is None


def test_what_was_tried_is_told_the_latest_first_with_what_came_of_it() -> None:
    at = time_text(NOW_MS - 90_000)
    found = shown(
        view(recovery=RecoveryView(rung="parked")),
        Climb(rung="reinstall", at=at, reason="exit code 1", done=False, detail="npm ended with 1"),
        Climb(rung="previous_version", at=at, reason="exit code 1", done=None),
        Climb(rung="parked", at=at, reason="exit code 1", done=True),
    )
    assert [(one.title, one.came.text) for one in found.tries] == [
        ("Parked", "your turn"), ("Previous version", "under way"),
        ("Reinstall", "skipped"),
    ]  # fmt: skip
    assert (found.tries[2].reason, found.tries[2].detail) == ("exit code 1", "npm ended with 1")
    assert found.tries[0].at.words == "1 min ago"


def test_nothing_to_do_is_quiet_and_offers_nothing() -> None:
    found = panel()
    assert (found.badge.text, found.is_quiet) == ("not needed", True)
    assert (found.can_hold, found.can_retry) == (False, False)
    assert [rung.place for rung in found.rungs] == ["here", *["ahead"] * 4]


def test_a_climb_says_where_it_is_and_why_and_can_be_stopped() -> None:
    found = panel(rung="reinstall", reason="it crashed 5 times in a minute")
    assert [rung.place for rung in found.rungs] == ["done", "done", "here", "ahead", "ahead"]
    assert found.reason == "it crashed 5 times in a minute"
    assert (found.can_hold, found.can_retry, found.is_quiet) == (True, True, False)


@pytest.mark.parametrize(
    ("told", "word", "orders"),
    [
        ({"rung": "parked"}, "parked", "retry"),
        ({"rung": "reinstall", "held": True}, "stopped by somebody", "retry"),
        ({"blocked": "port 3001 is held by 4412"}, "blocked", ""),
        ({"rung": "parked", "held": True, "blocked": "x"}, "parked", "retry"),
        ({"rung": "previous_version"}, "recovering", "hold retry"),
    ],
)
def test_the_worst_is_said_first(told: dict[str, Any], word: str, orders: str) -> None:
    found = panel(**told)
    offered = {"hold": found.can_hold, "retry": found.can_retry}
    assert (found.badge.text, [name for name, is_open in offered.items() if is_open]) == (
        word, orders.split(),
    )  # fmt: skip


def test_what_is_wanted_stopped_is_not_begun_anew() -> None:
    assert not panel("stopped", rung="parked").can_retry


@pytest.mark.parametrize(
    ("config", "word"),
    [("trial", "on trial"), ("healthy", "healthy"), ("rolled_back", "rolled back")],
)
def test_a_change_of_settings_has_its_verdict(config: str, word: str) -> None:
    found = panel(config=config, config_reason="it did not become ready")
    assert (found.config.text, found.config_reason) == (word, "it did not become ready")
    assert found.is_quiet is (config != "rolled_back")
    assert panel().config is None


def test_a_rung_of_a_newer_controller_breaks_no_page() -> None:
    assert panel(rung="replace_machine").rungs[0].place == "here"
    assert "replace_machine" not in LADDER
