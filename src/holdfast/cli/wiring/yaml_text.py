"""YAML, edited in place: lines are added or removed, and every other line stays as it was.

A library parses the text before and after, and gives positions; the edit itself is of lines, since
no library preserves a file's layout on writing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from holdfast.cli.wiring.edits import (
    Entry,
    Keys,
    Mine,
    WiringError,
    container_of,
    with_entry,
    without_entries,
)

_STEP: Final = 2
_LINE: Final = re.compile(r"[^\n\r]*(?:\r\n|\n|\r|$)")
"""What the library counts as a line; str.splitlines also ends one at U+2028 and others."""


def add(text: str, keys: Keys, entry: Entry) -> str:
    """Return the text with `entry` at the end of the list at `keys`."""
    data = _read(text)
    meant = plain(text)
    container_of(meant or {}, keys)
    lines = _lines(text)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    here: Any = data
    column, spot, depth = 0, len(lines), 0
    while depth < len(keys) and here is not None and here.get(keys[depth]) is not None:
        row, column = here.lc.key(keys[depth])
        here = here[keys[depth]]
        spot, depth = _block_end(lines, row, column), depth + 1
    if depth < len(keys) and here is not None and keys[depth] in here:
        raise WiringError(f"{keys[depth]} has no value; take the line out first")
    if here is not None and depth and not here:  # `{}` or `[]` on the line of its key
        raise WiringError(f"{'.'.join(keys[:depth])} is empty; take the line out first")
    indent = _child_column(lines, here, column, depth)
    lines[spot:spot] = _drawn(keys[depth:], entry, indent, _newline(lines))
    return _checked("".join(lines), with_entry(meant, keys, entry))


def drop(text: str, keys: Keys, mine: Mine) -> str:
    """Return the text without the entries that are `mine`, nor the containers they leave empty.

    Comments within what is taken out stay.
    """
    meant = plain(text)
    found = container_of(meant or {}, keys)
    if found is None or not any(mine(entry) for entry in found):
        return text
    lines = _lines(text)
    spans = _doomed(_read(text), lines, keys, found, mine)
    for start, end in sorted(spans, reverse=True):
        lines[start:end] = [line for line in lines[start:end] if line.lstrip().startswith("#")]
    return _checked("".join(lines), without_entries(meant, keys, mine))


def _lines(text: str) -> list[str]:
    return [line for line in _LINE.findall(text) if line]


def _doomed(
    data: Any, lines: list[str], keys: Keys, found: list[Any], mine: Mine
) -> list[tuple[int, int]]:
    """Return the line spans to cut: ours, or the highest key with nothing else below it."""
    here, rows = data, list[tuple[int, int, int]]()
    for key in keys:
        row, column = here.lc.key(key)
        here = here[key]
        rows.append((row, column, len(here)))
    ours = [at for at, entry in enumerate(found) if mine(entry)]
    if len(ours) < len(found):
        spans = [(here.lc.item(at)[0], _dash(lines, here.lc.item(at)[0])) for at in ours]
        return [(row, _block_end(lines, row, column)) for row, column in spans]
    row, column, _ = rows.pop()
    while rows and rows[-1][2] == 1:
        row, column, _ = rows.pop()
    return [(row, _block_end(lines, row, column, dashes=True))]


def _read(text: str) -> Any:
    try:
        data = YAML(typ="rt").load(text)
    except YAMLError as error:
        raise WiringError(f"not YAML: {str(error).splitlines()[0]}; nothing was changed") from None
    if data is not None and not isinstance(data, CommentedMap):
        raise WiringError("the file is not a map; nothing was changed")
    return data


def plain(text: str) -> Any:
    """Return the parsed value, None if empty; raise WiringError if it is not YAML."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise WiringError("the file cannot be edited safely; nothing was changed") from None


def _block_end(lines: list[str], row: int, column: int, *, dashes: bool = True) -> int:
    """Return the line after the block that begins in `row`: deeper lines, and a list's dashes."""
    end = row + 1
    own_dash = lines[row][column : column + 1] == "-"
    for at in range(row + 1, len(lines)):
        bare = lines[at].strip()
        if not bare or bare.startswith("#"):
            continue
        depth = len(lines[at]) - len(lines[at].lstrip(" "))
        listed = dashes and not own_dash and depth == column and bare.startswith("-")
        if depth <= column and not listed:
            break
        end = at + 1
    return end


def _child_column(lines: list[str], here: Any, column: int, depth: int) -> int:
    if isinstance(here, CommentedSeq):
        return _dash(lines, here.lc.item(0)[0])
    if isinstance(here, CommentedMap) and here:
        return int(here.lc.key(next(iter(here)))[1])
    return column + _STEP if depth else 0


def _dash(lines: list[str], row: int) -> int:
    return len(lines[row]) - len(lines[row].lstrip(" "))


def _drawn(keys: Keys, entry: Entry, indent: int, newline: str) -> list[str]:
    lines = [f"{' ' * (indent + _STEP * at)}{key}:" for at, key in enumerate(keys)]
    deep = " " * (indent + _STEP * len(keys))
    for at, (key, value) in enumerate(entry.items()):
        # Every JSON scalar is a YAML scalar.
        lines.append(f"{deep}{'  ' if at else '- '}{key}: {json.dumps(value, ensure_ascii=False)}")
    return [line + newline for line in lines]


def _newline(lines: list[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _checked(text: str, wanted: Any) -> str:
    if (plain(text) or {}) != (wanted or {}):
        raise WiringError("the file cannot be edited safely; nothing was changed")
    return text
