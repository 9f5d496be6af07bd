"""The engine's own part: its start, the pruning of its journal, and its checks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from holdfast.actors.limits import PROGRESS_MS
from holdfast.kernel.clock import DAY_MS, SECOND_MS
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.daily import daily
from holdfast.plane.wiring.engine import Engine
from holdfast.plane.wiring.examine import examine_actors, forget_actors
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.part import DAY_S, Part, every
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX

WAL_WARN_BYTES: Final = 256 * 1024 * 1024
EFFECTS_WARN: Final = 1_000
HELD_SHOWN: Final = 100
EXAMINE_FIRST_S: Final = 2.0
"""How long after the start every actor is looked at, in seconds."""
_MIB: Final = 1024 * 1024


def engine_part(core: Core) -> Part:
    """Return the engine as a part; resources opened before this are closed after it stopped."""
    engine, stores, clock = core.engine, core.stores, core.clock
    core.closing.push_async_callback(engine.stop)

    async def prune() -> None:
        before_ms = clock.now_ms() - core.settings.journal_days * DAY_MS
        rows = await stores.journal.prune(before_ms)
        actors = await forget_actors(stores.journal, engine.kinds, before_ms)
        if rows or actors:
            core.log.info("journal.pruned", rows=rows, actors=actors, before_ms=before_ms)

    async def examine() -> None:
        await examine_actors(stores.journal, engine.kinds, engine.owner.wake, core.log)

    async def check_journal() -> DoctorCheck:
        return await asyncio.to_thread(_journal, core.home)

    async def check_engine() -> DoctorCheck:
        return _engine(engine)

    async def check_actors() -> DoctorCheck:
        return _actors(engine)

    async def check_progress() -> DoctorCheck:
        return _progress(engine)

    async def check_quarantine() -> DoctorCheck:
        held = len(await stores.reader.quarantined(account=None, limit=HELD_SHOWN + 1))
        many = f"more than {HELD_SHOWN}" if held > HELD_SHOWN else str(held)
        return DoctorCheck(
            name="quarantine",
            result="warning" if held else "ok",
            message=f"{many} events are in quarantine" if held else "nothing is in quarantine",
            fix="holdfast quarantine list" if held else "",
        )

    return Part(
        name="engine",
        start=engine.start,
        vitals=engine.vitals,
        troubles=lambda: _troubles(engine),
        jobs=(
            daily("journal.prune", prune, core.home, clock, core.log),
            every("actors.examine", examine, DAY_S, core.log, first_s=EXAMINE_FIRST_S),
        ),
        checks=(check_journal, check_engine, check_progress, check_actors, check_quarantine),
    )


def _troubles(engine: Engine) -> Iterator[str]:
    """Yield the faults because of which actors are not ticked."""
    if engine.lease.lost:
        yield "another plane took the lease of this journal"
    for actor, why in engine.owner.unloadable.items():
        yield f"{actor} cannot be loaded: {why}"
    if (still := _no_progress(engine)) is not None:
        yield still


def _no_progress(engine: Engine) -> str | None:
    """Return which part of the engine does nothing though it should, or None.

    An engine that lost its lease ticks nobody on purpose.
    """
    if engine.lease.lost:
        return None
    stalled = list(engine.owner.progress.stalled())
    if stalled:
        actor, ms = stalled[0]
        return f"{len(stalled)} actors wait for a tick; {actor} for {ms / SECOND_MS:.0f} s"
    for name, late_ms in (("alarms", engine.alarms.late_ms()), ("looks", engine.cadence.late_ms())):
        if late_ms >= PROGRESS_MS:
            return f"the {name} of actors are {late_ms / SECOND_MS:.0f} s late"
    return None


def _progress(engine: Engine) -> DoctorCheck:
    """Return whether whoever is to be ticked is ticked."""
    why = _no_progress(engine)
    return DoctorCheck(
        name="progress",
        result="ok" if why is None else "failed",
        message="everything that is due is ticked" if why is None else why,
        fix=""
        if why is None
        else "look at the log for the actor; restart the plane: nothing is lost by that",
    )


def _actors(engine: Engine) -> DoctorCheck:
    """Return which actors are not governed, and which were made again from their logs."""
    owner = engine.owner
    if owner.unloadable:
        actor, why = next(iter(owner.unloadable.items()))
        return DoctorCheck(
            name="actors",
            result="failed",
            message=f"{len(owner.unloadable)} cannot be loaded; {actor}: {why}"[:REASON_MAX],
            fix="restore the data folder from a backup, or update this plane if it is older",
        )
    if owner.rebuilt:
        actor, why = next(iter(owner.rebuilt.items()))
        return DoctorCheck(
            name="actors",
            result="warning",
            message=f"{len(owner.rebuilt)} had a damaged state; {actor} was {why}"[:REASON_MAX],
            fix="look at the disk: what is stored changed there; nothing else is to be done",
        )
    return DoctorCheck(name="actors", result="ok", message="every state that was read is in order")


def _engine(engine: Engine) -> DoctorCheck:
    """Check that the engine holds the lease, and how much is pending."""
    if engine.lease.lost:
        return DoctorCheck(
            name="engine",
            result="failed",
            message="another plane took the lease of this journal",
            fix="stop the other plane, then restart this one",
        )
    waiting = len(engine.dispatch)
    return DoctorCheck(
        name="engine",
        result="warning" if waiting > EFFECTS_WARN else "ok",
        message=f"{waiting} effects wait, {len(engine.alarms)} alarms and"
        f" {len(engine.prober)} probes are set",
        fix="look at the log for a provider that fails" if waiting > EFFECTS_WARN else "",
    )


def _journal(home: Path) -> DoctorCheck:
    """Check the journal's size, and whether its WAL is being checkpointed."""
    path = home / JOURNAL_FILE
    wal = path.with_name(path.name + "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    grown = wal_bytes > WAL_WARN_BYTES
    return DoctorCheck(
        name="journal",
        result="warning" if grown else "ok",
        message=f"{path.stat().st_size // _MIB} MiB, log {wal_bytes // _MIB} MiB",
        fix="a reader may hold it open: look for other programs on the file" if grown else "",
    )
