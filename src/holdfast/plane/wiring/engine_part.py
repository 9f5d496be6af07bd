"""The engine's own part: its start, the pruning of its journal, and what the doctor asks of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from holdfast.kernel.clock import DAY_MS
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.engine import Engine
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.part import DAY_S, Part, every
from holdfast.wire.api.plane import DoctorCheck

WAL_WARN_BYTES: Final = 256 * 1024 * 1024
EFFECTS_WARN: Final = 1_000
_MIB: Final = 1024 * 1024


def engine_part(core: Core) -> Part:
    """Return the engine as a part; whatever was opened before this is closed after it stopped."""
    engine, stores, clock = core.engine, core.stores, core.clock
    core.closing.push_async_callback(engine.stop)

    async def prune() -> None:
        before_ms = clock.now_ms() - core.settings.journal_days * DAY_MS
        forgotten = await stores.journal.prune(before_ms)
        if forgotten:
            core.log.info("journal.pruned", rows=forgotten, before_ms=before_ms)

    async def check_journal() -> DoctorCheck:
        return await asyncio.to_thread(_journal, core.home)

    async def check_engine() -> DoctorCheck:
        return _engine(engine)

    async def check_quarantine() -> DoctorCheck:
        held = len(await stores.reader.quarantined(account=None))
        return DoctorCheck(
            name="quarantine",
            result="warning" if held else "ok",
            message=f"{held} events are in quarantine" if held else "nothing is in quarantine",
            fix="holdfast quarantine list" if held else "",
        )

    return Part(
        name="engine",
        start=engine.start,
        vitals=engine.vitals,
        troubles=lambda: ("the lease is another plane's",) if engine.lease.lost else (),
        jobs=(every("journal.prune", prune, DAY_S, core.log),),
        checks=(check_journal, check_engine, check_quarantine),
    )


def _engine(engine: Engine) -> DoctorCheck:
    """Return whether the engine decides, and how much waits in it."""
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
    """Return how large the journal is, and whether its write-ahead log is being moved away."""
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
