"""The common part of both text editors: paths of entries, recognising ours, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Keys = tuple[str, ...]
"""The keys from the root to a list of hooks, e.g. ("hooks", "PostToolUse")."""
Entry = dict[str, Any]
Mine = Callable[[Any], bool]
"""Returns whether an entry of a list is the one to remove."""

INNER: Final = "hooks"
"""The list within an entry, where an agent groups hooks that share a matcher."""
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


def without_entries(
    data: Any, keys: Keys, mine: Mine, *, grouped: bool = False, there: int = 0
) -> Any:
    """Return the file's value without our entries, nor the containers they leave empty.

    With `grouped` hooks of ours are also taken out of entries that hold others as well. The first
    `there` containers were there before, and stay.
    """
    if not keys:
        kept = [entry for entry in data if not mine(entry)]
        return [_without_inner(entry, mine) for entry in kept] if grouped else kept
    rest = without_entries(data[keys[0]], keys[1:], mine, grouped=grouped, there=there - 1)
    if rest or there > 0:
        return {**data, keys[0]: rest}
    return {key: value for key, value in data.items() if key != keys[0]}


def inner_of(entry: Any, mine: Mine) -> list[int]:
    """Return the places of our hooks within an entry that holds others as well."""
    hooks = entry.get(INNER) if isinstance(entry, dict) else None
    return [at for at, hook in enumerate(hooks) if mine(hook)] if isinstance(hooks, list) else []


def _without_inner(entry: Any, mine: Mine) -> Any:
    ours = inner_of(entry, mine)
    if not ours:
        return entry
    return {**entry, INNER: [hook for at, hook in enumerate(entry[INNER]) if at not in ours]}


def pruned(data: Any, keys: Keys) -> Any:
    """Return the value without the empty containers at the end of `keys`."""
    if not isinstance(data, dict) or not keys or keys[0] not in data:
        return data
    rest = pruned(data[keys[0]], keys[1:])
    if rest:
        return {**data, keys[0]: rest}
    return {key: value for key, value in data.items() if key != keys[0]}


def containers_there(data: Any, keys: Keys) -> int:
    """Return how many of the keys lead to something."""
    for depth, key in enumerate(keys):
        if not isinstance(data, dict) or data.get(key) is None:
            return depth
        data = data[key]
    return len(keys)
