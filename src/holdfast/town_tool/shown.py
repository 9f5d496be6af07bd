"""Shows answers of tools as text for a model or a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_FACTS: Final = (
    "role", "agent", "attempt", "rig", "bead", "type", "purpose", "branch", "target", "commit",
    "pr_url",
)  # fmt: skip


def shown(tool: str, said: Mapping[str, Any]) -> str:
    """Return an answer in words."""
    if tool == "prime":
        return "\n".join(_prime(said))
    if tool == "heartbeat":
        count = said.get("messages", 0)
        lines = [f"{count} messages wait: holdfast-tool prime shows them"] if count else ["alive"]
        return "\n".join([*lines, *_drain(said)])
    if said.get("changed"):
        one = said.get("id")
        return f"taken: {one}" if one else "taken"
    return f"nothing changed: {said.get('reason') or 'it was so already'}"


def _drain(said: Mapping[str, Any]) -> list[str]:
    if not said.get("drain"):
        return []
    return [f"The town drains ({said['drain']}): commit what you have, and end."]


def _prime(said: Mapping[str, Any]) -> Iterator[str]:
    yield from _drain(said)
    yield f"# {said.get('title') or said.get('bead') or 'Nothing is handed to you'}"
    yield ""
    yield from (f"- {name}: {said[name]}" for name in _FACTS if said.get(name))
    convoy = said.get("convoy")
    if convoy:
        yield f"- convoy: {convoy['id']}, {convoy['closed']} of {convoy['total']} done"
    if said.get("text"):
        yield f"\n## What is asked\n\n{said['text']}"
    if said.get("why") or said.get("changes"):
        yield f"\n## What has to change ({said.get('why') or 'asked'})\n\n{said.get('changes', '')}"
    if said.get("gates"):
        yield "\n## Checks that must pass\n"
        for gate in said["gates"]:
            yield f"- {gate['name']}: {' '.join(gate['command']) or '(its command is not known)'}"
    if said.get("messages"):
        yield "\n## Messages: acknowledge them when you have read them"
        for one in said["messages"]:
            yield f"\n### {one['kind']} {one['id']} {one.get('title', '')}".rstrip()
            whose = f"about {one['about']}" if one.get("about") else ""
            yield f"{whose or 'from ' + (one.get('sender') or 'the town')}\n\n{one.get('body', '')}"
    if said.get("agents"):
        yield "\n## Who else is here\n"
        yield from (f"- {one['id']}: {one['role']} {one['rig']}".rstrip() for one in said["agents"])
