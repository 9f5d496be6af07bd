from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.web.parts.moments import moment, parse_ms, relative_words
from holdfast.web.parts.words import STATUSES, spoken, status_badge, wanted_words
from holdfast.wire.api.instances import Status
from holdfast.wire.times import time_text
from tests.unit.web.shapes import NOW, view


@pytest.mark.parametrize(
    ("away_ms", "words"),
    [
        (0, "now"), (1_400, "now"), (-1_400, "now"), (4_000, "4 s ago"), (59_999, "59 s ago"),
        (60_000, "1 min ago"), (3 * 3_600_000, "3 h ago"), (9 * 86_400_000, "9 d ago"),
        (-90_000, "in 1 min"), (-4_000, "in 4 s"), (100 * 86_400_000, "2026-08-10"),
    ],
)  # fmt: skip
def test_moments_are_told_by_their_largest_unit(away_ms: int, words: str) -> None:
    assert relative_words(NOW - away_ms, NOW) == words


@given(st.integers(0, 4_000_000_000_000))
def test_a_moment_survives_its_text(at_ms: int) -> None:
    assert parse_ms(time_text(at_ms)) == at_ms


def test_no_moment_is_no_moment() -> None:
    assert moment(None, NOW) is None
    assert moment("", NOW) is None


def test_every_status_has_a_badge() -> None:
    assert set(STATUSES) == set(get_args(Status))


@pytest.mark.parametrize(
    ("fields", "text", "tone"),
    [
        ({}, "Running", "ok"),
        ({"agent_ready": False}, "Agent down", "bad"),
        ({"contact": "lost"}, "No contact", "bad"),
        ({"contact": "lost", "agent_ready": False}, "No contact", "bad"),
        ({"status": "stopped", "desired": "stopped"}, "Stopped", "off"),
        ({"status": "stopped"}, "Stopped", "warn"),
        ({"status": "starting"}, "Starting", "busy"),
    ],
)
def test_the_worst_is_said_first(fields: dict[str, object], text: str, tone: str) -> None:
    badge = status_badge(view(**fields))
    assert (badge.text, badge.tone) == (text, tone)


def test_what_is_wanted_is_said_only_where_it_differs() -> None:
    assert wanted_words(view()) == ""
    assert wanted_words(view(status="provisioned", desired="stopped")) == ""
    assert wanted_words(view(status="stopped")) == "should be running"
    assert wanted_words(view(desired="stopped")) == "should be stopped"
    assert wanted_words(view(status="destroying", desired="destroyed")) == ""


def test_names_of_the_code_are_spoken() -> None:
    assert spoken("StartRequested") == "Start requested"
    assert spoken("start_machine") == "Start machine"
    assert spoken("") == ""
