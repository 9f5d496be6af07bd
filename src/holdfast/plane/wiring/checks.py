"""What the doctor looks at: folder, keys, disk, journal, engine, quarantine, clouds."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.actors.ports import Reader
from holdfast.plane.about import Check
from holdfast.plane.key_folder import KEY_FILES
from holdfast.plane.wiring.engine import Engine
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.wire.api.plane import DoctorCheck
from holdfast.world.clouds.port import Cloud

DISK_WARN_SHARE: Final = 0.10
DISK_FAIL_BYTES: Final = 200 * 1024 * 1024
WAL_WARN_BYTES: Final = 256 * 1024 * 1024
EFFECTS_WARN: Final = 1_000
_OTHERS: Final = 0o077
_MIB: Final = 1024 * 1024


def make_checks(
    home: Path, keys: Path, reader: Reader, engine: Engine, clouds: Sequence[Cloud]
) -> list[Check]:
    """Return the checks over the parts of one plane."""

    async def check_folder() -> DoctorCheck:
        return await asyncio.to_thread(_folder, home, keys)

    async def check_disk() -> DoctorCheck:
        return await asyncio.to_thread(_disk, home)

    async def check_journal() -> DoctorCheck:
        return await asyncio.to_thread(_journal, home)

    async def check_engine() -> DoctorCheck:
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

    async def check_quarantine() -> DoctorCheck:
        held = len(reader.quarantined(account=None))
        return DoctorCheck(
            name="quarantine",
            result="warning" if held else "ok",
            message=f"{held} events are in quarantine" if held else "nothing is in quarantine",
            fix="holdfast quarantine list" if held else "",
        )

    async def check_clouds() -> DoctorCheck:
        kinds = ", ".join(f"{c.capabilities.kind}: {c.capabilities.isolation}" for c in clouds)
        return DoctorCheck(name="clouds", result="ok", message=kinds[:512])

    return [check_folder, check_disk, check_journal, check_engine, check_quarantine, check_clouds]


def _folder(home: Path, keys: Path) -> DoctorCheck:
    """Return whether the data folder and the keys are for their owner only."""
    files = (path for path in (keys / name for name in KEY_FILES) if path.exists())
    loose = [path for path in (home, keys, *files) if path.stat().st_mode & _OTHERS]
    if loose:
        return DoctorCheck(
            name="folder",
            result="failed",
            message=f"others may read {loose[0]}",
            fix=f"chmod go-rwx {loose[0]}",
        )
    return DoctorCheck(
        name="folder", result="ok", message=f"{home} and {keys} are for their owner only"
    )


def _disk(home: Path) -> DoctorCheck:
    """Return whether there is room to write."""
    usage = shutil.disk_usage(home)
    share = usage.free / usage.total
    result = "ok"
    if share < DISK_WARN_SHARE:
        result = "warning"
    if usage.free < DISK_FAIL_BYTES:
        result = "failed"
    return DoctorCheck(
        name="disk",
        result=result,  # type: ignore[arg-type]
        message=f"{usage.free // _MIB} MiB free, {share:.0%} of the disk",
        fix="" if result == "ok" else "free some space, or set HOLDFAST_HOME to a larger disk",
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
