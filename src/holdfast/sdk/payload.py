"""Parses the edits in an agent's hook payload: text before, text after, and session.

Formats differ by agent. A tool's name is under one of three keys, its arguments under one of four,
and an edit is a pair of strings, a list of such pairs, a patch, or a whole file with what it
replaced. All are parsed without regard to the agent; what is not an edit, or changes nothing, is no
correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

_NAMES: Final = ("tool_name", "tool", "toolName")
_ARGUMENTS: Final = ("tool_input", "input", "args", "params")
_RESULTS: Final = ("tool_response", "tool_output", "output", "result")
_SESSIONS: Final = ("session_id", "conversation_id", "sessionID", "sessionKey", "sessionId")
_PAIRS: Final = (
    ("old_string", "new_string"),
    ("oldString", "newString"),
    ("old_str", "new_str"),
    ("oldText", "newText"),
)
_OLD_FILES: Final = ("originalFile", "old_content", "original_content", "oldContent")
_PATCHES: Final = ("patch", "patchText", "command", "input")
_PATHS: Final = ("file_path", "filePath", "path")
_EDITORS: Final = frozenset(
    {"edit", "multiedit", "write", "replace", "write_file", "patch", "apply_patch"}
)
"""Tools that edit, as agents call them; those that hooks are installed for."""
_EVENTS: Final = ("hook_event_name",)
_EDITED: Final = ("afterFileEdit",)
"""Events that are edits by themselves, without a tool's name."""
_BEGIN: Final = "*** Begin Patch"
EDITS_MAX: Final = 50
"""Maximum edits of one tool call; agents make far fewer."""


class Edit(NamedTuple):
    """One passage before and after, and its file if known."""

    draft: str
    final: str
    path: str = ""


class Report(NamedTuple):
    """The content of one hook call.

    `beyond` is how many edits there were beyond the most; `unknown` are the names of the arguments
    of a tool that edits, where they have no known form.
    """

    edits: tuple[Edit, ...]
    session: str | None
    tool: str
    beyond: int = 0
    unknown: tuple[str, ...] = ()


def read(payload: Mapping[str, Any]) -> Report:
    """Return the edits of a hook's payload, none if it is about something else."""
    session = _text(payload, _SESSIONS)
    name = _text(payload, _NAMES)
    arguments = _first_map(payload, _ARGUMENTS) or payload
    path = _text(arguments, _PATHS) or _text(payload, _PATHS)
    edits = [edit for edit in _edits(arguments, payload, path) if _is_change(edit)]
    edited = name.casefold() in _EDITORS or _text(payload, _EVENTS) in _EDITED
    return Report(
        edits=tuple(edits[:EDITS_MAX]),
        session=session or None,
        tool=name,
        beyond=len(edits[EDITS_MAX:]),
        unknown=() if not edited or _is_known(arguments) else tuple(map(str, arguments)) or ("-",),
    )


def _is_known(arguments: Mapping[str, Any]) -> bool:
    """Return whether the arguments have one of the forms of an edit."""
    several = arguments.get("edits")
    if isinstance(several, list):
        return not several or any(isinstance(one, Mapping) and _pair(one) for one in several)
    patches = (arguments.get(key) for key in _PATCHES)
    patched = any(_BEGIN in str(patch) for patch in patches if isinstance(patch, str | list))
    return patched or _pair(arguments) is not None or isinstance(arguments.get("content"), str)


def _edits(arguments: Mapping[str, Any], payload: Mapping[str, Any], path: str) -> Iterator[Edit]:
    several = arguments.get("edits")
    if isinstance(several, list):
        for one in several:
            if isinstance(one, Mapping) and (pair := _pair(one)):
                yield Edit(*pair, path)
        return
    if pair := _pair(arguments):
        yield Edit(*pair, path)
        return
    for key in _PATCHES:
        patch = arguments.get(key)
        if isinstance(patch, list) and patch and isinstance(patch[-1], str):
            patch = patch[-1]  # ["apply_patch", "*** Begin Patch ..."]
        if isinstance(patch, str) and _BEGIN in patch:
            yield from _patched(patch)
            return
    content = arguments.get("content")
    result = _first_map(payload, _RESULTS) or {}
    before = _text(result, _OLD_FILES)
    if isinstance(content, str) and before:
        yield Edit(before, content, path)


def _patched(patch: str) -> Iterator[Edit]:
    """Yield each hunk of each updated file; files that are added or deleted correct nothing."""
    path, before, after = "", list[str](), list[str]()
    updating = False
    for line in patch.splitlines():
        if line.startswith(("*** ", "@@")):
            yield Edit("\n".join(before), "\n".join(after), path)
            before, after = [], []
            if line.startswith("*** Update File: "):
                path, updating = line.removeprefix("*** Update File: ").strip(), True
            elif line.startswith("*** ") and not line.startswith(("*** Move to", "*** End of")):
                updating = False
        elif updating and line[:1] in {" ", "-", "+", ""}:
            if line[:1] != "+":
                before.append(line[1:])
            if line[:1] != "-":
                after.append(line[1:])
    yield Edit("\n".join(before), "\n".join(after), path)


def _is_change(edit: Edit) -> bool:
    return bool(edit.draft.strip() and edit.final.strip()) and edit.draft != edit.final


def _pair(arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    for old, new in _PAIRS:
        before, after = arguments.get(old), arguments.get(new)
        if isinstance(before, str) and isinstance(after, str):
            return before, after
    return None


def _first_map(holder: Mapping[str, Any], keys: tuple[str, ...]) -> Mapping[str, Any] | None:
    return next((value for key in keys if isinstance(value := holder.get(key), Mapping)), None)


def _text(holder: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((value for key in keys if isinstance(value := holder.get(key), str)), "")
