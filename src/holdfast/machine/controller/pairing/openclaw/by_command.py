"""The agent's command line as a source of requests and a way to decide them: the last resort.

The program prints other text around its output, and an error is a sentence; both are parsed
tolerantly, and none of it leaves this module except for the log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from holdfast.kernel.failure import brief
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.command_line import CommandLine, Ended
from holdfast.machine.controller.pairing.decider import Refused
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows, device_rows
from holdfast.machine.controller.pairing.openclaw.restart_after_approval import Aftermath
from holdfast.machine.controller.pairing.ports import Parts
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Row
from holdfast.wire.controller import pairing as wire
from holdfast.wire.controller.pairing import Kind

_WORDS: Final = ("pairing", "pair request", "device request", "approve", "paired")
_REPLY: Final = "⇄ res"


def is_hint(line: str) -> bool:
    """Return whether the line may mean a new request or a decision."""
    if _REPLY in line:
        return False
    lower = line.lower()
    return any(word in lower for word in _WORDS) or "closed before connect" in lower


_NONE_SUCH: Final = ("no pending pairing request", "no pending device request", "unknown requestid")
"""How the releases report that there is no such request, in lower case."""

_OBJECT: Final = re.compile(r"^\s*\{", re.MULTILINE)
_CANDIDATES_MAX: Final = 64
_GONE: Final = "There is no such request; it may have expired"


class CommandSource:
    """Lists requests by command line."""

    def __init__(self, commands: CommandLine) -> None:
        self.name, self.debounce_ms = "command", limits.DEBOUNCE_COMMAND_MS
        self._commands = commands

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        """Return what the commands list; see `Source`."""
        if kind == "devices":
            return {DEVICES: await self._list("pending", device_rows, "devices", "list", "--json")}
        return {name: await self._channel(name) for name in names}

    async def _channel(self, name: str) -> tuple[Row, ...] | Failure:
        def rows(entries: Sequence[object]) -> tuple[Row, ...]:
            return channel_rows(name, entries)

        return await self._list("requests", rows, "pairing", "list", name, "--json")

    async def _list(
        self, field: str, rows: Callable[[Sequence[object]], tuple[Row, ...]], *arguments: str
    ) -> tuple[Row, ...] | Failure:
        try:
            ended = await self._commands.look(*arguments)
        except TimeoutError:
            return Failure("command_busy", "Another command of the agent's took too long")
        except OSError as error:
            return Failure(
                "command_failed", "The agent's command cannot be run", detail=brief(error)
            )
        if ended.because == "overtaken":
            return Failure("command_busy", "Other commands of the agent's come first")
        if ended.because or ended.code != 0:
            code = f"command_{ended.because or 'failed'}"
            message = {
                "timeout": "The agent's command took too long",
                "memory": "The agent's command took too much memory",
            }.get(ended.because, f"The agent's command ended with {ended.code}")
            return Failure(
                code, message, detail=ended.errors, exit_code=ended.code, took_ms=ended.took_ms
            )
        listed = find_object(ended.output, field)
        entries = [] if listed is None else listed[field]
        if listed is None or not isinstance(entries, list):
            message = "The agent's command printed nothing that is understood"
            return Failure("command_unknown", message, strange=True, took_ms=ended.took_ms)
        return rows(entries)


class CommandBackend:
    """Decides by command line; it can only approve."""

    def __init__(self, commands: CommandLine, aftermath: Aftermath) -> None:
        """Use `commands`, and wait for what follows with `aftermath`."""
        self._commands = commands
        self._aftermath = aftermath

    async def decide(self, order: Order, row: Row | None) -> Refused | None:
        """Approve the request; see `Backend`."""
        arguments: tuple[str, ...]
        if order.kind == "devices":
            arguments = ("devices", "approve", order.request_id if row is None else row.key)
        else:
            code = row.code if row is not None and row.code else order.code
            if not code:
                message = "The agent approves by code, and lists none for this request"
                return Refused(wire.PAIRING_FAILED, message, unable=True)
            arguments = ("pairing", "approve", order.channel, code, "--notify")
        before = self._aftermath.before()
        try:
            ended = await self._commands.run(*arguments)
        except TimeoutError:
            message = "Another command of the agent's took too long; nothing was done"
            return Refused(wire.PAIRING_FAILED, message, unable=True)
        except OSError as error:
            message = "The agent's command cannot be run"
            return Refused(wire.PAIRING_FAILED, message, detail=brief(error), unable=True)
        if ended.code != 0 or ended.because:
            return _explain(ended)
        await self._aftermath.over(before)
        return None


def _explain(ended: Ended) -> Refused:
    detail = f"exit code {ended.code} after {ended.took_ms} ms: {ended.errors}"
    if ended.because == "timeout":
        message = "The agent's command took too long; it may have been done all the same"
        return Refused(wire.PAIRING_TIMEOUT, message, detail=detail)
    if ended.because == "memory" or ended.code < 0:
        message = "The agent's command was ended on the way; it may have been done all the same"
        return Refused(wire.PAIRING_TIMEOUT, message, detail=detail)
    if any(words in ended.errors.lower() for words in _NONE_SUCH):
        return Refused(wire.PAIRING_NOT_FOUND, _GONE, detail=detail)
    message = f"The agent's command ended with {ended.code}"
    return Refused(wire.PAIRING_FAILED, message, detail=detail)


def find_object(text: str, field: str) -> Mapping[str, Any] | None:
    """Return the first JSON object with this field that begins a line; ignore the rest."""
    decoder = json.JSONDecoder()
    for begin in islice(_OBJECT.finditer(text), _CANDIDATES_MAX):
        try:
            found, _ = decoder.raw_decode(text, begin.end() - 1)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, Mapping) and field in found:
            return found
    return None
