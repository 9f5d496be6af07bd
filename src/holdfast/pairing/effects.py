"""Calls to machines about pairing: lists of requests, and decisions.

A machine's controller is called where it announces the capability; else the agent's own command is
run in the machine, one at a time and decisions first. The meaning of an answer is the same either
way. When it is unknown whether a decision was carried out, the list is read afresh: a request that
is gone was decided. This module reads and changes no state of an actor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from holdfast.actors.definition import EffectCall
from holdfast.kernel.log import Log
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent
from holdfast.pairing import commands
from holdfast.pairing.limits import APPROVE_TIMEOUT_MS, EXEC_TIMEOUT_MS, LIST_TIMEOUT_MS
from holdfast.pairing.outcomes import (
    NOT_FOUND_TEXT,
    does_not_pair,
    doubt,
    failure,
    is_doubtful,
    join,
    of_channels,
    of_devices,
    was_decided,
)
from holdfast.pairing.ports import (
    NO_MEANS,
    NOT_RUNNING,
    Carried,
    DecideCall,
    Listing,
    LookCall,
    Place,
    Places,
    Source,
    StillWaits,
)
from holdfast.pairing.requests import Asked, find, of_channel, of_device, read_list
from holdfast.pairing.state import Verb
from holdfast.pairing.turns import Turns
from holdfast.wire.controller import pairing as wire
from holdfast.wire.controller.calls import ControllerError, Controllers
from holdfast.wire.controller.endpoint import A, ControllerEndpoint
from holdfast.wire.controller.pairing import (
    PAIRING_NOT_FOUND,
    ChannelOrder,
    ChannelRequest,
    DeviceOrder,
    DeviceRequest,
    PairingAnswer,
)
from holdfast.wire.limits import REASON_MAX
from holdfast.world.clouds.port import UNSUPPORTED, Cloud, Execution

_ORDERS: Final[Mapping[tuple[Verb, str], ControllerEndpoint[Any, PairingAnswer]]] = {
    ("approve", "channel"): wire.CHANNELS_APPROVE,
    ("approve", "device"): wire.DEVICES_APPROVE,
    ("dismiss", "channel"): wire.CHANNELS_DISMISS,
    ("dismiss", "device"): wire.DEVICES_DISMISS,
}
_WORDS: Final = {
    ("approve", "channel"): "Pairing approved",
    ("approve", "device"): "Device pairing approved",
    ("dismiss", "channel"): "Pairing dismissed",
    ("dismiss", "device"): "Device pairing dismissed",
}
REDEPLOY: Final = Permanent(
    NO_MEANS, "this machine supports neither way; restart it to get a newer controller"
)


class MachineClient:
    """Lists requests and sends decisions, through a controller or a command."""

    def __init__(
        self, places: Places, controllers: Controllers, clouds: Mapping[str, Cloud], *, log: Log
    ) -> None:
        """Look machines up in `places`; run commands through `clouds`, by provider."""
        self._places = places
        self._controllers = controllers
        self._clouds = clouds
        self._log = log
        self._turns = Turns()

    # -- lists

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        """Return the requests waiting in one machine; fail if either of the two lists fails."""
        try:
            can = await self._controllers.capabilities(place.instance)
            if can & {wire.CHANNELS.capability, wire.DEVICES.capability}:
                return Ok(await self._call_lists(place, can, refresh=refresh))
        except ControllerError as error:
            if error.trouble != "too_old":
                self._log.warning(
                    "pairing.list_failed", instance=place.instance, trouble=error.trouble,
                    status=error.status, code=error.code,
                )  # fmt: skip
                return failure(error)
        return await self._run_lists(place)

    async def _call_lists(self, place: Place, can: frozenset[str], *, refresh: bool) -> Listing:
        calls = []
        if wire.CHANNELS.capability in can:
            calls.append(self._call_list(place, wire.CHANNELS, of_channels, refresh=refresh))
        if wire.DEVICES.capability in can:
            calls.append(self._call_list(place, wire.DEVICES, of_devices, refresh=refresh))
        return join(await asyncio.gather(*calls))

    async def _call_list(
        self,
        place: Place,
        endpoint: ControllerEndpoint[None, A],
        read: Callable[[A], Listing],
        *,
        refresh: bool,
    ) -> Listing:
        query = {"refresh": "true"} if refresh else None
        try:
            answer = await self._controllers.call(
                place.instance, endpoint, query=query, timeout_ms=LIST_TIMEOUT_MS
            )
        except ControllerError as error:
            if does_not_pair(error):
                return Listing(via="controller")
            raise
        return read(answer)

    async def _run_lists(self, place: Place) -> Outcome[Listing]:
        """Return the lists of the agent's own commands, run one after the other."""
        cloud = self._clouds.get(place.provider)
        if cloud is None:
            return REDEPLOY
        dialect = commands.dialect_of(cloud.capabilities.kind)
        if dialect == "image":
            lists = [await self._run_list(cloud, place, "channels", commands.list_all_channels())]
        else:
            channels = await self._enabled(cloud, place)
            if not isinstance(channels, tuple):
                return channels
            lists = [
                await self._run_list(cloud, place, name, commands.list_channel(name))
                for name in channels
            ]
        argv = commands.list_devices(dialect)
        lists.append(await self._run_list(cloud, place, commands.DEVICES, argv))
        for one in lists:
            if isinstance(one, Permanent):
                return one
        return Ok(join(one for one in lists if isinstance(one, Listing)))

    async def _enabled(self, cloud: Cloud, place: Place) -> tuple[str, ...] | Permanent:
        """Return the enabled channels of a machine's configuration."""
        ran = await self._run(cloud, place, commands.read_config())
        if not isinstance(ran, Execution):
            return ran
        found = commands.detect_channels(ran.stdout) if ran.exit_code == 0 else None
        if found is None:
            return Permanent("config_unreadable", "the agent's configuration cannot be read")
        return found

    async def _run_list(
        self, cloud: Cloud, place: Place, source: str, argv: commands.Argv
    ) -> Listing | Permanent:
        """Return the list of one command; an incomplete one when it failed or printed no list."""
        ran = await self._run(cloud, place, argv)
        if not isinstance(ran, Execution):
            return ran
        if ran.exit_code != 0:
            self._log.warning(
                "pairing.command_failed", instance=place.instance, source=source,
                exit_code=ran.exit_code,
            )  # fmt: skip
            return _unread(source, f"its command ended with {ran.exit_code}")
        found = _parsed(source, ran.stdout)
        if found is None or ran.truncated:
            self._log.warning("pairing.output_unread", instance=place.instance, source=source)
            return _unread(source, "what its command printed cannot be understood")
        return found

    async def _run(
        self, cloud: Cloud, place: Place, argv: commands.Argv, *, decides: bool = False
    ) -> Execution | Permanent:
        """Run one command in a machine, one at a time, a decision's before those of lists."""
        async with self._turns.turn(place, decides=decides):
            ran = await cloud.exec(place.machine_id, argv, timeout_ms=EXEC_TIMEOUT_MS)
        if isinstance(ran, Ok):
            return ran.value
        return _not_run(ran)

    # -- decisions

    async def execute(self, call: EffectCall) -> Outcome[Any]:
        """Carry one effect of a pairing out."""
        place = self._places.of(call.actor.id)
        if place is None or not place.running:
            stopped = Permanent(NOT_RUNNING, "the instance is not running")
            return stopped if call.attempt <= 1 else doubt(stopped, runs=True)
        match call.body:
            case DecideCall(verb=verb, asked=asked):
                return await self._decide(place, verb, asked, again=call.attempt > 1)
            case LookCall(verb=verb, asked=asked):
                return await self._look(place, verb, asked)
            case _:
                message = f"{type(call.body).__name__} is not a call about pairing"
                raise TypeError(message)

    async def _decide(self, place: Place, verb: Verb, asked: Asked, *, again: bool) -> Outcome[Any]:
        """Send a decision; if it was sent before, or the result is unknown, look for the request.

        A request that still waits right after an answer was lost proves nothing: the order may be
        running. A repeated order may be refused because the first one was carried out.
        """
        if again:
            looked = await self._look(place, verb, asked)
            if not isinstance(looked, Ok):
                return doubt(_as_permanent(looked), runs=True)
            if not isinstance(looked.value, StillWaits):
                return looked
        sent = await self._send(place, verb, asked)
        if isinstance(sent, Ok):
            return sent
        doubtful = sent.code.startswith(_DOUBTFUL)
        if not doubtful and not again:
            return sent
        first = _as_permanent(sent)
        self._log.warning("pairing.outcome_unknown", instance=place.instance, code=first.code)
        if doubtful or was_decided(first.code):
            looked = await self._look(place, verb, asked)
            if isinstance(looked, Ok) and not isinstance(looked.value, StillWaits):
                return looked
        return doubt(first, runs=True if again else None)

    async def _look(self, place: Place, verb: Verb, asked: Asked) -> Outcome[Any]:
        """Return whether the request still waits, or that it is gone and so was decided."""
        listed = await self.listing(place, refresh=True)
        if not isinstance(listed, Ok):
            return _as_permanent(listed)
        if find(listed.value.requests, asked) is not None:
            return Ok(StillWaits())
        if not listed.value.complete:
            return Permanent("list_incomplete", listed.value.error or "the list is not complete")
        text = f"{_WORDS[verb, asked.kind]} (the answer was lost; the request is gone)"
        return Ok(Carried(text, "controller" if listed.value.via == "controller" else "exec"))

    async def _send(self, place: Place, verb: Verb, asked: Asked) -> Outcome[Carried]:
        """Send a decision through the controller, else by a command."""
        needed = _endpoint(verb, asked).capability
        try:
            can = await self._controllers.capabilities(place.instance)
        except ControllerError as error:
            if error.trouble != "too_old":
                return failure(error)
            can = frozenset()
        if needed in can:
            try:
                return await self._order(place, verb, asked)
            except ControllerError as error:
                if error.trouble != "too_old":
                    return _order_failed(error)
        return await self._command(place, verb, asked)

    async def _order(self, place: Place, verb: Verb, asked: Asked) -> Outcome[Carried]:
        body: ChannelOrder | DeviceOrder
        if asked.kind == "channel":
            body = ChannelOrder(
                channel=asked.channel,
                code=asked.code,
                request_id=asked.machine_id,
                fingerprint=asked.fingerprint,
            )
        else:
            body = DeviceOrder(request_id=asked.machine_id, fingerprint=asked.fingerprint)
        answer = await self._controllers.call(
            place.instance, _endpoint(verb, asked), body=body, timeout_ms=APPROVE_TIMEOUT_MS
        )
        if answer.success:
            return Ok(Carried(answer.message or _WORDS[verb, asked.kind], "controller"))
        return Permanent(answer.code or "controller_refused", answer.message)

    async def _command(self, place: Place, verb: Verb, asked: Asked) -> Outcome[Carried]:
        """Run the agent's own command; without one for it, dismiss on the plane alone."""
        cloud = self._clouds.get(place.provider)
        if cloud is None:
            return REDEPLOY
        dialect = commands.dialect_of(cloud.capabilities.kind)
        argv: commands.Argv | None
        if verb == "dismiss":
            argv = commands.dismiss(dialect, asked)
            if argv is None:
                text = "its machine cannot dismiss: it is put aside here until it expires"
                return Ok(Carried(text, "plane"))
        elif asked.kind == "channel" and not asked.code:
            return Permanent(NO_MEANS, "this machine approves by code only; this one has none")
        else:
            argv = commands.approve(dialect, asked)
        ran = await self._run(cloud, place, argv, decides=True)
        if not isinstance(ran, Execution):
            return ran
        if ran.exit_code == 0:
            return Ok(Carried(_WORDS[verb, asked.kind], "exec"))
        self._log.warning(
            "pairing.command_failed", instance=place.instance, source=verb, exit_code=ran.exit_code
        )
        if NOT_FOUND_TEXT in ran.stderr.lower():
            return Permanent(PAIRING_NOT_FOUND, "there is no such request (any more)")
        return Permanent("pairing_failed", "Approval failed" if verb == "approve" else "It failed")


