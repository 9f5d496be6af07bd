from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.web.parts.moments import moment, parse_ms, relative_words
from holdfast.web.parts.words import HEALTH_BADGES, spoken, status_badge, wanted_words
from holdfast.wire.health import HealthCode
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
    assert set(HEALTH_BADGES) == set(get_args(HealthCode))


@pytest.mark.parametrize(
    ("code", "text", "tone"),
    [("ready", "Ready", "ok"), ("parked", "Parked", "bad"), ("unreported", "Not known", "warn")],
)
def test_the_badge_is_the_one_status(code: str, text: str, tone: str) -> None:
    badge = status_badge(view(health={"code": code, "text": "because"}))
    assert (badge.text, badge.tone, badge.why) == (text, tone, "because")


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
