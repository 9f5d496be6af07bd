"""Remains of an older set-up: hooks and cron lines that synchronise, which nothing needs now.

A correction is sent automatically. A hook at a session's end or a cron line that sends as well is
at best idle, and at worst the reason that nothing is sent: its removal is offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.cli.wiring import jsonc, yaml_text
from holdfast.cli.wiring.agents import Edited, Places
from holdfast.cli.wiring.edits import Keys, WiringError

_SYNCS: Final = re.compile(
    r"\bgradata[\w.-]*[\s.].*(?:\bsync\b|session[_-]close|\bcloud\s+(?:sync|push))"
    r"|\bgradata[\w.]*[._-](?:sync|session_close)",
    re.IGNORECASE,
)
_MORE: Final = re.compile(r"&&|\|\||[;|\n]")
"""A line that chains commands does other work as well: a person must take it apart."""
_ENDS: Final = {
    "json": ("Stop", "SessionEnd", "SubagentStop", "sessionEnd", "stop"),
    "yaml": ("on_session_end", "on_session_finalize", "session_end"),
}


@dataclass(frozen=True, slots=True)
class LegacyEntry:
    """One remainder of an older set-up: where, what, and whether it can be removed here."""

    path: Path
    keys: Keys
    text: str
    removable: bool


def is_sync(entry: Any) -> bool:
    """Return whether a hook's entry synchronises and does nothing else."""
    commands = _commands(entry)
    return bool(commands) and all(_only_syncs(command) for command in commands)


def find(agent: Edited, places: Places) -> list[LegacyEntry]:
    """Return the remains in an agent's settings; an unreadable file has none."""
    path = agent.file(places)
    text = read_text(path)
    if text is None:
        return []
    read = yaml_text.plain if agent.form == "yaml" else _json
    try:
        data = read(text) or {}
    except WiringError:
        return []
    hooks = data.get("hooks") if isinstance(data, dict) else None
    found = []
    for name in _ENDS[agent.form]:
        entries = hooks.get(name) if isinstance(hooks, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            commands = _commands(entry)
            if any(_SYNCS.search(command) for command in commands):
                shown = "; ".join(commands)
                found.append(LegacyEntry(path, ("hooks", name), shown, is_sync(entry)))
    return found


def without(agent: Edited, text: str, keys: Keys) -> str:
    """Return the settings without the entries of `keys` that only synchronise."""
    drop: Callable[..., str] = yaml_text.drop if agent.form == "yaml" else jsonc.drop
    return drop(text, keys, is_sync)


def cron_lines(crontab: str) -> list[str]:
    """Return the lines of a crontab that synchronise and do nothing else."""
    return [
        line
        for line in crontab.split("\n")
        if _only_syncs(line) and not line.lstrip().startswith("#")
    ]


def read_text(path: Path) -> str | None:
    """Return a file's text with its line ends as they are, None if it cannot be read."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _only_syncs(command: str) -> bool:
    return bool(_SYNCS.search(command)) and not _MORE.search(command)


def _json(text: str) -> Any:
    return jsonc.read(text).value if text.strip() else {}


def _commands(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return [entry] if isinstance(entry, str) else []
    inner = entry.get("hooks")
    if isinstance(inner, list):
        return [command for hook in inner for command in _commands(hook)]
    command = entry.get("command")
    return [command] if isinstance(command, str) else []
