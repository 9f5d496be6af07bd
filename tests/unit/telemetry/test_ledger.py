"""Counters on the plane equal the truth, whatever the network and the machine do."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.telemetry import counters as ledgers
from holdfast.telemetry.counters import STALE, Delta, Ledger, count, count_deltas, is_doubled
from holdfast.telemetry.limits import BOOTS_KEPT
from holdfast.wire.controller.checkin import BootCounters, CheckIn
from holdfast.wire.limits import BOOTS_MAX
from tests.support.toys.machines import CONTRACT, checkin

OVERTAKEN_MAX = BOOTS_KEPT - BOOTS_MAX - 1
NAMES = ("restarts", "crashes", "bytes_in", "bytes_out")


class Sender:
    """A controller that counts, repeats what was not answered, and keeps its counts on a disk.

    `truth` is what all its boots had counted when their last message was made.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.boots = 0
        self.earlier: list[BootCounters] = []
        self.truth = dict.fromkeys(NAMES, 0)
        self.id = ""
        self.sequence = 0
        self.sent = dict.fromkeys(NAMES, 0)
        self.boot()

    def boot(self) -> None:
        if self.boots and self.sequence:
            last = BootCounters(boot_id=self.id, sequence=self.sequence, **self.sent)
            self.earlier = [*self.earlier, last]
        self.boots += 1
        self.id = f"boot-{self.boots}"
        self.sequence = 0
        self.counts = dict.fromkeys(NAMES, 0)
        self.sent = dict.fromkeys(NAMES, 0)
        self.interface = 0

    def work(self) -> None:
        """Count; the interface's own counter may start again, which the sampler takes in."""
        if self.chance.random() < 0.2:
            self.interface = 0
        before = self.interface
        self.interface += self.chance.randrange(10_000)
        self.counts["bytes_in"] += self.interface - before
        self.counts["bytes_out"] += self.chance.randrange(1_000)
        self.counts["restarts"] += self.chance.random() < 0.3
        self.counts["crashes"] += self.chance.random() < 0.2

    def message(self) -> CheckIn:
        self.sequence += 1
        for name in NAMES:
            self.truth[name] += self.counts[name] - self.sent[name]
        self.sent = dict(self.counts)
        return checkin(
            bootId=self.id,
            sequence=self.sequence,
            totalRestarts=self.counts["restarts"],
            crashesTotal=self.counts["crashes"],
            bytesInTotal=self.counts["bytes_in"],
            bytesOutTotal=self.counts["bytes_out"],
            earlierBoots=[msgspec.to_builtins(row) for row in self.earlier[-BOOTS_MAX:]],
        )

    def answered(self, message: CheckIn) -> None:
        told = {row.boot_id for row in message.earlier_boots}
        self.earlier = [row for row in self.earlier if row.boot_id not in told]


def totals(ledger: Ledger) -> dict[str, int]:
    return {name: getattr(ledger, name) for name in NAMES}


class Network:
    """Loses, doubles and delays messages on their way to a ledger, and loses answers.

    A message is overtaken by as many reboots as a plane remembers and no more.
    """

    def __init__(self, chance: random.Random, loss: float) -> None:
        self.chance = chance
        self.loss = loss
        self.ledger = Ledger(boots=[])
        self.summed = dict.fromkeys(NAMES, 0)
        self.late: list[tuple[int, CheckIn]] = []

    def deliver(self, message: CheckIn) -> None:
        delta = count(self.ledger, message)
        for name in NAMES:
            self.summed[name] += getattr(delta, name)

    def carry(self, message: CheckIn, *, boot: int) -> bool:
        """Do something with a message; return whether the sender hears an answer."""
        fate = self.chance.random()
        if fate < self.loss:
            return False
        if fate < self.loss + 0.1:
            self.late.append((boot, message))
            return False
        self.deliver(message)
        if self.chance.random() < 0.2:
            self.deliver(message)
        if self.chance.random() < 0.1:
            self.late.append((boot, message))
        return self.chance.random() > 0.2

    def catch_up(self, *, boot: int) -> None:
        """Deliver what is late, in any order: now and then, and always before it is too late."""
        overdue = self.late and boot - self.late[0][0] >= OVERTAKEN_MAX
        if overdue or self.chance.random() < 0.3:
            self.chance.shuffle(self.late)
            while self.late:
                self.deliver(self.late.pop()[1])


