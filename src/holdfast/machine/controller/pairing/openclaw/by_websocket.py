"""The agent's own interface as a source of requests and a way to decide them.

It lists all of a channel request but the code, so such a request is decided by its id. Approving a
device requires the scopes that the device gets; so each such approval has a connection of its own,
with exactly these scopes.

The agent answers an approval only after the message to the person was sent, and OpenClaw leaves a
second between two messages to one person, of which the first brought the code. So its list is
polled meanwhile: a request that is gone from it, while its approval was not refused, is approved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdfast.kernel.failure import brief
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.decider import Refused
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.openclaw.connection import PAIRING, Link
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows, device_rows
from holdfast.machine.controller.pairing.openclaw.websocket import Gateway, GatewayError
from holdfast.machine.controller.pairing.ports import Parts
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Row
from holdfast.wire.controller import pairing as wire
from holdfast.wire.controller.pairing import Kind

_LISTS: Final[Mapping[Kind, tuple[str, str]]] = {
    "channels": ("channels.pairing.list", "requests"),
    "devices": ("device.pair.list", "pending"),
}
_ADMIN: Final = "operator.admin"
_GONE: Final = ("no longer exists", "unknown requestid", "denied")
"""How it reports that there is no such request; an unpaired client gets "denied"."""

_LOOKS: Final = 2


class SocketSource:
    """Lists requests over the standing connection."""

    def __init__(self, link: Link) -> None:
        self.name, self.debounce_ms = "rpc", limits.DEBOUNCE_MS
        self._link = link

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        """Return what the agent lists; see `Source`."""
        found = await self._query(kind)
        if isinstance(found, Failure):
            return dict.fromkeys(names, found)
        if kind == "devices":
            return {DEVICES: device_rows(found)}
        return {
            name: channel_rows(name, [_as_stored(row) for row in _of(found, name)], coded=False)
            for name in names
        }

    async def _query(self, kind: Kind) -> Sequence[object] | Failure:
        gateway = self._link.gateway
        if gateway is None:
            return Failure("agent_not_ready", "The agent cannot be asked yet")
        method, field = _LISTS[kind]
        if gateway.methods and method not in gateway.methods:
            message = "The agent does not offer its list"
            return Failure("rpc_unknown", message, strange=True, detail=method)
        try:
            answer = await gateway.request(method, {})
        except GatewayError as error:
            message = "The agent refused to list who waits"
            return Failure("rpc_refused", message, strange=True, detail=str(error))
        except (OSError, TimeoutError) as error:
            return Failure("rpc_failed", "The agent did not answer", detail=brief(error))
        entries = answer.get(field)
        if not isinstance(entries, list):
            message = "The agent's list has a form that is not known"
            return Failure("rpc_unknown", message, strange=True, detail=field)
        return entries


class WebSocketBackend:
    """Decides over the agent's socket."""

    def __init__(self, link: Link, log: Log) -> None:
        """Use `link`, or connections that it opens."""
        self._link = link
        self._log = log
        self._telling: set[asyncio.Task[Refused | None]] = set()

    async def decide(self, order: Order, row: Row | None) -> Refused | None:
        """Execute the decision; see `Backend`."""
        standing = self._link.gateway
        if standing is None:
            return Refused(wire.AGENT_NOT_RUNNING, "The agent cannot be asked yet", unable=True)
        if order.kind == "channels":
            return await self._channel(standing, order, row)
        return await self._device(standing, order, row)

    async def _channel(self, gateway: Gateway, order: Order, row: Row | None) -> Refused | None:
        verb = "approve" if order.ruling == "approved" else "dismiss"
        method = f"channels.pairing.{verb}"
        if row is None or (gateway.methods and method not in gateway.methods):
            message = "The agent cannot be asked for this"
            return Refused(wire.PAIRING_FAILED, message, unable=True)
        params = {
            "channel": row.channel, "accountId": row.entry["accountId"], "requestId": row.key,
        }  # fmt: skip
        if order.ruling == "dismissed":
            return await _query(gateway, method, params)
        return await self._approve(gateway, method, params)

    async def _approve(
        self, gateway: Gateway, method: str, params: Mapping[str, Any]
    ) -> Refused | None:
        """Approve, and return once that is in effect; the message to the person may follow."""
        answer = asyncio.create_task(_query(gateway, method, {**params, "notify": True}))
        gone = asyncio.create_task(_wait_gone(gateway, params))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            answer.cancel()
            raise
        finally:
            gone.cancel()
        if answer.done():
            return answer.result()
        self._telling.add(answer)
        answer.add_done_callback(self._log_message_failure)
        return None

    def _log_message_failure(self, answer: asyncio.Task[Refused | None]) -> None:
        """Log why the person may not have received the message about the approval."""
        self._telling.discard(answer)
        refused = None if answer.cancelled() else answer.result()
        if refused is not None:
            self._log.emit("pairing.notice_failed", code=refused.code, detail=refused.detail)

    async def _device(self, standing: Gateway, order: Order, row: Row | None) -> Refused | None:
        params = {"requestId": order.request_id if row is None else row.key}
        if order.ruling == "dismissed":
            return await _query(standing, "device.pair.reject", params)
        if row is None:
            message = "What the device would be allowed is not known"
            return Refused(wire.PAIRING_FAILED, message, unable=True)
        try:
            gateway = await self._link.connect(needed_scopes(row))
        except (OSError, TimeoutError, GatewayError) as error:
            message = "The agent cannot be asked"
            return Refused(wire.PAIRING_FAILED, message, detail=brief(error), unable=True)
        try:
            return await _query(gateway, "device.pair.approve", params)
        finally:
            await gateway.close()


