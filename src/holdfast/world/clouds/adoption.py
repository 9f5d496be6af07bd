"""Finding our machine when its id was lost: choice among several, and adoption by name.

A create may have been done and its answer lost, or an actor's memory may be older than the cloud's.
The unique name then answers "taken". The machine with that name is adopted only after its labels
confirm that it belongs to this very instance. It must never adopt on the name alone, and never
twice in one call, so that two parties cannot hand each other a machine for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Retryable
from holdfast.world.clouds.port import (
    LABEL_SANDBOX,
    NAME_TAKEN,
    TRANSIENT,
    Cloud,
    Machine,
    MachineSpec,
    verify_ours,
)

_DEAD: Final = frozenset({"destroyed", "destroying"})
_RANK: Final = {
    "started": 0,
    "starting": 1,
    "stopped": 2,
    "created": 3,
    "stopping": 4,
    "replacing": 5,
}
_RANK_OTHER: Final = 6


def best_candidate(machines: Iterable[Machine]) -> Machine | None:
    """Return the machine to take over: alive, nearest to running, newest of equals; or None."""
    living = [machine for machine in machines if machine.state not in _DEAD]
    return min(
        living,
        key=lambda machine: (
            _RANK.get(machine.state, _RANK_OTHER),
            -machine.updated_at_ms,
            machine.id,
        ),
        default=None,
    )


async def create_or_adopt(
    cloud: Cloud, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
) -> Outcome[Machine]:
    """Create the machine, or return the one that already holds its name if it is ours.

    Fail with `collision` if a foreign machine holds the name. An adopted machine may be in any
    state and of an earlier epoch: treat it as an existing one.
    """
    created = await cloud.create(spec, idempotency_key=idempotency_key, timeout_ms=timeout_ms)
    if not isinstance(created, Conflict) or created.code != NAME_TAKEN:
        return created
    return await adopt(cloud, spec, holder=created.holder)


async def adopt(cloud: Cloud, spec: MachineSpec, *, holder: str | None) -> Outcome[Machine]:
    """Return the machine that holds the spec's name after verifying that it is ours.

    `holder` is its id if the refusal gave it; else the listing is read, and a listing that does not
    show it yet is a `transient` failure, because the holder surely exists.
    """
    if holder is not None:
        described = await cloud.describe(holder)
        return verify_ours(described.value, spec) if isinstance(described, Ok) else described
    listed = await cloud.find({LABEL_SANDBOX: spec.sandbox_id})
    if not isinstance(listed, Ok):
        return listed
    found = best_candidate(machine for machine in listed.value if machine.name == spec.name)
    if found is None:
        message = f"the name {spec.name!r} is taken by a machine that is not listed yet"
        return Retryable(TRANSIENT, message)
    return verify_ours(found, spec)
