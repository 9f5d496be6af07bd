"""Counts of earlier boots: stored, reported until acknowledged, and counted by the plane once."""

from __future__ import annotations

import random

import msgspec
import pytest

from holdfast.machine.controller.limits import ANSWERS_ENOUGH, EARLIER_BOOTS_MAX
from holdfast.machine.controller.report.boot_counters import (
    Boots,
    acknowledge,
    counters_of,
    recall,
    save,
)
from holdfast.telemetry import counters as ledgers
from holdfast.telemetry.counters import Ledger
from holdfast.telemetry.limits import BOOTS_KEPT
from holdfast.wire.controller.checkin import BootCounters, CheckIn
from holdfast.wire.limits import BOOTS_MAX
from tests.support.toys.machines import checkin

NAMES = ("restarts", "crashes", "bytes_in", "bytes_out")


def boot(number: int, **counts: int) -> BootCounters:
    return BootCounters(boot_id=f"boot-{number}", sequence=1, **counts)


def reboot(content: bytes) -> Boots:
    return recall(content, sandbox_id="one")[0]


def test_what_was_saved_is_told_by_the_next_boot() -> None:
    first = boot(1, restarts=3, crashes=2, bytes_in=10, bytes_out=20)
    boots = reboot(save(Boots("one"), first))
    assert boots.included == (first,)
    again = reboot(save(boots, boot(2, restarts=1)))
    assert again.included == (first, boot(2, restarts=1))


def test_another_identity_in_the_same_folder_tells_nothing_of_it() -> None:
    content = save(Boots("one"), boot(1, restarts=3))
    assert recall(content, sandbox_id="other") == (Boots("other"), ())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boots": []}', b"\xff", b"null"])
def test_a_file_that_is_none_of_ours_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        recall(content, sandbox_id="one")


def test_it_is_told_until_enough_reports_were_answered() -> None:
    boots = Boots("one", tuple(map(boot, range(6))))
    for _ in range(ANSWERS_ENOUGH):
        assert boots.included == tuple(map(boot, range(BOOTS_MAX)))
        assert boots.waits
        boots = acknowledge(boots, boots.included)
    assert boots.included == (boot(4), boot(5)), "then there is room for those that waited"
    assert not boots.waits
    for _ in range(ANSWERS_ENOUGH):
        boots = acknowledge(boots, boots.included)
    assert boots == Boots("one"), "nothing is remembered of those that were heard"


def test_what_is_too_much_is_the_oldest_and_is_named() -> None:
    rows = tuple(map(boot, range(EARLIER_BOOTS_MAX)))
    kept, surplus = recall(save(Boots("one", rows), boot(99)), sandbox_id="one")
    assert surplus == (boot(0),)
    assert kept.earlier == (*rows[1:], boot(99))


def test_a_report_is_saved_as_it_is_sent() -> None:
    report = checkin(bootId="b", sequence=7, crashesTotal=2)
    row = counters_of(report)
    assert row == BootCounters(
        boot_id="b", sequence=7, restarts=3, crashes=2, bytes_in=1_000, bytes_out=500
    )


class Machine:
    """A controller that counts and may be killed at any moment; what was written survives."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.number = 0
        self.disk = b""
        self.truth: dict[str, BootCounters] = {}
        self.boot()

    def boot(self) -> None:
        self.number += 1
        self.boots, surplus = (
            recall(self.disk, sandbox_id="one") if self.disk else (Boots("one"), ())
        )
        assert not surplus, "the model must stay within what is kept"
        self.sequence = 0
        self.counts = dict.fromkeys(NAMES, 0)

    def write(self, row: BootCounters) -> None:
        self.disk = save(self.boots, row)
        self.truth[row.boot_id] = row

    def crash(self) -> None:
        self.counts["restarts"] += 1
        self.counts["crashes"] += self.chance.randrange(2)
        self.counts["bytes_in"] += self.chance.randrange(1_000)
        self.write(self._row(self.sequence + 1))

    def report(self) -> CheckIn:
        self.sequence += 1
        row = self._row(self.sequence)
        self.write(row)
        return checkin(
            bootId=row.boot_id,
            sequence=row.sequence,
            totalRestarts=row.restarts,
            crashesTotal=row.crashes,
            bytesInTotal=row.bytes_in,
            bytesOutTotal=row.bytes_out,
            earlierBoots=msgspec.to_builtins(self.boots.included),
        )

    def answered(self, report: CheckIn) -> None:
        before, self.boots = self.boots, acknowledge(self.boots, report.earlier_boots)
        if before.earlier != self.boots.earlier:
            self.disk = save(self.boots, self.truth[report.boot_id])

    def _row(self, sequence: int) -> BootCounters:
        return BootCounters(boot_id=f"boot-{self.number}", sequence=sequence, **self.counts)


class Plane:
    """A ledger that loses the last message it took when the plane dies.

    Not two in a row: that would be two deaths, each within a second of a check-in.
    """

    def __init__(self) -> None:
        self.ledger = Ledger(boots=[])
        self.written = msgspec.json.encode(self.ledger)
        self.taken = 0

    def take(self, report: CheckIn) -> None:
        self.written = msgspec.json.encode(self.ledger)
        self.taken += 1
        ledgers.count(self.ledger, report)

    def die(self) -> None:
        if self.taken > 1:
            self.ledger = msgspec.json.decode(self.written, type=Ledger)
            self.taken = 0


THINGS = ("crash", "reach", "unanswered", "lost", "late", "reboot", "death")
WEATHERS = (
    (4, 6, 2, 2, 1, 3, 1),
    (4, 0, 6, 3, 2, 5, 0),  # no answer comes back
    (4, 0, 0, 3, 0, 5, 0),  # nothing arrives
)


def live(machine: Machine, plane: Plane, chance: random.Random, condition: int) -> None:
    """Run one step."""
    what = chance.choices(THINGS, WEATHERS[condition])[0]
    match what:
        case "crash":
            machine.crash()
        case "reboot" if len(machine.boots.earlier) < EARLIER_BOOTS_MAX:
            machine.boot()
        case "death":
            plane.die()
        case "reach":
            report = machine.report()
            plane.take(report)
            machine.answered(report)
        case "unanswered":
            plane.take(machine.report())
        case "late":
            late = machine.report()
            plane.take(machine.report())
            plane.take(late)
        case _:
            machine.report()


@pytest.mark.parametrize("seed", range(60))
def test_the_plane_counts_what_was_counted(seed: int) -> None:
    chance = random.Random(seed)
    machine, plane = Machine(chance), Plane()
    for _ in range(25):
        condition = chance.randrange(len(WEATHERS))
        for _ in range(25):
            live(machine, plane, chance, condition)
    for _ in range(ANSWERS_ENOUGH * (EARLIER_BOOTS_MAX // BOOTS_MAX) + 1):
        report = machine.report()
        plane.take(report)
        machine.answered(report)
    assert not machine.boots.earlier
    assert machine.number > BOOTS_KEPT
    for name in NAMES:
        truth = sum(getattr(row, name) for row in machine.truth.values())
        assert getattr(plane.ledger, name) == truth, name
