"""The table of letters is exactly what the receivers accept."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from msgspec import Struct

from holdfast import letters
from holdfast.actors.definition import At, Letter
from holdfast.actors.kinds import make_kinds
from holdfast.consent.definition import NODE_DEFINITION
from holdfast.consent.events import InstanceGone as NodeClosed
from holdfast.instances import actions, events
from holdfast.instances.definition import INSTANCE
from holdfast.instances.policy import Policy
from holdfast.kernel.ids import EventId, address, parse_address
from holdfast.letters.instances import InstanceDestroyed
from holdfast.letters.spend import SENDER, SpendCrossed
from holdfast.letters.towns import AgentsHosted, HostSeen
from holdfast.pairing.definition import PAIRING
from holdfast.pairing.events import InstanceGone
from holdfast.plane.wiring.consent import node_kind
from holdfast.plane.wiring.instances import instance_kind
from holdfast.plane.wiring.letters import ROUTES, table
from holdfast.plane.wiring.pairing import pairing_kind
from holdfast.plane.wiring.towns import town_kind
from holdfast.towns.policy import Policy as TownPolicy
from holdfast.wire.consent import node_of_instance
from tests.house.sources import ROOT
from tests.unit.instances.driver import UUID, Driver

KINDS = make_kinds(instance_kind(Policy()), pairing_kind(), node_kind(), town_kind(TownPolicy()))
SPENT = SpendCrossed(
    account="acme", period="day", measure="money", starts_ms=0, level=80, spent=8, most=10,
    currency="USD",
)  # fmt: skip
SAMPLES: dict[type[Struct], Struct] = {
    InstanceDestroyed: InstanceDestroyed(account="acme"),
    SpendCrossed: SPENT,
    AgentsHosted: AgentsHosted(account="acme"),
    HostSeen: HostSeen(account="acme", absence="stopped"),
}


def every_letter() -> set[type[Struct]]:
    """Return every letter of the package: its tagged structs, since facts have no tag."""
    found: set[type[Struct]] = set()
    for module in pkgutil.iter_modules(letters.__path__, "holdfast.letters."):
        for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(one, Struct) and one.__module__ == module.name:
                found |= {one} if one.__struct_config__.tag is not None else set()
    return found


def takes(receiver: str, sender: str, letter: Struct) -> bool:
    """Return whether a kind takes a letter of another, at its own id or at that of its node."""
    received = KINDS[receiver].definition.received
    if received is None:
        return False
    try:
        node = node_of_instance("acme", "x")
        to, by = (node if kind in {"node", SENDER} else "x" for kind in (receiver, sender))
        received(address(sender, by), Letter(to=address(receiver, to), body=letter))
    except ValueError:
        return False
    return True


def test_every_letter_has_a_route_and_a_sample() -> None:
    assert every_letter() == {route.letter for route in ROUTES} == SAMPLES.keys()


def test_each_kind_takes_what_the_table_says_and_nothing_else() -> None:
    taken = {
        (sender, type(letter), receiver)
        for sender in (*KINDS, SENDER, "stranger")
        for receiver in KINDS
        for letter in SAMPLES.values()
        if takes(receiver, sender, letter)
    }
    assert taken == {(route.sender, route.letter, route.receiver) for route in ROUTES}


def test_the_documentation_prints_the_table() -> None:
    assert table() in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_an_instance_ends_its_own_pairing_alone() -> None:
    letter = Letter(to=address("pairing", "x"), body=InstanceDestroyed(account="acme"))
    assert PAIRING.received is not None
    assert PAIRING.received(address("instance", "x"), letter) == InstanceGone("acme")
    with pytest.raises(ValueError, match="instance/y may not write InstanceDestroyed to pairing/x"):
        PAIRING.received(address("instance", "y"), letter)


def test_an_instance_closes_its_own_node_alone() -> None:
    to, body = address("node", node_of_instance("acme", "x")), InstanceDestroyed(account="acme")
    assert NODE_DEFINITION.received is not None
    letter = Letter(to=to, body=body)
    assert NODE_DEFINITION.received(address("instance", "x"), letter) == NodeClosed("acme")
    for sender, said in (
        ("instance/y", body),
        ("pairing/x", body),
        ("instance/x", InstanceDestroyed(account="other")),
    ):
        with pytest.raises(ValueError, match="may not write InstanceDestroyed to node/nd_"):
            NODE_DEFINITION.received(parse_address(sender), Letter(to=to, body=said))


def test_content_writes_to_the_instance_of_its_node_alone() -> None:
    received, node = INSTANCE.received, node_of_instance("acme", "x")
    assert received is not None
    letter = Letter(to=address("instance", "x"), body=SPENT)
    event = received(address("content", node), letter)
    assert event == events.SpendReported(
        period="day", measure="money", starts_ms=0, level=80, spent=8, most=10, currency="USD"
    )
    for sender, to in ((f"content/{node}", "y"), ("content/x", "x"), (f"node/{node}", "x")):
        with pytest.raises(ValueError, match="may not write SpendCrossed to instance/"):
            received(parse_address(sender), Letter(to=address("instance", to), body=SPENT))


def test_only_the_end_of_a_destruction_is_written() -> None:
    driver = Driver().running()
    at = At(1, 1, EventId("e"))

    def written(event: events.Intent) -> tuple[Letter, ...]:
        expect = actions.expect_of(driver.state)
        note = actions.Note(rule="r", reason="why", expect=expect, event=event)
        return INSTANCE.act(driver.state, note, driver.policy, at).letters

    body = InstanceDestroyed(account="acme")
    assert written(events.DestroyFinished()) == (
        Letter(to=address("pairing", UUID), body=body),
        Letter(to=address("node", node_of_instance("acme", UUID)), body=body),
    )
    assert written(events.StopSettled()) == ()
