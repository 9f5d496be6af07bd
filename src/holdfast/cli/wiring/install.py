"""Carries an edit out: reads the file, edits it, and replaces it in one step."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from holdfast.cli.wiring import jsonc, legacy, undo, yaml_text
from holdfast.cli.wiring.agents import (
    MARK,
    Edited,
    Owned,
    Places,
    command_of,
    is_ours,
    mentions,
    own_command,
)
from holdfast.cli.wiring.edits import (
    INNER,
    Keys,
    Mine,
    WiringError,
    container_of,
    containers_there,
    pruned,
)
from holdfast.disk.durable_file import move, sync_file, sync_names

_PRIVATE: Final = 0o600
_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True)
class Change:
    """A planned write: the whole new text, or None to delete the file.

    `folders` are removed with it where they are empty. `ours` is a file of our own, of no interest
    to a person.
    """

    path: Path
    before: str | None
    after: str | None
    folders: tuple[Path, ...] = ()
    ours: bool = False


def plan_install(agent: Edited | Owned, places: Places, command: list[str]) -> list[Change]:
    """Return the changes that add the hook; none if it is there already and identical.

    An older entry of ours is replaced. Raise WiringError for a file that cannot be edited safely;
    its message then contains what to add by hand.
    """
    if isinstance(agent, Owned):
        return _plan_plugin(agent, places, command)
    path = agent.file(places)
    before = _existing(path)
    entry = agent.entry(shlex.join(command))
    kept = _Kept(agent, places)
    known = kept.known(path)
    try:
        if before and entry in _entries(agent, before) and _count(agent, before) == 1:
            return []
        text = _without(agent, before, known) if before else ""
        after = _add(agent, text, entry)
    except WiringError as error:
        where = ".".join(agent.keys)
        # JSON is also YAML, so each of the files takes it as it is.
        by_hand = json.dumps(entry, ensure_ascii=False)
        raise WiringError(f"{path}: {error}. To add by hand, under {where}: {by_hand}") from None
    made = known.made if known else before is None or (text != before and _is_nothing(agent, text))
    undone = undo.of_edit(
        text,
        after,
        made=made,
        folders=known.folders if known else _missing_folders(path),
        containers=containers_there(_value(agent, text), agent.keys),
    )
    return [kept.change(path, undone), Change(path, before, after)]


def plan_uninstall(agent: Edited | Owned, places: Places) -> list[Change]:
    """Return the changes that remove our hook, and nothing else."""
    if isinstance(agent, Owned):
        return [
            Change(path, text, None, _own_folder(path))
            for path, text in _plugin(agent, places)
            if _is_own_file(agent, places, path, text)
        ]
    path = agent.file(places)
    before = _existing(path)
    kept = _Kept(agent, places)
    known = kept.known(path)
    if before is None:
        return [kept.change(path, None)] if known else []
    try:
        after = _without(agent, before, known)
    except WiringError as error:
        raise WiringError(f"{path}: {error}. Take out the entry with {MARK} by hand") from None
    forgotten = [kept.change(path, None)] if known else []
    if after == before:
        return forgotten
    # Without a record nobody knows who made the file: what is left of it stays.
    made = known.made if known else False
    gone = made and _is_nothing(agent, after)
    folders = tuple(map(Path, known.folders)) if known else ()
    return [Change(path, before, None if gone else after, folders if gone else ()), *forgotten]


def left_over(agent: Edited | Owned, places: Places) -> list[str]:
    """Return where our hook stands in what was changed by hand, and so is not taken out."""
    if isinstance(agent, Owned):
        return [
            str(path)
            for path, text in _plugin(agent, places)
            if not _is_own_file(agent, places, path, text) and MARK in text
        ]
    path = agent.file(places)
    try:
        entries = _entries(agent, _existing(path) or "")
    except WiringError:
        return []
    by_hand = [entry for entry in entries if mentions(entry) and not is_ours(entry)]
    return [f"{path}, {'.'.join(agent.keys)}: {entry}" for entry in _others(by_hand)]


def installed(agent: Edited | Owned, places: Places) -> list[tuple[Path, list[str]]]:
    """Return the files that hold a hook of ours, and its command line; unreadable ones are none."""
    if isinstance(agent, Owned):
        found = ((path, own_command(text)) for path, text in _plugin(agent, places))
        return [(path, command) for path, command in found if command]
    path = agent.file(places)
    try:
        entries = _entries(agent, _existing(path) or "")
    except WiringError:
        return []
    hooks = [hook for entry in entries for hook in (entry, *_inner(entry))]
    commands = (command_of(hook.get("command")) for hook in hooks if isinstance(hook, dict))
    return [(path, command) for command in commands if command]


def switched_off(agent: Edited, path: Path) -> str:
    """Return the name of the agent's own setting that keeps it from running hooks, if it is set."""
    try:
        data = _value(agent, legacy.read_text(path) or "")
    except WiringError:
        return ""
    found = (name for name in agent.switches if isinstance(data, dict) and data.get(name) is True)
    return next(found, "")


def _inner(entry: Any) -> list[Any]:
    hooks = entry.get(INNER) if isinstance(entry, dict) else None
    return hooks if isinstance(hooks, list) else []


def _others(entries: list[Any]) -> list[Any]:
    """Return entries that mention our hook in another form than its own."""
    return [
        entry
        for entry in entries
        if any(mentions(hook) and not is_ours(hook) for hook in _inner(entry) or [entry])
    ]


