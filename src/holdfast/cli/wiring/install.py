"""Carries an edit out: reads the file, edits it, and replaces it in one step."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from holdfast.cli.wiring import jsonc, legacy, yaml_text
from holdfast.cli.wiring.agents import MARK, Edited, Owned, Places, is_ours
from holdfast.cli.wiring.edits import Keys, Mine, WiringError, container_of

_PRIVATE: Final = 0o600
_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True)
class Change:
    """A planned write: the whole new text, or None to delete the file."""

    path: Path
    before: str | None
    after: str | None


def plan_install(agent: Edited | Owned, places: Places, command: list[str]) -> list[Change]:
    """Return the changes that add the hook; none if it is there already and identical.

    An older entry of ours is replaced. Raise WiringError for a file that cannot be edited safely;
    its message then contains what to add by hand.
    """
    if isinstance(agent, Owned):
        files = agent.files(places, command)
        return [
            Change(path, before, after)
            for path, after in files.items()
            if (before := legacy.read_text(path)) != after
        ]
    path = agent.file(places)
    before = _existing(path)
    entry = agent.entry(shlex.join(command))
    try:
        text = _drop(agent, before or "", is_ours) if before else ""
        if before and entry in _entries(agent, before) and _count(agent, before) == 1:
            return []
        after = _add(agent, text, entry)
    except WiringError as error:
        where = ".".join(agent.keys)
        raise WiringError(f"{path}: {error}. To add by hand, under {where}: {entry}") from None
    return [Change(path, before, after)]


def plan_uninstall(agent: Edited | Owned, places: Places) -> list[Change]:
    """Return the changes that remove our hook, and nothing else."""
    if isinstance(agent, Owned):
        found = ((path, legacy.read_text(path)) for path in agent.files(places, []))
        return [
            Change(path, text, None)
            for path, text in found
            if text is not None and _is_our_file(path, text)
        ]
    path = agent.file(places)
    before = _existing(path)
    if before is None:
        return []
    try:
        after = _drop(agent, before, is_ours)
    except WiringError as error:
        raise WiringError(f"{path}: {error}. Take out the entry with {MARK} by hand") from None
    if after == before:
        return []
    return [Change(path, before, None if _is_nothing(agent, after) else after)]


def plan_legacy(agent: Edited, places: Places) -> list[Change]:
    """Return the changes that remove what an older set-up left in an agent's settings."""
    path = agent.file(places)
    before = after = _existing(path) or ""
    keys: set[Keys] = {found.keys for found in legacy.find(agent, places) if found.removable}
    for way in sorted(keys):
        after = legacy.without(agent, after, way)
    return [] if after == before else [Change(path, before, after)]


def carry_out(changes: list[Change]) -> None:
    """Write the changes, each file atomically; raise OSError."""
    for change in changes:
        if change.after is None:
            change.path.unlink(missing_ok=True)
            _remove_empty(change.path.parent, like=change.before)
        else:
            _replace(change.path, change.after)


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically, through links and with its permissions."""
    target = path.resolve()
    target.parent.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mode = _PRIVATE
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(text.encode())
            out.flush()
            os.fsync(out.fileno())
            os.fchmod(out.fileno(), mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _remove_empty(folder: Path, *, like: str | None) -> None:
    """Remove a plugin's own folder once its last file is gone."""
    if like is not None and folder.name == "holdfast-recorder" and not any(folder.iterdir()):
        folder.rmdir()


def _existing(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise WiringError(f"{path} is not UTF-8; nothing was changed") from None
    except OSError as error:
        raise WiringError(f"{path}: {error.strerror}; nothing was changed") from None


def _is_our_file(path: Path, text: str) -> bool:
    return MARK in text or (path.name == "package.json" and '"holdfast-recorder"' in text)


def _is_nothing(agent: Edited, text: str) -> bool:
    """Return whether only what we made is left of a file, so that it can be deleted."""
    if not text.strip():
        return True
    if agent.form == "yaml":
        return False
    node = jsonc.read(text)
    left = node.value
    bare = "//" not in text and "/*" not in text
    return bare and left in ({}, dict(agent.top))


def _form(agent: Edited) -> Literal["json", "yaml"]:
    return agent.form


def _add(agent: Edited, text: str, entry: dict[str, Any]) -> str:
    add: Callable[..., str] = yaml_text.add if _form(agent) == "yaml" else jsonc.add
    if not text.strip() and agent.top:
        text = jsonc.dump(dict(agent.top))
    return add(text, agent.keys, entry)


def _drop(agent: Edited, text: str, mine: Mine) -> str:
    drop: Callable[..., str] = yaml_text.drop if _form(agent) == "yaml" else jsonc.drop
    return drop(text, agent.keys, mine)


def _entries(agent: Edited, text: str) -> list[Any]:
    data = yaml_text.plain(text) if _form(agent) == "yaml" else jsonc.read(text).value
    return container_of(data, agent.keys) or []


def _count(agent: Edited, text: str) -> int:
    return sum(1 for entry in _entries(agent, text) if is_ours(entry))