async def _wait_gone(gateway: Gateway, params: Mapping[str, Any]) -> None:
    """Return when the request is off the agent's list.

    It must be absent twice in a row: an approval that came too late is refused between the two.
    """
    method, field = _LISTS["channels"]
    looks = 0
    while looks < _LOOKS:
        await asyncio.sleep(limits.EFFECT_LOOK_S)
        try:
            answer = await gateway.request(method, {"channel": params["channel"]})
        except (GatewayError, OSError, TimeoutError):
            answer = {}
        entries = answer.get(field)
        is_gone = isinstance(entries, list) and all(
            isinstance(entry, Mapping) and entry.get("requestId") != params["requestId"]
            for entry in entries
        )
        looks = looks + 1 if is_gone else 0


async def _query(gateway: Gateway, method: str, params: Mapping[str, Any]) -> Refused | None:
    try:
        await gateway.request(method, params)
    except GatewayError as error:
        return _explain(error)
    except TimeoutError:
        message = "The agent did not answer in time; it may have been done all the same"
        return Refused(wire.PAIRING_TIMEOUT, message, detail=method)
    except OSError as error:
        message = "The connection to the agent ended; it may have been done all the same"
        return Refused(wire.PAIRING_TIMEOUT, message, detail=f"{method}: {brief(error)}")
    return None


def needed_scopes(row: Row) -> tuple[str, ...]:
    """Return the scopes required to approve this device: those it gets, and pairing itself."""
    requested = {str(scope) for scope in row.entry.get("scopes", ())}
    roles = {row.entry.get("role", ""), *row.entry.get("roles", ())} - {"", "operator"}
    return tuple(sorted(requested | {"operator.read", PAIRING} | ({_ADMIN} if roles else set())))


def _explain(error: GatewayError) -> Refused:
    reason = error.reason.lower()
    if any(words in reason for words in _GONE):
        message = "There is no such request; it may have expired"
        return Refused(wire.PAIRING_NOT_FOUND, message, detail=str(error))
    message = "The agent refused to do it"
    if error.is_about_rights:
        message = "The agent refused to grant what was asked for"
    return Refused(wire.PAIRING_FAILED, message, detail=str(error), unable=True)


def _of(entries: Sequence[object], channel: str) -> list[Mapping[str, Any]]:
    return [
        entry for entry in entries if isinstance(entry, Mapping) and entry.get("channel") == channel
    ]


def _as_stored(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a listed request in the form of the agent's stores."""
    return {
        "requestId": entry.get("requestId"),
        "id": entry.get("senderId"),
        "accountId": entry.get("accountId"),
        "createdAt": entry.get("createdAt"),
        "lastSeenAt": entry.get("lastSeenAt"),
        "meta": entry.get("metadata"),
    }
