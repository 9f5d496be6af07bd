"""A budget: alerts once for each level and period, and a cap whose pause always ends."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.actors.ports import Pending
from holdfast.actors.rehearse import dry_run
from holdfast.instances import actions as act
from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE
from holdfast.instances.policy import Policy
from holdfast.instances.presenters import explain
from holdfast.instances.reconcile import decide
from holdfast.instances.spend import PAUSED
from holdfast.instances.views import BUDGET_VIEW, decode_budget, instance_view, machine_facts
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS
from holdfast.kernel.ids import EventId
from holdfast.kernel.outcome import Conflict, Ok
from holdfast.letters.spend import Crossing, ends_ms
from holdfast.plane.wiring.instances import instance_kind
from holdfast.wire.budget import Budget, Measure, Period, level_of, limits_of, period_of
from holdfast.wire.consent import node_of_instance
from tests.unit.instances.driver import UUID, Driver, created, seen

MICRO = 1_000_000
TEN = Budget(day_micro=10 * MICRO)
CAPPED = Budget(day_micro=10 * MICRO, cap=True)


class Spender(Driver):
    """An instance with a budget, and what its counters say."""

    def budget(self, budget: Budget | None, *spent: Crossing) -> Any:
        return self.send(events.BudgetChanged(budget=budget, crossings=spent))

    def crossing(
        self, spent: int, most: int, period: Period = "day", measure: Measure = "money"
    ) -> dict[str, Any]:
        return {
            "period": period, "measure": measure, "level": level_of(spent, most), "most": most,
            "starts_ms": period_of(period, self.clock.now_ms())[0], "spent": spent,
            "currency": "USD" if measure == "money" else "",
        }  # fmt: skip

    def spent(self, units: float, most: int = 10, **how: Any) -> Any:
        """Have the counters show so many units of money of a limit."""
        found = self.crossing(round(units * MICRO), most * MICRO, **how)
        return self.send(events.SpendReported(**found))

    def names(self) -> list[str]:
        """Return the intents about the budget, alerts with their level."""
        found = []
        for tick in self.ticks:
            for intent in tick.intents:
                match INSTANCE.decode_event(intent.body, 1):
                    case events.SpendAlerted(level=level):
                        found.append(f"alert {level}")
                    case events.BudgetPaused():
                        found.append("paused")
                    case events.BudgetPauseEnded():
                        found.append("ended")
                    case events.SpendPeriodEnded():
                        found.append("period")
                    case _:
                        pass
        return found

    def stop_by_cloud(self) -> None:
        incarnation = self.state.machine.incarnation
        self.answer(ports.StopCall, Ok(seen("stopping", incarnation=incarnation)))
        self.answer(ports.WaitCall, Ok(seen("stopped", incarnation=incarnation)))
        assert self.status == "stopped"

    def up_again(self) -> None:
        self.answer(ports.DescribeCall, Ok(seen("stopped")))
        self.answer(ports.UpdateCall, Ok(seen("starting", incarnation="i2")))
        self.answer(ports.WaitCall, Ok(seen("started", incarnation="i2")))
        assert self.status == "running"

    def leap(self, by_ms: int) -> None:
        """Let time pass in which no plane runs."""
        self.clock.advance(by_ms)
        self._go_on()

    @property
    def shown(self) -> tuple[str, str, bool]:
        view = instance_view(self.state)
        return view.status, view.desired, view.paused


def running(budget: Budget | None = CAPPED) -> Spender:
    """Return one that runs, an hour after a day began."""
    driver = Spender(Policy(first_contact_ms=0, silent_restart_ms=0))
    begin_ms = period_of("day", driver.clock.now_ms() + DAY_MS)[0]
    driver.clock.advance(begin_ms + HOUR_MS - driver.clock.now_ms())
    driver.running()
    if budget is not None:
        driver.budget(budget)
    return driver


def paused() -> Spender:
    driver = running()
    driver.spent(10)
    driver.stop_by_cloud()
    return driver


def test_each_level_is_alerted_once_and_nothing_is_paused_without_a_cap() -> None:
    driver = running(TEN)
    for units in (4.9, 5, 5, 6, 8, 9, 9.5, 9.4, 9.6, 10, 25, 3, 8, 12):
        driver.spent(units)
    assert driver.names() == ["alert 50", "alert 80", "alert 95", "alert 100"]
    assert driver.shown == ("running", "running", False)
    assert instance_view(driver.state).attention == "its budget of $10.00 a day is used up"


def test_levels_that_are_passed_at_once_are_one_alert() -> None:
    driver = running(TEN)
    driver.spent(9.7)
    assert driver.names() == ["alert 95"]
    assert instance_view(driver.state).budget == "95 % of its budget of $10.00 a day are used"


def test_a_cap_pauses_in_the_tick_that_takes_the_letter() -> None:
    driver = running()
    ticks = len(driver.ticks)
    assert driver.spent(10).outcome == "applied"
    assert len(driver.ticks) == ticks + 1
    assert driver.rules()[-1] == "budget.pause"
    assert (driver.state.aim, driver.state.desired) == ("stop", "running")
    assert driver.asked()[-1] == "stop"
    assert machine_facts(driver.state).desired == "stopped"
    driver.stop_by_cloud()
    assert driver.shown == ("paused", "running", True)
    assert driver.names() == ["alert 100", "paused"]
    rows = driver.rows
    driver.spent(10)
    driver.advance(HOUR_MS)
    assert driver.rows == rows + 1  # the letter, which says nothing new
    assert driver.shown == ("paused", "running", True)


def test_a_rehearsal_shows_the_pause_of_the_next_tick() -> None:
    driver = running()
    said = events.SpendReported(**driver.crossing(10 * MICRO, 10 * MICRO))
    waiting = Pending(
        id=EventId("letter"), body=INSTANCE.encode_event(said), version=1, source="letter",
        accepted_ms=0,
    )  # fmt: skip
    kind = instance_kind(driver.policy)
    ahead = dry_run(kind, driver.folded, [waiting], now_ms=driver.clock.now_ms()).steps[0]
    assert [one.rule for one in ahead.decisions] == ["budget.pause"]
    assert "its budget of $10.00 a day is used up" in ahead.decisions[0].reason


def test_the_next_day_begins_without_a_letter_and_it_goes_on() -> None:
    driver = paused()
    driver.advance(22 * HOUR_MS)
    assert driver.shown == ("paused", "running", True)
    driver.advance(HOUR_MS)
    assert driver.names() == ["alert 100", "paused", "period", "ended"]
    driver.up_again()
    assert (driver.state.meters, driver.deadline_ms) == ((), None)
    driver.spent(5)
    assert driver.names()[-1] == "alert 50"


@pytest.mark.parametrize("order", [events.StartRequested(), events.RestartRequested()])
def test_an_order_after_midnight_is_not_refused_for_the_day_before(order: events.Event) -> None:
    driver = paused()
    assert driver.send(order).outcome == "refused"
    ends = period_of("day", driver.clock.now_ms())[1]
    driver.clock.advance(ends - driver.clock.now_ms())  # its alarm has not come yet
    assert driver.send(order).outcome == "applied"
    assert driver.names() == ["alert 100", "paused", "period", "ended"]


def test_a_month_holds_over_its_days() -> None:
    driver = running(Budget(day_micro=10 * MICRO, month_micro=10 * MICRO, cap=True))
    driver.spent(10)
    driver.spent(10, period="month")
    driver.stop_by_cloud()
    ends = max(map(ends_ms, driver.state.meters))
    driver.advance(ends - driver.clock.now_ms() - MINUTE_MS)
    assert driver.shown == ("paused", "running", True)
    driver.advance(MINUTE_MS)
    driver.up_again()
    assert driver.names().count("paused") == 1


def test_going_on_holds_for_the_period_and_no_longer() -> None:
    driver = paused()
    assert driver.send(events.StartRequested()).code == PAUSED
    assert driver.send(events.RestartRequested()).code == PAUSED
    assert driver.send(events.GoOnRequested()).outcome == "applied"
    driver.up_again()
    driver.spent(30)
    assert driver.shown == ("running", "running", False)
    assert driver.send(events.GoOnRequested()).code == "not_paused"
    driver.advance(DAY_MS)
    driver.spent(10)
    assert driver.shown[2]
    assert driver.names().count("paused") == 2


def test_a_raised_budget_lets_it_go_on_and_is_measured_anew() -> None:
    driver = paused()
    raised = Budget(day_micro=20 * MICRO, cap=True)
    spent = Crossing(**driver.crossing(12 * MICRO, 20 * MICRO))
    driver.budget(raised, spent)
    driver.up_again()
    assert driver.names() == ["alert 100", "paused", "alert 50", "ended"]
    assert driver.spent(11).message == "its budget has another limit by now"
    driver.spent(20, most=20)
    driver.stop_by_cloud()
    assert driver.names()[-2:] == ["alert 100", "paused"]


def test_a_raise_below_what_was_spent_since_changes_nothing() -> None:
    driver = paused()
    calls = len(driver.made)
    spent = Crossing(**driver.crossing(12 * MICRO, 11 * MICRO))
    driver.budget(Budget(day_micro=11 * MICRO, cap=True), spent)
    assert (driver.shown, len(driver.made)) == (("paused", "running", True), calls)


@pytest.mark.parametrize("budget", [None, Budget(), TEN, Budget(day_tokens=5, cap=True)])
def test_without_the_limit_or_its_cap_nothing_holds_it(budget: Budget | None) -> None:
    driver = paused()
    driver.budget(budget)
    driver.up_again()
    assert driver.names()[-1] == "ended"


def test_counters_that_fall_end_the_pause_and_rise_to_another() -> None:
    driver = paused()
    driver.spent(6)
    driver.up_again()
    driver.spent(10)
    driver.stop_by_cloud()
    assert driver.names() == ["alert 100", "paused", "ended", "paused"]


def test_an_owners_stop_holds_after_the_pause() -> None:
    driver = paused()
    assert driver.send(events.StopRequested()).outcome == "applied"
    assert driver.shown == ("stopped", "stopped", False)
    assert driver.send(events.StartRequested()).code == PAUSED
    calls = len(driver.made)
    driver.send(events.GoOnRequested())
    driver.advance(2 * DAY_MS)
    assert (driver.shown, driver.asked()[calls:]) == (("stopped", "stopped", False), [])
    driver.send(events.StartRequested())
    driver.up_again()


def test_a_stop_while_it_is_being_paused_is_a_stop() -> None:
    driver = running()
    driver.spent(10)
    driver.send(events.StopRequested())
    driver.stop_by_cloud()
    driver.advance(DAY_MS)
    assert driver.shown == ("stopped", "stopped", False)


def test_one_that_is_paused_can_be_destroyed() -> None:
    driver = paused()
    driver.send(events.DestroyRequested())
    assert driver.shown == ("destroying", "destroyed", False)


def test_a_pause_overtakes_a_start() -> None:
    driver = running()
    driver.stopped()
    driver.send(events.StartRequested())
    driver.spent(10)
    assert (driver.state.aim, driver.status) == ("stop", "starting")
    before = replace(driver.state, aim="start")
    found = decide(before, driver.policy, driver.clock.now_ms())
    assert isinstance(found, act.BeginStop)
    assert found.reason == "its cap pauses it while starting"
    driver.stop_by_cloud()
    assert driver.shown == ("paused", "running", True)


def test_a_pause_that_ends_while_it_is_being_stopped_is_no_order_to_start() -> None:
    driver = running()
    driver.spent(10)
    driver.send(events.GoOnRequested())
    assert driver.state.aim == "start"
    before = replace(driver.state, aim="stop")
    found = decide(before, driver.policy, driver.clock.now_ms())
    assert isinstance(found, act.BeginStart)
    assert found.reason == "it is to run again, and was being stopped"


def test_what_a_person_must_put_right_is_said_before_a_pause() -> None:
    driver = Spender()
    driver.send(created())
    driver.budget(CAPPED)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Conflict("collision", "m5 is not ours", "m5"))
    driver.spent(10)
    assert driver.shown == ("paused", "running", True)
    stranger = "a stranger's machine holds its name"
    assert instance_view(driver.state).attention.startswith(stranger)
    found = explain(driver.state, driver.policy, driver.clock.now_ms())
    assert found.summary.startswith(f"Needs a person: {stranger}")
    assert found.fix.startswith(stranger)


def test_a_budget_that_is_set_when_it_is_used_up_pauses_at_once() -> None:
    driver = running(None)
    driver.budget(CAPPED, Crossing(**driver.crossing(10 * MICRO, 10 * MICRO)))
    assert driver.names() == ["alert 100", "paused"]


def test_the_same_budget_again_and_a_cap_alone_are_told_apart() -> None:
    driver = running()
    assert driver.budget(CAPPED).outcome == "ignored"
    assert driver.budget(Budget(cap=True)).code == "no_limit"
    driver.spent(8)
    driver.budget(TEN)
    assert driver.state.meters[0].alerted == 80
    driver.spent(8.5)
    assert driver.names() == ["alert 80"]


def test_letters_of_what_is_over_or_is_gone_are_ignored() -> None:
    driver = running()
    old = events.SpendReported(**driver.crossing(10 * MICRO, 10 * MICRO))
    driver.advance(DAY_MS)
    assert driver.send(old).message == "that day or month is over"
    driver.budget(None)
    assert driver.spent(10).outcome == "ignored"
    nobody = Spender()
    assert nobody.send(old).message == "there is no such instance"


def test_a_clock_that_is_set_back_leaves_nothing_paused_for_days_to_come() -> None:
    driver = paused()
    driver.clock.jump(-400 * DAY_MS)
    driver.send(events.ContactRegained())
    assert "clock.set_back" in driver.rules()
    driver.up_again()
    assert driver.state.meters == ()


def test_tokens_are_limited_where_there_is_no_price() -> None:
    driver = running(Budget(month_tokens=1_000, cap=True))
    driver.send(events.SpendReported(**driver.crossing(1_000, 1_000, "month", "tokens")))
    assert driver.state.paused_ms
    attention = instance_view(driver.state).attention
    assert attention.startswith("paused by its cap: its budget of 1k tokens a month is used up")


def test_it_is_explained_as_what_it_is() -> None:
    driver = running()
    driver.spent(10)
    found = explain(driver.state, driver.policy, driver.clock.now_ms())
    assert found.summary.startswith(
        "Stopping: it is being stopped, paused by its cap: its budget of $10.00"
    )
    driver.stop_by_cloud()
    found = explain(driver.state, driver.policy, driver.clock.now_ms())
    assert found.summary.startswith("Paused: paused by its cap: its budget of $10.00")
    assert found.status == "paused"
    assert "holdfast budget go-on alpha" in found.fix
    assert [one.code for one in found.facts][:3] == [
        "budget.day.money", "budget.paused", "rule.budget.paused",
    ]  # fmt: skip
    assert found.next_at is not None


def test_the_budget_has_a_row_while_there_is_one() -> None:
    driver = running(None)
    node = node_of_instance("acme", UUID)

    def rows() -> list[tuple[str, bytes | None]]:
        found = [view for tick in driver.ticks for view in tick.views if view.view == BUDGET_VIEW]
        return [(view.key, view.body) for view in found]

    assert rows() == []
    driver.budget(CAPPED)
    driver.spent(10)
    key, body = rows()[-1]
    assert (key, body is not None) == (node, True)
    facts = decode_budget(body or b"")
    assert (facts.instance, facts.paused, facts.meters[0].level) == (UUID, True, 100)
    driver.budget(None)
    assert rows()[-1] == (node, None)


class Alerts:
    """The alerts of a life: each level at most once for a period of one budget."""

    def __init__(self, driver: Spender) -> None:
        self.driver, self.turn, self.once, self._seen = driver, 0, set[tuple[Any, ...]](), 0

    def look(self) -> None:
        """Take in what was alerted since the last look."""
        ticks, self._seen = self.driver.ticks[self._seen :], len(self.driver.ticks)
        for intent in (one for tick in ticks for one in tick.intents):
            event = INSTANCE.decode_event(intent.body, 1)
            if isinstance(event, events.SpendAlerted):
                key = self.turn, event.period, event.starts_ms, event.level
                assert key not in self.once
                self.once.add(key)


@pytest.mark.parametrize("seed", range(25))
def test_in_any_order_it_is_paused_exactly_while_it_is_over_its_cap(seed: int) -> None:
    """The invariants of every tick hold it; each alert comes once, and each pause ends."""
    chance, driver = random.Random(seed), running()
    alerts = Alerts(driver)
    budgets = (None, CAPPED, TEN, Budget(day_micro=20 * MICRO, month_micro=40 * MICRO, cap=True))
    for _ in range(60):
        match chance.randrange(10):
            case 0:
                alerts.turn += driver.budget(chance.choice(budgets)).outcome == "applied"
            case 1:
                driver.send(chance.choice((events.StartRequested(), events.StopRequested())))
            case 2:
                driver.send(events.GoOnRequested())
            case 3:
                driver.leap(chance.choice((HOUR_MS, 7 * HOUR_MS, DAY_MS, 20 * DAY_MS)))
            case _:
                limits = limits_of(driver.state.budget or TEN)
                limit = chance.choice(limits)
                units = chance.choice((0.0, 0.4, 0.5, 0.96, 1.0, 2.0)) * limit.most / MICRO
                driver.spent(units, limit.most // MICRO, period=limit.period)
        alerts.look()
    assert alerts.once
    driver.send(events.StartRequested())
    driver.leap(62 * DAY_MS)
    assert not driver.state.paused_ms
