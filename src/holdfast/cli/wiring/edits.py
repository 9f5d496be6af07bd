"""The common part of both text editors: paths of entries, recognising ours, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Keys = tuple[str, ...]
"""The keys from the root to a list of hooks, e.g. ("hooks", "PostToolUse")."""
Entry = dict[str, Any]
Mine = Callable[[Any], bool]
"""Returns whether an entry of a list is the one to remove."""

BACKSTOP: Final = "nothing was changed"


class WiringError(Exception):
    """A file that cannot be edited safely; the message gives the reason and the alternative."""


def container_of(data: Any, keys: Keys) -> list[Any] | None:
    """Return the list at `keys`, None if a key is absent.

    Raise WiringError if a value on the way is not an object, or the last one not a list.
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
    """Return the file's value with the entry added; `data` is not changed."""
    if not keys:
        return [*(data or []), entry]
    return {**(data or {}), keys[0]: with_entry((data or {}).get(keys[0]), keys[1:], entry)}


def without_entries(data: Any, keys: Keys, mine: Mine) -> Any:
    """Return the file's value without our entries, nor the containers they leave empty."""
    if not keys:
        return [entry for entry in data if not mine(entry)]
    rest = without_entries(data[keys[0]], keys[1:], mine)
    if rest:
        return {**data, keys[0]: rest}
    return {key: value for key, value in data.items() if key != keys[0]}
