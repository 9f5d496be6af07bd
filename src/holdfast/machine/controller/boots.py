"""What earlier boots counted and the plane may not have heard: values, without a file in sight.

A boot's counts are kept with the number of its next message, so they are newer than whatever was
sent, and the plane takes them only when they are. An earlier boot is told again until
`ANSWERS_ENOUGH` reports that named it were answered; the plane writes down what it has heard some
time after it answered, and may die in between. Nothing here may be lost silently: what does not
fit is returned, to be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from holdfast.machine.controller.limits import ANSWERS_ENOUGH, EARLIER_BOOTS_MAX
from holdfast.wire.checkin import BootCounters, CheckIn
from holdfast.wire.limits import BOOTS_MAX


class Saved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is on the disk: the boots of one machine, oldest first, the last written one last."""

    sandbox_id: str
    boots: tuple[BootCounters, ...] = ()


@dataclass(frozen=True, slots=True)
class Boots:
    """`earlier` are the boots still to be told, oldest first; `answers` counts by boot."""

    sandbox_id: str
    earlier: tuple[BootCounters, ...] = ()
    answers: Mapping[str, int] = field(default_factory=dict)

    @property
    def told(self) -> tuple[BootCounters, ...]:
        """Return what the next report names: the oldest, because they were owed first."""
        return self.earlier[:BOOTS_MAX]

    @property
    def waits(self) -> bool:
        """Return whether there are boots for which the next report has no room."""
        return len(self.earlier) > BOOTS_MAX


def recall(content: bytes, *, sandbox_id: str) -> tuple[Boots, tuple[BootCounters, ...]]:
    """Return the boots of a saved file, and those that are too many to be kept.

    What another machine's identity counted is not ours to tell. Raise ValueError when the content
    is none of ours.
    """
    saved = msgspec.json.decode(content, type=Saved)
    if saved.sandbox_id != sandbox_id:
        return Boots(sandbox_id), ()
    surplus = max(len(saved.boots) - EARLIER_BOOTS_MAX, 0)
    return Boots(sandbox_id, saved.boots[surplus:]), saved.boots[:surplus]


def settle(boots: Boots, told: tuple[BootCounters, ...]) -> Boots:
    """Return the boots after a report that named `told` was answered."""
    answers = dict(boots.answers)
    for row in told:
        answers[row.boot_id] = answers.get(row.boot_id, 0) + 1
    done = {boot_id for boot_id, count in answers.items() if count >= ANSWERS_ENOUGH}
    return replace(
        boots,
        earlier=tuple(row for row in boots.earlier if row.boot_id not in done),
        answers={boot_id: count for boot_id, count in answers.items() if boot_id not in done},
    )


def save(boots: Boots, current: BootCounters) -> bytes:
    """Return what to write, with the current boot as the latest."""
    saved = Saved(sandbox_id=boots.sandbox_id, boots=(*boots.earlier, current))
    return msgspec.json.encode(saved) + b"\n"


def counters_of(report: CheckIn) -> BootCounters:
    """Return what a report says of its own boot."""
    return BootCounters(
        boot_id=report.boot_id,
        sequence=report.sequence,
        restarts=report.total_restarts,
        crashes=report.crashes_total,
        bytes_in=report.bytes_in_total,
        bytes_out=report.bytes_out_total,
    )
