"""A key that was replaced: what is granted is written once more, and says the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.actors.definition import ViewRow
from holdfast.actors.ports import Accepted, Arrival, MailboxFullError
from holdfast.consent import events
from holdfast.consent.index import NodeIndex
from holdfast.consent.limits import RENEW_WAIT_S
from holdfast.consent.state import encode_row, is_outdated
from holdfast.consent.views import NODE_VIEW
from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.ids import Address, EventId
from holdfast.kernel.log import NoLog
from holdfast.plane.consent_key import ConsentKey, make_consent_key, verify
from holdfast.plane.wiring.consent_renewal import Renewal
from holdfast.wire.consent import Grant
from tests.unit.consent.rig import Driver, grant, registered, revoke

SECOND = make_consent_key(bytes(range(1, 33)), now_ms=0)


def granted(*, until_ms: int = 0) -> Driver:
    driver = Driver()
    driver.ok(registered())
    driver.ok(grant("logs", "memory", until_ms=until_ms, backfill_from_ms=5))
    return driver


def in_force_by(driver: Driver, key: ConsentKey) -> Grant:
    """Return the signed grant, which must be by this key."""
    assert driver.state.grant is not None
    found = verify(driver.state.grant, key.public_key)
    assert isinstance(found, Grant)
    return found


def test_what_is_granted_is_signed_anew_and_says_the_same() -> None:
    driver = granted(until_ms=Driver().clock.now_ms() + DAY_MS)
    before, first = in_force_by(driver, driver.key), driver.key
    driver.key = SECOND
    assert is_outdated(driver.state, SECOND.key_id)
    assert not is_outdated(driver.state, first.key_id)
    classes = driver.in_force()
    assert driver.send(events.KeyReplaced(SECOND.key_id)).outcome == "applied"
    assert driver.in_force() == classes, "the old grant holds until the new one is signed"
    assert not is_outdated(driver.state, SECOND.key_id)
    driver.sign()
    after = in_force_by(driver, SECOND)
    assert after.number > before.number
    assert driver.in_force() == classes
    names = ("node", "classes", "backfill_from_ms", "until_ms")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
    assert len(driver.state.receipts) == 1, "nobody decided anything"
    assert driver.send(events.KeyReplaced(SECOND.key_id)).outcome == "ignored"


def test_nothing_is_written_where_nothing_is_in_force() -> None:
    for end in (revoke("logs", "memory"), events.PlaneRestored(), events.InstanceGone("acme")):
        driver = granted()
        driver.ok(end)
        number = driver.state.number
        assert driver.send(events.KeyReplaced(SECOND.key_id)).outcome == "ignored"
        assert driver.state.number == number
    driver = Driver()
    assert driver.send(events.KeyReplaced(SECOND.key_id)).code == "no_such_node"
    driver.ok(registered())
    assert driver.send(events.KeyReplaced(SECOND.key_id)).outcome == "ignored"


def test_a_newer_grant_that_waits_for_its_signature_is_enough() -> None:
    driver = granted()
    driver.send(revoke("logs"))
    number = driver.state.number
    assert driver.send(events.KeyReplaced(SECOND.key_id)).outcome == "ignored"
    assert driver.state.number == number
    driver.sign()  # by the old key: it was on its way
    assert is_outdated(driver.state, SECOND.key_id)
    driver.key = SECOND
    driver.ok(events.KeyReplaced(SECOND.key_id))
    assert in_force_by(driver, SECOND).classes == ("memory",)


def test_a_revocation_after_it_closes() -> None:
    driver = granted()
    driver.key = SECOND
    driver.send(events.KeyReplaced(SECOND.key_id))
    driver.ok(revoke("logs", "memory"))
    assert driver.in_force() == ()
    assert in_force_by(driver, SECOND).classes == ()


class Ids:
    """Ids that are all different."""

    def __init__(self) -> None:
        self._numbers = count()

    def uuid(self) -> str:
        return f"{next(self._numbers)}"

    def token(self, prefix: str) -> str:
        raise NotImplementedError


class Fleet:
    """Nodes with something granted, and the mailboxes that have them tick and sign."""

    def __init__(self, nodes: int) -> None:
        self.drivers = {f"nd_{number:020d}": granted() for number in range(nodes)}
        self.clock = next(iter(self.drivers.values())).clock
        self.index = NodeIndex(self.clock)
        self.key = SECOND
        self.told: list[str] = []
        self.full: set[str] = set()
        self.on_tell: Any = lambda: None
        for node in self.drivers:
            self.commit(node)
        self.renewal = Renewal(
            self.index, self, key=lambda: self.key.key_id, chance=Ids(), clock=self.clock,
            log=NoLog(),
        )  # fmt: skip

    def commit(self, node: str) -> None:
        row = ViewRow(NODE_VIEW, node, "acme", encode_row(self.drivers[node].state))
        committed: Any = SimpleNamespace(tick=SimpleNamespace(views=(row,)), commit=object())
        self.index.on_commit(committed)

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        for actor, row in arrivals:
            if actor.id in self.full:
                raise MailboxFullError(actor.id)
            self.told.append(actor.id)
            driver = self.drivers[actor.id]
            driver.key = self.key
            driver.send(events.decode_event(row.body, row.version))
            driver.sign()
            self.commit(actor.id)
            self.on_tell()
        return [Accepted(EventId("e"), fresh=True) for _ in arrivals]

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Any:
        raise NotImplementedError


async def waited_s(fleet: Fleet) -> float:
    """Renew all nodes; each look at the clock takes half a second. Return how long it took."""
    held = fleet.clock

    class Passing:
        def steady_ms(self) -> float:
            held.advance(500)
            return held.steady_ms()

        def now_ms(self) -> int:
            return held.now_ms()

    began_ms = held.steady_ms()
    await Renewal(
        fleet.index, fleet, key=lambda: SECOND.key_id, chance=Ids(), clock=Passing(), log=NoLog()
    ).run()
    return (held.steady_ms() - began_ms) / 1_000


async def test_every_node_is_renewed_once_and_a_second_call_does_nothing() -> None:
    fleet = Fleet(150)
    await fleet.renewal.run()
    assert sorted(fleet.told) == sorted(fleet.drivers)
    assert [*fleet.index.outdated(SECOND.key_id)] == []
    await fleet.renewal.run()
    assert len(fleet.told) == 150
    for driver in fleet.drivers.values():
        assert in_force_by(driver, SECOND).classes == ("logs", "memory")


async def test_what_is_left_after_a_stop_is_all_that_is_done_later() -> None:
    fleet = Fleet(150)

    def stop() -> None:
        if len(fleet.told) == 40:
            message = "it stops"
            raise RuntimeError(message)

    fleet.on_tell = stop
    with pytest.raises(RuntimeError, match="it stops"):
        await fleet.renewal.run()
    before = set(fleet.told)
    fleet.on_tell = lambda: None
    fleet.told.clear()
    await Renewal(
        fleet.index, fleet, key=lambda: SECOND.key_id, chance=Ids(), clock=fleet.clock,
        log=NoLog(),
    ).run()  # fmt: skip
    assert sorted(fleet.told) == sorted(set(fleet.drivers) - before)


async def test_a_second_rotation_meanwhile_is_followed() -> None:
    fleet, third = Fleet(100), make_consent_key(bytes(range(2, 34)), now_ms=0)

    def rotate() -> None:
        if len(fleet.told) == 10:
            fleet.key = third

    fleet.on_tell = rotate
    await fleet.renewal.run()
    for driver in fleet.drivers.values():
        assert in_force_by(driver, third)
    assert len(fleet.told) < 200, "those that the third key signed were told again"


async def test_a_node_that_is_told_too_much_holds_up_no_other() -> None:
    fleet = Fleet(70)
    fleet.full = {next(iter(fleet.drivers))}
    assert await waited_s(fleet) < RENEW_WAIT_S, "nor is it waited for"
    assert len(fleet.told) == 69
    assert {*fleet.index.outdated(SECOND.key_id)} == fleet.full


async def test_a_node_that_was_revoked_meanwhile_is_not_waited_for() -> None:
    fleet = Fleet(10)
    last = [*fleet.drivers][-1]

    def revoke_last() -> None:
        if len(fleet.told) == 1:
            fleet.drivers[last].ok(revoke("logs", "memory"))
            fleet.commit(last)

    fleet.on_tell = revoke_last
    assert await waited_s(fleet) < RENEW_WAIT_S
    assert len(fleet.told) == 10
    assert [*fleet.index.outdated(SECOND.key_id)] == []
