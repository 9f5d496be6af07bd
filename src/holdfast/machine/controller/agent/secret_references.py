"""Writes references to secrets into the agent's configuration before it starts.

The profile computes the references; this reads and writes the two files. A configuration that
cannot be parsed is left unchanged and logged: the agent reports what is wrong with it. Neither file
holds a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from holdfast.machine.agents.catalogue import Profile
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.config.document import (
    CONFIG_BYTES_MAX,
    DocumentError,
    compose,
    parse,
)
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file

RECORD_FILE: Final = "holdfast-secrets.json"
"""Beside the configuration: where our references are, so that only ours are removed."""


def put_references(
    profile: Profile,
    place: Place,
    env: Mapping[str, str],
    *,
    log: Log,
) -> None:
    """Rewrite the configuration if its references are outdated; raise OSError."""
    assert profile.refer is not None, "a profile without references has no business here"
    path, below = Path(profile.config_path(place)), Path(place.home)
    record = path.with_name(RECORD_FILE)
    try:
        found = parse(atomic_file.read_file(path, CONFIG_BYTES_MAX, below=below)).config
    except FileNotFoundError:
        found = {}
    except DocumentError as error:
        log.emit("secrets.config_unreadable", error=str(error))
        return
    before = _recorded(record, below)
    config, now = profile.refer(found, env, before)
    if now != before:
        # The record first: a crash in between must not leave references that are not recorded.
        atomic_file.write(record, json.dumps({**before, **now}, indent=2) + "\n", below=below)
    if config != found:
        atomic_file.write(path, compose(config).raw.decode(), below=below)
        log.emit("secrets.referred", places=len(now))
    if now != before:
        atomic_file.write(record, json.dumps(now, indent=2) + "\n", below=below)


def _recorded(record: Path, below: Path) -> dict[str, str]:
    """Return the recorded references; none if the record cannot be read."""
    try:
        found = json.loads(atomic_file.read_file(record, CONFIG_BYTES_MAX, below=below))
    except (FileNotFoundError, atomic_file.NotAFileError, atomic_file.TooLargeError):
        return {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {place: name for place, name in found.items() if isinstance(name, str)}
