"""What both text editors share: where an entry goes, which one is ours, and how an edit fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Keys = tuple[str, ...]
"""The keys that lead from the root to a list of hooks, e.g. ("hooks", "PostToolUse")."""
Entry = dict[str, Any]
Mine = Callable[[Any], bool]
"""Says whether an entry of a list is the one to take out."""

BACKSTOP: Final = "nothing was changed"


class WiringError(Exception):
    """A file that cannot be edited safely; the message says why and what to do instead."""


def container_of(data: Any, keys: Keys) -> list[Any] | None:
    """Return the list that `keys` lead to, None where a key is absent.

    Raise WiringError where something else than an object or, at the end, a list is in the way.
    """
    here = data
    for depth, key in enumerate(keys):
        if not isinstance(here, dict):
            raise WiringError(f"{'.'.join(keys[:depth]) or 'the file'} is not a map; {BACKSTOP}")
        if here.get(key) is None:
            return None
        here = here[key]
    if not isinstance(here, list):
        raise WiringError(f"{'.'.join(keys)} is not a list; {BACKSTOP}")
    return here


def with_entry(data: Any, keys: Keys, entry: Entry) -> Any:
    """Return what the file should mean once the entry is in; `data` stays as it is."""
    if not keys:
        return [*(data or []), entry]
    return {**(data or {}), keys[0]: with_entry((data or {}).get(keys[0]), keys[1:], entry)}


def without_entries(data: Any, keys: Keys, mine: Mine) -> Any:
    """Return what the file should mean once ours are out; what that leaves empty goes too."""
    if not keys:
        return [entry for entry in data if not mine(entry)]
    rest = without_entries(data[keys[0]], keys[1:], mine)
    if rest:
        return {**data, keys[0]: rest}
    return {key: value for key, value in data.items() if key != keys[0]}
