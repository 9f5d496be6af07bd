"""The environment of a machine's program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from holdfast.world.clouds.process_record import Folder, Record
from holdfast.world.clouds.spec import KEY_NAME, SEALED_PREFIX, EnvKeys, carried
from holdfast.world.processes.table import MARKER


def environment(
    record: Record, folder: Folder, home: Path, *, inherited: Mapping[str, str], keys: EnvKeys
) -> dict[str, str]:
    """Return the environment of a machine: inherited, its own, then ours; later ones win."""
    spec = record.spec
    composed = {
        **inherited,
        **{carried(name): value for name, value in spec.env.items()},
        **{f"{SEALED_PREFIX}{name}": value for name, value in spec.sealed.items()},
        "HOME": str(home),
        "TMPDIR": str(folder.tmp),
        "HOLDFAST_SANDBOX_ID": spec.sandbox_id,
        "HOLDFAST_INSTANCE_ID": spec.instance_id,
        MARKER: record.id,
        "HOLDFAST_MACHINE_EPOCH": str(spec.epoch),
        "HOLDFAST_INCARNATION": record.incarnation,
        "HOLDFAST_CONTROLLER_PORT": str(record.port),
        "HOLDFAST_AGENT_PORT": str(record.port + 1),
        "HOLDFAST_AGENT": spec.agent,
        "HOLDFAST_AGENT_HOME": str(home),
        "HOLDFAST_STATE_DIR": str(folder.state),
    }
    key = keys(spec) if spec.sealed else None
    if key is not None:
        composed[KEY_NAME] = key.reveal()
    return composed
