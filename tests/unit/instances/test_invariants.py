"""Each invariant names a state that breaks it, and none that is as it should be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.instances.invariants import INVARIANTS
from holdfast.instances.state import Config, Instance, Job, Machine
from tests.unit.instances.driver import SANDBOX, UUID

SOUND = Instance(
    id=UUID, account="acme", name="alpha", sandbox_id=SANDBOX, desired="running", status="running",
    machine=Machine(id="m1"), serial=4,
)  # fmt: skip
JOB = Job(serial=4, step="wait", began_ms=1, until_ms=2)

TOMBSTONE = {"status": "destroyed", "desired": "destroyed", "machine": Machine()}


def broken(**changes: Any) -> list[int]:
    state = replace(SOUND, **changes)
    return [one.number for one in INVARIANTS if one.check(state, "") is not None]


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"doomed": ("m1",)}, 1),
        ({"aim": "start"}, 2),
        ({"status": "starting", "aim": ""}, 2),
        ({"status": "restarting", "aim": "start"}, 2),
        ({"status": "destroying", "aim": "destroy"}, 3),
        ({"job": replace(JOB, serial=3)}, 4),
        ({"account": ""}, 5),
        ({"name": ""}, 5),
        ({"sandbox_id": ""}, 5),
        ({"status": "destroyed", "desired": "destroyed"}, 6),
        ({**TOMBSTONE, "job": JOB}, 6),
        (
            {
                "status": "destroyed",
                "desired": "destroyed",
                "machine": Machine(),
                "doomed": ("m2",),
            },
            6,
        ),
        ({"config": Config(env={"A": "x" * STATE_INLINE_BYTES_MAX})}, 7),
        ({"machine": Machine()}, 8),
    ],
    ids=range(14),
)
def test_a_state_that_breaks_one(changes: dict[str, Any], number: int) -> None:
    assert broken(**changes) == [number]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"doomed": ("m2",)},
        {"doomed": ("m1",), "desired": "destroyed"},
        {"aim": "stop"},
        {"status": "starting", "aim": "start"},
        {"status": "starting", "aim": "stop"},
        {"status": "restarting", "aim": "restart"},
        {"status": "destroying", "aim": "destroy", "desired": "destroyed"},
        {"job": JOB},
        {"status": "absent", "account": "", "name": "", "sandbox_id": ""},
        TOMBSTONE,
        {"machine": Machine(), "aim": "stop"},
        {"machine": Machine(), "status": "stopped"},
    ],
    ids=range(13),
)
def test_a_state_that_breaks_none(changes: dict[str, Any]) -> None:
    assert not broken(**changes)
