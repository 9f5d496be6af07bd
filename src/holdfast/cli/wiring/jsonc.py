"""JSON with comments, edited in place: one entry more or less, and every other byte as it was.

No library for Python edits such text in place, so this finds the spans itself. It parses the format
of agents' settings: JSON, with `//` and `/* */` comments and trailing commas.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.cli.wiring.edits import (
    INNER,
    Entry,
    Keys,
    Mine,
    WiringError,
    container_of,
    inner_of,
    with_entry,
    without_entries,
)

_SKIP: Final = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_TOKEN: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_SCALAR: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_INDENT: Final = re.compile(r"[ \t]*")
_UNIT: Final = "  "
_DEPTH_MAX: Final = 64


@dataclass(slots=True)
class Node:
    """A value and its span `text[start:end]`; `members` are a container's, in order."""

    start: int
    end: int
    value: Any
    members: list[Member] = field(default_factory=list["Member"])


@dataclass(slots=True)
class Member:
    """One entry of a container; it begins with its key if it has one."""

    start: int
    node: Node
    key: str | None = None


def read(text: str) -> Node:
    """Return the value of a whole text; raise WiringError if it is not JSON with comments."""
    start = _skip(text, 1 if text.startswith("\ufeff") else 0)
    node = _value(text, start, 0)
    end = _skip(text, node.end)
    if end != len(text):
        raise _wrong(text, end, "nothing more")
    return node


def add(text: str, keys: Keys, entry: Entry) -> str:
    """Return the text with `entry` at the end of the list at `keys`."""
    if not text.strip():
        return dump(with_entry({}, keys, entry))
    root = read(text)
    container_of(root.value, keys)
    here, rest = root, list(keys)
    while rest and (member := _member(here, rest[0])) and member.node.value is not None:
        here, rest = member.node, rest[1:]
    if rest and (member := _member(here, rest[0])):  # a null is replaced by a new container
        value = _wrap(entry, tuple(rest[1:]))
        indent = _line_indent(text, member.start)
        drawn = _draw(value, indent, _unit(text, root))
        edited = text[: member.node.start] + drawn + text[member.node.end :]
    else:
        edited = _append(text, root, here, rest, entry)
    return _checked(edited, with_entry(root.value, keys, entry))