class _Kept:
    """What is kept of an agent's installations, as a file that changes with them."""

    def __init__(self, agent: Edited, places: Places) -> None:
        self._path = undo.store(places, agent.name)
        self._text = legacy.read_text(self._path)
        self._all = undo.parse(self._text)

    def known(self, path: Path) -> undo.Undo | None:
        return self._all.get(str(path))

    def change(self, path: Path, wanted: undo.Undo | None) -> Change:
        kept = {name: value for name, value in self._all.items() if name != str(path)}
        if wanted is not None:
            kept[str(path)] = wanted
        folders = (self._path.parent, self._path.parent.parent)
        return Change(self._path, self._text, undo.write(kept), folders, ours=True)


def _without(agent: Edited, text: str, known: undo.Undo | None) -> str:
    """Return a file without our entry: as it was, or else edited."""
    there = known.containers if known else 0
    edited = _drop(agent, text, is_ours, grouped=True, there=there)
    exact = known.applied(text) if known else None
    if exact is None:
        return edited
    try:
        before, now = (pruned(_value(agent, of), agent.keys) or {} for of in (exact, edited))
    except WiringError:
        return edited
    same = before == now or (not before and now == dict(agent.top))
    return exact if same else edited


def _missing_folders(path: Path) -> tuple[str, ...]:
    """Return the folders above a file that will be made for it, the deepest first."""
    return tuple(str(folder) for folder in path.parents if not folder.exists())


def _plan_plugin(agent: Owned, places: Places, command: list[str]) -> list[Change]:
    changes = []
    for path, after in agent.files(places, command).items():
        before = _existing(path)
        if before is not None and not _is_own_file(agent, places, path, before):
            raise WiringError(
                f"{path} is not as we wrote it; nothing was changed. Move it away first"
            )
        if before != after:
            changes.append(Change(path, before, after))
    return changes


def _plugin(agent: Owned, places: Places) -> list[tuple[Path, str]]:
    found = ((path, legacy.read_text(path)) for path in agent.files(places, []))
    return [(path, text) for path, text in found if text is not None]


def _own_folder(path: Path) -> tuple[Path, ...]:
    return (path.parent,) if path.parent.name == "holdfast-recorder" else ()


def _is_own_file(agent: Owned, places: Places, path: Path, text: str) -> bool:
    """Return whether a plugin's file is, to the byte, what we write for some command."""
    return agent.files(places, own_command(text) or [])[path] == text


def plan_legacy(agent: Edited, places: Places) -> list[Change]:
    """Return the changes that remove what an older set-up left in an agent's settings."""
    path = agent.file(places)
    before = after = _existing(path) or ""
    keys: set[Keys] = {found.keys for found in legacy.find(agent, places) if found.removable}
    for way in sorted(keys):
        after = legacy.without(agent, after, way)
    return [] if after == before else [Change(path, before, after)]


def carry_out(changes: list[Change]) -> None:
    """Write the changes, each file atomically; raise OSError.

    Raise WiringError for a file that was changed meanwhile, by the agent itself or a person.
    """
    for change in changes:
        if not change.ours and _existing(change.path) != change.before:
            raise WiringError(f"{change.path} was changed meanwhile; nothing was written to it")
        if change.after is None:
            # A link is its owner's; what it led to was made by us.
            _target(change.path).unlink(missing_ok=True)
            _remove_empty(change.folders)
        else:
            _replace(change.path, change.after)


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically, through links, with its permissions, owner and attributes.

    One that has several names is written in place instead: replaced, it would keep only one.
    """
    target = _target(path)
    target.parent.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    about = target.stat() if target.exists() else None
    if about is not None and about.st_nlink > 1:
        with target.open("r+b") as out:
            out.write(text.encode())
            out.truncate()
        sync_file(target)
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(text.encode())
            if about is None:
                os.fchmod(out.fileno(), _PRIVATE)
            else:
                _keep_attributes(target, out.fileno(), about)
        sync_file(name)
        move(name, target)
        sync_names(target.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _target(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as error:  # links that lead to each other
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def _keep_attributes(target: Path, handle: int, about: os.stat_result) -> None:
    """Give a new file the owner, mode and extended attributes of the one that it replaces."""
    with suppress(PermissionError):
        os.fchown(handle, about.st_uid, about.st_gid)
    shutil.copystat(target, f"/proc/self/fd/{handle}")
    os.fchmod(handle, stat.S_IMODE(about.st_mode))
    os.utime(handle)


def _remove_empty(folders: tuple[Path, ...]) -> None:
    """Remove folders that were made for a file and hold nothing any more."""
    for folder in folders:
        with suppress(OSError):
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


def _drop(agent: Edited, text: str, mine: Mine, *, grouped: bool = False, there: int = 0) -> str:
    if _form(agent) == "yaml":
        return yaml_text.drop(text, agent.keys, mine)
    return jsonc.drop(text, agent.keys, mine, grouped=grouped, there=there)


def _value(agent: Edited, text: str) -> Any:
    if not text.strip():
        return None
    return yaml_text.plain(text) if _form(agent) == "yaml" else jsonc.read(text).value


def _entries(agent: Edited, text: str) -> list[Any]:
    data = _value(agent, text)
    return [] if data is None else container_of(data, agent.keys) or []


def _count(agent: Edited, text: str) -> int:
    return sum(1 for entry in _entries(agent, text) if is_ours(entry))
