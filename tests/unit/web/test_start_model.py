"""The panel of a machine's start: what it says while it goes on, failed, and when all is done."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.instances.start_report import start_fact, start_fix, start_view
from holdfast.letters.machine import LastContact
from holdfast.machine.controller.bootstrap import PHASES
from holdfast.web.parts.start import _PHASES, start, took_words
from holdfast.wire.api.instances import InstanceDetail
from holdfast.wire.controller import checkin
from tests.unit.web.shapes import view

NOW = 1_800_000_000_000
NAMES = ("decrypting", "doctor", "gateway-start")


def told(*states: str, critical: bool = False, again_in_ms: int = 0, epoch: int = 0) -> LastContact:
    phases = tuple(
        checkin.StartPhase(
            name=name, state=state, deadline_ms=180_000, took_ms=1_200, critical=critical,
            reason="it could not be done" if state == "failed" else "",
        )
        for name, state in zip(NAMES, states, strict=True)
    )  # fmt: skip
    begun = checkin.Start(phases=phases, again_in_ms=again_in_ms)
    status = checkin.MachineStatus(uptime_seconds=0, load_avg_5m=0, start=begun)
    return LastContact(heard_ms=NOW, status=status, status_ms=NOW, epoch=epoch)


def panel(*states: str, desired: str = "running", **more: Any) -> Any:
    shown = view(desired=desired, status="running")
    detail = InstanceDetail(instance=shown, start=start_view(shown, told(*states, **more)))
    return start(detail, now_ms=NOW)


def test_all_done_is_quiet_and_says_how_long_it_took() -> None:
    found = panel("done", "done", "done")
    assert (found.is_quiet, found.can_retry, found.summary) == (True, False, "It took 3.6 s.")


def test_one_that_goes_on_says_what_it_may_take() -> None:
    found = panel("done", "running", "ahead")
    assert (found.is_quiet, found.badge.text) == (False, "under way")
    assert [line.time for line in found.lines] == [
        "1.2 s", "1.2 s of at most 180 s", "at most 180 s",
    ]  # fmt: skip


def test_one_that_failed_can_be_gone_on_with() -> None:
    found = panel("done", "failed", "ahead")
    assert (found.badge.text, found.can_retry, found.again) == ("failed", True, None)
    assert found.lines[1].reason == "it could not be done"
    assert "log" in found.fix


@pytest.mark.parametrize(("again_ms", "has_fix"), [(30_000, False), (0, True)])
def test_a_critical_one_has_no_button(again_ms: int, *, has_fix: bool) -> None:
    found = panel("failed", "ahead", "ahead", critical=True, again_in_ms=again_ms)
    assert (found.can_retry, bool(found.fix), found.again is None) == (False, has_fix, has_fix)


def test_the_start_of_another_incarnation_is_not_shown() -> None:
    shown = view(status="running", epoch=3)
    assert start_view(shown, told("done", "done", "done", epoch=2)) is None
    assert start_view(shown, told("done", "done", "done", epoch=3)) is not None
    assert start_view(view(status="stopped"), told("done", "done", "done")) is None
    assert panel("done", "done", "done", desired="stopped") is None


def test_the_command_line_is_told_the_phase_and_what_to_do() -> None:
    shown = view(status="running")
    failed = start_view(shown, told("done", "failed", "ahead"))
    fact = start_fact(failed)
    assert fact is not None
    assert (fact.code, "phase doctor" in fact.text) == ("start.failed", True)
    assert start_fix(failed, "birch").endswith("holdfast instance retry birch")
    assert start_fact(start_view(shown, told("done", "done", "done"))) is None
    critical = start_view(shown, told("failed", "ahead", "ahead", critical=True))
    assert start_fix(critical, "birch").startswith("Put its keys and settings right, then: ")


@pytest.mark.parametrize(("ms", "words"), [(3, "under 0.1 s"), (1_240, "1.2 s"), (75_400, "75 s")])
def test_durations_are_read_by_people(ms: int, words: str) -> None:
    assert took_words(ms) == words


def test_every_phase_of_a_controller_has_words_for_people() -> None:
    assert set(_PHASES) == {phase.name for phase in PHASES}