def run(seed: int, *, boots: int, loss: float) -> tuple[Ledger, Sender, dict[str, int]]:
    """Send through so many reboots, and a last message that arrives.

    A machine that has four unanswered boots behind it waits for an answer before it reboots
    again, as one with a full memory would.
    """
    chance = random.Random(seed)
    sender, network = Sender(chance), Network(chance, loss)
    while sender.boots <= boots:
        for _ in range(chance.randrange(4)):
            sender.work()
        if chance.random() < 0.8:
            message = sender.message()
            if network.carry(message, boot=sender.boots):
                sender.answered(message)
        network.catch_up(boot=sender.boots)
        if len(sender.earlier) < BOOTS_MAX and chance.random() < 0.4:
            sender.boot()
    for _, message in network.late:
        network.deliver(message)
    network.deliver(sender.message())
    summed: dict[str, int] = {**network.summed}
    return network.ledger, sender, summed


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.1), (2, 0.4), (3, 0.0)])
def test_a_thousand_reboots_lose_and_double_nothing(seed: int, loss: float) -> None:
    ledger, sender, summed = run(seed, boots=1_000, loss=loss)
    assert totals(ledger) == sender.truth
    assert summed == sender.truth
    assert len(ledger.boots) <= BOOTS_KEPT


@given(st.integers(0, 2**32), st.floats(0, 0.8))
@settings(max_examples=60, deadline=None)
def test_any_network_gives_the_truth(seed: int, loss: float) -> None:
    ledger, sender, summed = run(seed, boots=12, loss=loss)
    assert totals(ledger) == sender.truth == summed


def ours(boot: str, sequence: int, **more: Any) -> CheckIn:
    return checkin(bootId=boot, sequence=sequence, **more)


def test_the_contracts_form_is_believed_as_sent() -> None:
    ledger = Ledger(boots=[])
    for _ in range(2):
        delta = count_deltas(ledger, checkin(CONTRACT))
        assert delta == Delta(fresh=True, restarts=1, bytes_in=100, bytes_out=50)
    assert totals(ledger) == {"restarts": 2, "crashes": 0, "bytes_in": 200, "bytes_out": 100}


def test_ours_without_a_boot_is_taken_for_the_contracts_form() -> None:
    assert count(Ledger(boots=[]), checkin(bootId="")).restarts == 1


def test_a_doubled_and_a_late_message_add_nothing() -> None:
    ledger = Ledger(boots=[])
    assert count(ledger, ours("a", 2)).fresh
    before = totals(ledger)
    assert count(ledger, ours("a", 2)) == STALE
    assert count(ledger, ours("a", 1, bytesInTotal=1)) == STALE
    assert totals(ledger) == before


def test_a_count_that_fell_started_again() -> None:
    ledger = Ledger(boots=[])
    count(ledger, ours("a", 1, bytesInTotal=1_000))
    delta = count(ledger, ours("a", 2, bytesInTotal=30))
    assert delta.bytes_in == 30
    assert ledger.bytes_in == 1_030


def test_a_first_boot_is_no_reboot_and_the_second_is() -> None:
    ledger = Ledger(boots=[])
    assert not count(ledger, ours("a", 1)).rebooted
    assert not count(ledger, ours("a", 2)).rebooted
    assert count(ledger, ours("b", 1)).rebooted


def test_one_late_message_of_an_earlier_boot_is_no_second_machine() -> None:
    ledger = Ledger(boots=[])
    for boot, sequence in (("a", 1), ("b", 1), ("a", 2), ("b", 2), ("b", 3)):
        count(ledger, ours(boot, sequence))
    assert not is_doubled(ledger)


def test_two_machines_that_take_turns_are_noticed_and_forgotten_again() -> None:
    ledger = Ledger(boots=[])
    for sequence in range(1, 4):
        count(ledger, ours("a", sequence, machineId="m1"))
        count(ledger, ours("b", sequence, machineId="m2"))
    assert is_doubled(ledger)
    assert {boot.machine_id for boot in ledger.boots[-2:]} == {"m1", "m2"}
    for sequence in range(4, 20):
        count(ledger, ours("b", sequence, machineId="m2"))
    assert not is_doubled(ledger)


def test_a_reboot_ends_the_suspicion() -> None:
    ledger = Ledger(boots=[])
    for sequence in range(1, 4):
        count(ledger, ours("a", sequence))
        count(ledger, ours("b", sequence))
    count(ledger, ours("c", 1))
    assert not is_doubled(ledger)


def test_a_ledger_survives_being_written() -> None:
    ledger = Ledger(boots=[])
    count(ledger, ours("a", 1))
    again = msgspec.json.decode(msgspec.json.encode(ledger), type=ledgers.Ledger)
    assert count(again, ours("a", 1)) == STALE
    assert again == ledger
