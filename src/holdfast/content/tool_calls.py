"""Tool calls in the events of a session, and how long each took. Pure.

OpenClaw, Claude Code and Codex write a call and its answer as two events that share an id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from holdfast.content.accept import count_of, text
from holdfast.wire.api.content import CALLS_MAX, ToolCall, Turn
from holdfast.wire.limits import NODE_PATH_MAX
from holdfast.wire.times import parse_time

_CALLS: Final = frozenset({"toolCall", "tool_use", "tool_call", "function_call"})
_ANSWERS: Final = frozenset({"toolResult", "tool_result", "function_call_output"})


def read_calls(inner: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """Return the tool calls that a message makes or answers, in its order."""
    return tuple(islice(_calls(inner), CALLS_MAX))


def _calls(inner: Mapping[str, Any]) -> Iterator[ToolCall]:
    if inner.get("role") == "toolResult" or inner.get("type") in {*_CALLS, *_ANSWERS}:
        yield from _call(inner)
        return
    content = inner.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") in {*_CALLS, *_ANSWERS}:
            yield from _call(part)


def _call(part: Mapping[str, Any]) -> Iterator[ToolCall]:
    """Yield a call or its answer; nothing where it has no id to find the other by."""
    is_answer = part.get("type") in _ANSWERS or part.get("role") == "toolResult"
    own = () if is_answer else ("id",)
    names = ("toolCallId", "tool_use_id", "tool_call_id", "call_id", *own)
    found = next((part[name] for name in names if part.get(name)), "")
    call_id = text(found, NODE_PATH_MAX)
    if not call_id:
        return
    details = part.get("details")
    yield ToolCall(
        id=call_id,
        name=text(part.get("name") or part.get("toolName")),
        is_answer=is_answer,
        took_ms=count_of(details.get("durationMs")) if isinstance(details, dict) else None,
        failed=part.get("isError") is True or part.get("is_error") is True,
    )


def timed(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return events of one session in their order, each call and answer with its time.

    An answer is told the name of its call, which not every agent repeats.
    """
    began: dict[str, tuple[int, str]] = {}
    took: dict[str, tuple[int, bool]] = {}
    answered: list[Turn] = []
    for turn in turns:
        at_ms = parse_time(turn.at) or 0
        calls: list[ToolCall] = []
        for call in turn.calls:
            if not call.is_answer:
                began[call.id] = (at_ms, call.name)
                calls.append(call)
                continue
            start = began.get(call.id)
            took_ms = call.took_ms
            if took_ms is None and start is not None and at_ms >= start[0]:
                took_ms = at_ms - start[0]
            if took_ms is not None:
                took[call.id] = (took_ms, call.failed)
            name = call.name or (start[1] if start is not None else "")
            calls.append(replace(call, took_ms=took_ms, name=name))
        answered.append(replace(turn, calls=tuple(calls)) if calls else turn)
    return tuple(_told(turn, took) for turn in answered)


def _told(turn: Turn, took: Mapping[str, tuple[int, bool]]) -> Turn:
    """Return an event whose calls say how their answers came out."""
    if not turn.calls:
        return turn
    calls = tuple(
        call
        if call.is_answer or call.id not in took
        else replace(call, took_ms=took[call.id][0], failed=took[call.id][1])
        for call in turn.calls
    )
    return replace(turn, calls=calls)
