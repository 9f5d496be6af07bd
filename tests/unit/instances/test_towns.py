"""An instance tells the towns whose agents work on it whether it runs, each change once."""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.instances import events, ports
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok
from holdfast.letters.towns import HostSeen
from tests.unit.instances.driver import Driver, created, seen

HOSTED = events.AgentsHosted(town="elm", account="acme", hosted=True)


def told(driver: Driver, after: int = 0) -> list[str]:
    """Return what towns were told by letter, in order."""
    made = [letter for tick in driver.ticks[after:] for letter in tick.letters]
    found = [letter for letter in made if isinstance(letter.body, HostSeen)]
    assert {letter.to for letter in found} <= {address("town", "elm")}
    return [letter.body.absence for letter in found if isinstance(letter.body, HostSeen)]


def test_a_town_is_answered_and_told_of_each_change_once() -> None:
    driver = Driver().running()
    assert driver.send(HOSTED).outcome == "applied"
    assert told(driver) == [""]
    driver.send(events.ContactLost(level=1))
    assert told(driver) == ["", "lost"]
    driver.send(events.ContactRegained())
    assert told(driver) == ["", "lost", ""]
    driver.send(events.StopRequested())
    assert told(driver) == ["", "lost", "", "stopped"]
    driver.send(events.StopRequested())
    assert told(driver) == ["", "lost", "", "stopped"]
    driver.send(HOSTED)  # another agent was put on it, of which the town knows nothing yet
    assert told(driver) == ["", "lost", "", "stopped", "stopped"]
    driver.send(events.DestroyRequested())
    assert told(driver)[5:] == ["destroyed"]


def test_a_restart_is_no_absence_and_a_start_is_told_when_it_is_up() -> None:
    driver = Driver()
    driver.send(created())
    driver.send(HOSTED)
    assert told(driver) == ["stopped"]
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.answer(ports.WaitCall, Ok(seen("started")))
    assert told(driver) == ["stopped", ""]
    driver.send(events.RestartRequested())
    assert driver.status == "restarting"
    assert told(driver) == ["stopped", ""]


def test_a_town_of_another_account_is_told_nothing_and_one_without_agents_no_more() -> None:
    driver = Driver().running()
    stamp = driver.send(events.AgentsHosted(town="elm", account="evil", hosted=True))
    assert (stamp.outcome, driver.state.towns) == ("ignored", ())
    driver.send(HOSTED, events.AgentsHosted(town="elm", account="acme", hosted=False))
    driver.send(events.StopRequested())
    assert told(driver) == []


def test_one_that_does_not_exist_ignores_the_letter() -> None:
    for asked in (HOSTED, replace(HOSTED, destroyed=True)):
        assert Driver().send(asked).outcome == "ignored"


def test_one_that_was_destroyed_answers_a_town_of_its_account() -> None:
    driver = Driver().running()
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, Ok(ports.Destroyed()))
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"
    assert driver.send(HOSTED).outcome == "ignored"  # a letter of before
    assert driver.send(replace(HOSTED, account="evil", destroyed=True)).outcome == "ignored"
    assert told(driver) == []
    for answers in (1, 2):  # once for each agent that is put there
        assert driver.send(replace(HOSTED, destroyed=True)).outcome == "applied"
        assert told(driver) == ["destroyed"] * answers
    driver.send(replace(HOSTED, hosted=False, destroyed=True))
    assert (told(driver)[2:], driver.state.towns) == ([], ())
