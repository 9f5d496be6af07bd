"""Makes the parts about the plane itself: documents, operations, rehearsals, and the doctor."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from holdfast import __version__
from holdfast.plane import log_file
from holdfast.plane.about import Check, about_handlers
from holdfast.plane.consent_key import CONSENT_KEY_FILE
from holdfast.plane.installations import AGENTS_FOLDER, Installations
from holdfast.plane.key_folder import KEY_FILES
from holdfast.plane.key_rotation import KeyRotation
from holdfast.plane.operations import instance_address, operation_handlers
from holdfast.plane.plane_key import PLANE_KEY_FILE, PlaneKey
from holdfast.plane.rehearsals import rehearsal_handlers
from holdfast.plane.rig_tokens import SealedRigs
from holdfast.plane.town_debug import TownDebug
from holdfast.plane.town_looks import town_look_handlers
from holdfast.plane.wiring.agent_versions import version_uses
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.engine import make_worker
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.part import MINUTE_S, Part, every, kinds_of
from holdfast.wire.api.call import Call, Reply
from holdfast.wire.api.plane import DoctorCheck, PlaneProof
from holdfast.wire.api.table import ENDPOINTS

DISK_WARN_SHARE: Final = 0.10
DISK_FAIL_BYTES: Final = 200 * 1024 * 1024
_OTHERS: Final = 0o077
_MIB: Final = 1024 * 1024


def home_part(core: Core) -> Part:
    """Return the part of the data folder: checks of permissions and disk, and log rotation."""
    home = core.home

    async def check_folder() -> DoctorCheck:
        return await asyncio.to_thread(_folder, home, core.settings.keys_folder)

    async def check_disk() -> DoctorCheck:
        return await asyncio.to_thread(_disk, home)

    async def shrink_log() -> None:
        if log_file.is_ours(home):
            await asyncio.to_thread(log_file.shrink, home)

    return Part(
        name="home",
        jobs=(every("log.shrink", shrink_log, MINUTE_S, core.log),),
        checks=(check_folder, check_disk),
    )


def about_part(
    core: Core,
    parts: Sequence[Part],
    *,
    health: Callable[[], str],
    metrics: Callable[[], bytes],
    name_of: Callable[[str], str],
) -> Part:
    """Return the handlers about the plane; the doctor runs the checks of all other `parts`."""
    worker = make_worker(core.home / JOURNAL_FILE, kinds_of(parts), core.log)
    rotation = KeyRotation(
        core.keyring,
        core.settings.keys_folder,
        reader=core.stores.reader,
        mailboxes=core.mailbox,
        chance=core.chance,
        rigs=SealedRigs(core.stores.towns, core.keyring),
    )
    core.closing.push_async_callback(worker.stop)
    checks: list[Check] = [check for part in parts for check in part.checks]
    return Part(
        name="about",
        handlers={
            **rehearsal_handlers(worker),
            **town_look_handlers(worker, core.stores.reader),
            **TownDebug(
                worker=worker, reader=core.stores.reader, records=core.stores.towns
            ).by_endpoint(),
            "keys.rotate": rotation.rotate,
            "plane.prove": partial(_prove, core.plane_key),
            **operation_handlers(
                journal=core.stores.journal,
                reader=core.stores.reader,
                mailboxes=core.mailbox,
                kinds=core.tables.kinds,
                actor_of_instance=instance_address,
                name_of=name_of,
                publish=core.publish,
            ),
            **about_handlers(
                ENDPOINTS,
                version=__version__,
                health=health,
                metrics=metrics,
                installations=Installations(core.home / AGENTS_FOLDER),
                uses=partial(version_uses, core.stores.reader),
                checks=checks,
            ),
        },
    )


async def _prove(key: PlaneKey, call: Call) -> Reply:
    """Answer a challenge; the socket address that was reached is part of the answer."""
    return Reply(PlaneProof(proof=key.proof(call.query["nonce"], *call.server)))


def _folder(home: Path, keys: Path) -> DoctorCheck:
    """Return whether the data folder and the keys are for their owner only."""
    names = (*KEY_FILES, PLANE_KEY_FILE, CONSENT_KEY_FILE)
    files = (path for path in (keys / name for name in names) if path.exists())
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
    """Check the free disk space."""
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