_DOUBTFUL: Final = "doubtful:"
"""Prefix of the code of a failure after which a decision may have been carried out."""


def _endpoint(verb: Verb, asked: Asked) -> ControllerEndpoint[Any, PairingAnswer]:
    return _ORDERS[verb, asked.kind]


def _order_failed(error: ControllerError) -> Permanent:
    """Return a controller's failure, marked if the order may have been carried out."""
    plain = failure(error)
    if not is_doubtful(error):
        return plain
    return Permanent(_DOUBTFUL + plain.code, plain.message)


def _not_run(ran: Failure) -> Permanent:
    """Return why a command did not complete, marked if it may have run all the same."""
    if ran.code == UNSUPPORTED:
        return REDEPLOY
    if ran.code in {"conflict", "not_found"}:
        return Permanent(NOT_RUNNING, "the instance is not running")
    certain = isinstance(ran, Permanent)
    code = "command_not_run" if certain else _DOUBTFUL + "command_timeout"
    return Permanent(code, "the agent's command could not be run to its end"[:REASON_MAX])


def _as_permanent(outcome: Failure) -> Permanent:
    return Permanent(outcome.code.removeprefix(_DOUBTFUL), outcome.message)


def _unread(source: str, why: str) -> Listing:
    return Listing(
        via="exec",
        complete=False,
        error=f"{source}: {why}",
        sources=(Source(name=source, error=why),),
    )


def _parsed(source: str, output: str) -> Listing | None:
    """Return the list that a command printed, or None if it printed none."""
    if source == commands.DEVICES:
        devices = read_list(output, "pending", DeviceRequest)
        if devices is None:
            devices = read_list(output, "requests", DeviceRequest)
        if devices is None:
            return None
        found = [of_device(one, has_scopes=False) for one in devices]
    else:
        channels = read_list(output, "requests", ChannelRequest, channel=source)
        if channels is None:
            return None
        found = [of_channel(one) for one in channels]
    return Listing(
        via="exec",
        requests=tuple(one for one in found if one is not None),
        sources=(Source(name=source),),
    )