def dump(value: Any) -> str:
    """Return the text of a new file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def drop(text: str, keys: Keys, mine: Mine, *, grouped: bool = False, there: int = 0) -> str:
    """Return the text without the entries that are `mine`, nor the containers they leave empty.

    See `without_entries`. Comments within what is taken out stay.
    """
    root = read(text) if text.strip() else None
    found = None if root is None else container_of(root.value, keys)
    if root is None or found is None:
        return text
    wanted = without_entries(root.value, keys, mine, grouped=grouped, there=there)
    touched = any(mine(entry) or (grouped and inner_of(entry, mine)) for entry in found)
    if not touched:
        return text
    while (path := _doomed(root, keys, mine, grouped=grouped, there=there)) is not None:
        holder, at = path
        hoisted = _hoisted(text, holder.members[at])
        text = _cut(text, holder, at) if hoisted == text else hoisted
        root = read(text)
    return _checked(text, wanted)


def _hoisted(text: str, member: Member) -> str:
    """Return the text with the comments within a member put before it."""
    inside = text[member.start : member.node.end]
    comments = [found for found in _TOKEN.findall(inside) if found[:1] == "/"]
    if not comments:
        return text
    bare = _TOKEN.sub(lambda found: "" if found.group()[:1] == "/" else found.group(), inside)
    indent = _line_indent(text, member.start)
    before = "".join(f"{comment.rstrip()}\n{indent}" for comment in comments)
    return text[: member.start] + before + bare + text[member.node.end :]


def _doomed(
    root: Node, keys: Keys, mine: Mine, *, grouped: bool, there: int
) -> tuple[Node, int] | None:
    """Return the next member to cut: an entry, or the emptied container that held it."""
    here, way = root, list[tuple[Node, int]]()
    for key in keys:
        at = next((i for i, m in enumerate(here.members) if m.key == key), None)
        if at is None:
            break
        way.append((here, at))
        here = here.members[at].node
    else:
        for at, member in enumerate(here.members):
            if mine(member.node.value):
                return here, at
            inner = inner_of(member.node.value, mine) if grouped else []
            hooks = _member(member.node, INNER) if inner else None
            if hooks is not None:
                return hooks.node, inner[0]
    return way[-1] if len(way) > there and not here.members else None


def _append(text: str, root: Node, here: Node, rest: list[str], entry: Entry) -> str:
    value = _wrap(entry, tuple(rest[1:])) if rest else entry
    unit = _unit(text, root)
    key = f"{json.dumps(rest[0], ensure_ascii=False)}: " if rest else ""
    close = here.end - 1
    if not here.members:
        outer = _line_indent(text, here.start)
        inner = text[here.start + 1 : close].rstrip()
        drawn = f"\n{outer}{unit}{key}{_draw(value, outer + unit, unit)}\n{outer}"
        return text[: here.start + 1] + inner + drawn + text[close:]
    last = here.members[-1]
    tail = text[last.node.end : close]
    comma = _comma(text, last.node.end)
    if "\n" not in text[here.start : close]:
        kept = tail if comma is None else text[comma + 1 : close]
        spot = f", {key}{json.dumps(value, ensure_ascii=False)}"
        return text[: last.node.end] + spot + kept + text[close:]
    indent = _line_indent(text, last.start)
    body = tail.rstrip()
    if comma is None:
        body = "," + body
    drawn = f"\n{indent}{key}{_draw(value, indent, unit)}{'' if comma is None else ','}"
    return text[: last.node.end] + body + drawn + tail[len(tail.rstrip()) :] + text[close:]


def _cut(text: str, parent: Node, at: int) -> str:
    """Return the text without one member; comments around it stay."""
    member = parent.members[at]
    comma = _comma(text, member.node.end)
    end = member.node.end if comma is None else comma + 1
    if len(parent.members) == 1:
        inner = text[parent.start + 1 : member.start] + text[end : parent.end - 1]
        return text[: parent.start + 1] + (inner if inner.strip() else "") + text[parent.end - 1 :]
    if at == len(parent.members) - 1:
        previous = parent.members[at - 1].node.end
        gap = text[previous : member.start].rstrip()
        if comma is None:
            spot = _comma(text, previous)
            assert spot is not None, "two members have a comma between them"
            gap = text[previous:spot] + text[spot + 1 : member.start]
            gap = gap.rstrip()
        return text[:previous] + gap + text[end:]
    following = parent.members[at + 1].start
    between = text[end:following]
    keep = "" if not between.strip() else between.lstrip(" \t")
    return text[: member.start] + keep + text[following:]


def _value(text: str, at: int, depth: int) -> Node:
    if depth > _DEPTH_MAX:
        raise _wrong(text, at, f"at most {_DEPTH_MAX} levels")
    if text[at : at + 1] in {"{", "["}:
        return _container(text, at, depth)
    match = _STRING.match(text, at) or _SCALAR.match(text, at)
    if match is None:
        raise _wrong(text, at, "a value")
    return Node(at, match.end(), _decoded(text, match))


def _container(text: str, start: int, depth: int) -> Node:
    closing = "}" if text[start] == "{" else "]"
    members: list[Member] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != closing:
        begin, key = at, None
        if closing == "}":
            key, at = _key(text, at)
        node = _value(text, at, depth + 1)
        members.append(Member(begin, node, key))
        at = _skip(text, node.end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != closing:
            raise _wrong(text, at, f"a comma or {closing!r}")
    value: Any = (
        {m.key: m.node.value for m in members}
        if closing == "}"
        else [m.node.value for m in members]
    )
    return Node(start, at + 1, value, members)


def _key(text: str, at: int) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if match is None:
        raise _wrong(text, at, "a key in double quotes")
    colon = _skip(text, match.end())
    if text[colon : colon + 1] != ":":
        raise _wrong(text, colon, "a colon")
    return str(_decoded(text, match)), _skip(text, colon + 1)


def _decoded(text: str, match: re.Match[str]) -> Any:
    try:
        return json.loads(match.group())
    except ValueError:
        raise _wrong(text, match.start(), "a value of JSON") from None


def _skip(text: str, at: int) -> int:
    match = _SKIP.match(text, at)
    return at if match is None else match.end()


def _comma(text: str, at: int) -> int | None:
    spot = _skip(text, at)
    return spot if text[spot : spot + 1] == "," else None


def _member(node: Node, key: str) -> Member | None:
    return next((m for m in node.members if m.key == key), None)


def _wrap(entry: Entry, keys: Keys) -> Any:
    return {keys[0]: _wrap(entry, keys[1:])} if keys else [entry]


def _draw(value: Any, indent: str, unit: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return f"\n{indent}".join(lines)


def _unit(text: str, root: Node) -> str:
    if not root.members or "\n" not in text[root.start : root.members[0].start]:
        return _UNIT
    return _line_indent(text, root.members[0].start) or _UNIT


def _line_indent(text: str, at: int) -> str:
    match = _INDENT.match(text, text.rfind("\n", 0, at) + 1)
    return match.group() if match else ""


def _checked(text: str, wanted: Any) -> str:
    if read(text).value != wanted:
        raise WiringError("the file cannot be edited safely; nothing was changed")
    return text


def _wrong(text: str, at: int, want: str) -> WiringError:
    line = text.count("\n", 0, at) + 1
    return WiringError(f"line {line} is not JSON: want {want}; nothing was changed")
