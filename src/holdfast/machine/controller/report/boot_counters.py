"""The file in which a boot's counts outlive it.

Written durably before each report and whenever a count changes: a new file, synced, renamed over
the old one. Writes run in a thread, one at a time; of several waiting counts only the latest is
written. A disk error is logged and must not prevent a report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from holdfast.kernel.failure import brief
from holdfast.machine.controller.limits import ANSWERS_ENOUGH, EARLIER_BOOTS_MAX
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.controller.checkin import BootCounters, CheckIn
from holdfast.wire.limits import BOOTS_MAX


class Saved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file's content: the boots of one machine, oldest first, the last written one last."""

    sandbox_id: str
    boots: tuple[BootCounters, ...] = ()


@dataclass(frozen=True, slots=True)
class Boots:
    """`earlier` are boots still to be reported, oldest first; `answers` counts by boot."""

    sandbox_id: str
    earlier: tuple[BootCounters, ...] = ()
    answers: Mapping[str, int] = field(default_factory=dict)

    @property
    def included(self) -> tuple[BootCounters, ...]:
        """Return the boots that the next report includes: the oldest ones."""
        return self.earlier[:BOOTS_MAX]

    @property
    def waits(self) -> bool:
        """Return whether there are boots for which the next report has no room."""
        return len(self.earlier) > BOOTS_MAX


def recall(content: bytes, *, sandbox_id: str) -> tuple[Boots, tuple[BootCounters, ...]]:
    """Return the boots of a saved file, and those beyond the limit.

    Counts of another machine's identity are not reported. Raise ValueError or
    RecursionError for foreign content.
    """
    saved = msgspec.json.decode(content, type=Saved)
    if saved.sandbox_id != sandbox_id:
        return Boots(sandbox_id), ()
    surplus = max(len(saved.boots) - EARLIER_BOOTS_MAX, 0)
    return Boots(sandbox_id, saved.boots[surplus:]), saved.boots[:surplus]


def acknowledge(boots: Boots, included: tuple[BootCounters, ...]) -> Boots:
    """Return the boots after a report with `included` was answered."""
    answers = dict(boots.answers)
    for row in included:
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
    """Return the counters in a report for its own boot."""
    return BootCounters(
        boot_id=report.boot_id,
        sequence=report.sequence,
        restarts=report.total_restarts,
        crashes=report.crashes_total,
        bytes_in=report.bytes_in_total,
        bytes_out=report.bytes_out_total,
    )


COUNTERS_FILE = "counters.json"
"""Below the machine's `run`."""

COUNTERS_BYTES_MAX = 1_048_576
"""Maximum bytes of the file; it holds a few hundred per boot."""


class BootsFile:
    """Stores the counts of this boot, and returns those of earlier ones until acknowledged."""

    def __init__(self, path: Path, boots: Boots, *, log: Log) -> None:
        """Write to `path`; `boots` is its earlier content."""
        self._path = path
        self._boots = boots
        self._log = log
        self._current: BootCounters | None = None
        self._wanted = b""
        self._written = b""
        self._writing: asyncio.Task[None] | None = None

    @property
    def included(self) -> tuple[BootCounters, ...]:
        """Return the earlier boots that the next report includes."""
        return self._boots.included

    @property
    def waits(self) -> bool:
        """Return whether more of them wait for the report after it."""
        return self._boots.waits

    def delivered(self, included: tuple[BootCounters, ...]) -> None:
        """Count the answer to a report with these; acknowledged ones leave the file."""
        before, self._boots = self._boots, acknowledge(self._boots, included)
        if self._current is not None and self._boots.earlier != before.earlier:
            self.keep(self._current)

    def keep(self, current: BootCounters) -> None:
        """Write these counts of the current boot soon."""
        self._current = current
        self._wanted = save(self._boots, current)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="counters")

    async def save(self, current: BootCounters) -> None:
        """Write these counts, or later ones, and return when they are on disk."""
        self.keep(current)
        await self.close()

    async def close(self) -> None:
        """Return when no write is pending."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        while self._wanted != self._written:
            content = self._wanted
            try:
                await asyncio.to_thread(atomic_file.write, self._path, content)
            except OSError as error:
                self._log.emit("counters.write_failed", error=brief(error))
                return
            self._written = content


def open_boots(path: Path, *, sandbox_id: str, log: Log) -> BootsFile:
    """Return the file's counts as those of earlier boots; log what cannot be read."""
    boots = Boots(sandbox_id)
    try:
        boots, surplus = recall(
            atomic_file.read_file(path, COUNTERS_BYTES_MAX), sandbox_id=sandbox_id
        )
    except FileNotFoundError:
        surplus = ()
    except (OSError, ValueError, RecursionError) as error:
        surplus = ()
        log.emit("counters.unreadable", error=brief(error))
    for row in surplus:
        log.emit("counters.dropped", boot=row.boot_id, restarts=row.restarts, crashes=row.crashes)
    return BootsFile(path, boots, log=log)
