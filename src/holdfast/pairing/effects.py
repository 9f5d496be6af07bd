"""Asks machines who waits, and tells them what was decided.

A machine's controller is asked where it announces that it can; else the agent's own command is
run in the machine, one at a time. Which way was taken never changes what an answer means. When it
is not known whether a decision was carried out, the machine is asked afresh: a request that is
gone was decided. This module looks at no state and changes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from holdfast.actors.definition import EffectCall
from holdfast.kernel.log import Log
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent
from holdfast.pairing import commands
from holdfast.pairing.limits import APPROVE_TIMEOUT_MS, EXEC_TIMEOUT_MS, LIST_TIMEOUT_MS
from holdfast.pairing.outcomes import (
    NOT_FOUND_TEXT,
    Half,
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
    NO_MEANS, "this machine can be asked in no way; restart it to get a newer controller"
)


class MachineTalk:
    """Asks machines and tells them, by whatever way each has."""

    def __init__(
        self, places: Places, controllers: Controllers, clouds: Mapping[str, Cloud], *, log: Log
    ) -> None:
        """Find machines by `places`; run commands by `clouds`, by provider."""
        self._places = places
        self._controllers = controllers
        self._clouds = clouds
        self._log = log
        self._commands: dict[str, asyncio.Lock] = {}

    # -- lists

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        """Return what waits in one machine; a failure of either half fails it all."""
        try:
            can = await self._controllers.capabilities(place.instance)
            if can & {wire.CHANNELS.capability, wire.DEVICES.capability}:
                return await self._told(place, can, refresh=refresh)
        except ControllerError as error:
            if error.trouble != "too_old":
                self._log.warning(
                    "pairing.list_failed", instance=place.instance, trouble=error.trouble,
                    status=error.status, code=error.code,
                )  # fmt: skip
                return failure(error)
        return await self._run_lists(place)

    async def _told(self, place: Place, can: frozenset[str], *, refresh: bool) -> Outcome[Listing]:
        asked = []
        if wire.CHANNELS.capability in can:
            asked.append(self._ask_channels(place, refresh=refresh))
        if wire.DEVICES.capability in can:
            asked.append(self._ask_devices(place, refresh=refresh))
        both = join(await asyncio.gather(*asked))
        return Ok(_listing(both, "controller"))

    async def _ask_channels(self, place: Place, *, refresh: bool) -> Half:
        try:
            return of_channels(await self._get(place, wire.CHANNELS, refresh=refresh))
        except ControllerError as error:
            if does_not_pair(error):
                return Half()
            raise

    async def _ask_devices(self, place: Place, *, refresh: bool) -> Half:
        try:
            return of_devices(await self._get(place, wire.DEVICES, refresh=refresh))
        except ControllerError as error:
            if does_not_pair(error):
                return Half()
            raise

    async def _get(
        self, place: Place, endpoint: ControllerEndpoint[None, A], *, refresh: bool
    ) -> A:
        return await self._controllers.call(
            place.instance,
            endpoint,
            query={"refresh": "true"} if refresh else None,
            timeout_ms=LIST_TIMEOUT_MS,
        )

    async def _run_lists(self, place: Place) -> Outcome[Listing]:
        """Return what the agent's own commands list, one after the other."""
        cloud = self._clouds.get(place.provider)
        if cloud is None:
            return REDEPLOY
        dialect = commands.dialect_of(cloud.capabilities.kind)
        if dialect == "image":
            halves = [await self._run_list(cloud, place, "channels", commands.list_all_channels())]
        else:
            channels = await self._enabled(cloud, place)
            if not isinstance(channels, tuple):
                return channels
            halves = [
                await self._run_list(cloud, place, name, commands.list_channel(name))
                for name in channels
            ]
        argv = commands.list_devices(dialect)
        halves.append(await self._run_list(cloud, place, commands.DEVICES, argv))
        for half in halves:
            if isinstance(half, Permanent):
                return half
        told = [half for half in halves if isinstance(half, Half)]
        return Ok(_listing(join(told), "exec"))

    async def _enabled(self, cloud: Cloud, place: Place) -> tuple[str, ...] | Permanent:
        """Return the channels of a machine's configuration."""
        ran = await self._run(cloud, place, commands.read_config())
        if not isinstance(ran, Execution):
            return ran
        found = commands.detect_channels(ran.stdout) if ran.exit_code == 0 else None
        if found is None:
            return Permanent("config_unreadable", "the agent's configuration cannot be read")
        return found

    async def _run_list(
        self, cloud: Cloud, place: Place, source: str, argv: commands.Argv
    ) -> Half | Permanent:
        """Return what one command lists; one that failed or said nonsense is not empty."""
        ran = await self._run(cloud, place, argv)
        if not isinstance(ran, Execution):
            return ran
        if ran.exit_code != 0:
            self._log.warning(
                "pairing.command_failed", instance=place.instance, source=source,
                exit_code=ran.exit_code,
            )  # fmt: skip
            return _unread(source, f"its command ended with {ran.exit_code}")
        half = _parsed(source, ran.stdout)
        if half is None or ran.truncated:
            self._log.warning("pairing.output_unread", instance=place.instance, source=source)
            return _unread(source, "what its command printed cannot be understood")
        return half

    async def _run(self, cloud: Cloud, place: Place, argv: commands.Argv) -> Execution | Permanent:
        """Run one command in a machine, one at a time."""
        lock = self._commands.setdefault(place.machine_id, asyncio.Lock())
        async with lock:
            ran = await cloud.exec(place.machine_id, argv, timeout_ms=EXEC_TIMEOUT_MS)
        if not lock.locked():
            self._commands.pop(place.machine_id, None)
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
        """Tell a machine; when that was done before or it is not known, look for the request.

        A request that still waits right after its answer was lost proves nothing: the order may
        be running. An order that is given again may be refused because the first one was obeyed.
        """
        if again:
            looked = await self._look(place, verb, asked)
            if not isinstance(looked, Ok):
                return doubt(_as_permanent(looked), runs=True)
            if not isinstance(looked.value, StillWaits):
                return looked
        told = await self._tell(place, verb, asked)
        if isinstance(told, Ok):
            return told
        doubtful = told.code.startswith(_DOUBTFUL)
        if not doubtful and not again:
            return told
        first = _as_permanent(told)
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

    async def _tell(self, place: Place, verb: Verb, asked: Asked) -> Outcome[Carried]:
        """Tell a machine by its controller, else by a command."""
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
                    return _told_off(error)
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
        """Run the agent's own command; what no command can do is done here alone."""
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
            return Permanent(NO_MEANS, "this machine approves by code only, and tells none")
        else:
            argv = commands.approve(dialect, asked)
        ran = await self._run(cloud, place, argv)
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
"""Put before the code of a failure after which a decision may have been carried out."""


def _endpoint(verb: Verb, asked: Asked) -> ControllerEndpoint[Any, PairingAnswer]:
    return _ORDERS[verb, asked.kind]


def _told_off(error: ControllerError) -> Permanent:
    """Return a controller's failure, marked when it leaves a doubt."""
    plain = failure(error)
    if not is_doubtful(error):
        return plain
    return Permanent(_DOUBTFUL + plain.code, plain.message)


def _not_run(ran: Failure) -> Permanent:
    """Return why a command did not run to its end, marked when it may have run all the same."""
    if ran.code == UNSUPPORTED:
        return REDEPLOY
    if ran.code in {"conflict", "not_found"}:
        return Permanent(NOT_RUNNING, "the instance is not running")
    certain = isinstance(ran, Permanent)
    code = "command_not_run" if certain else _DOUBTFUL + "command_timeout"
    return Permanent(code, "the agent's command could not be run to its end"[:REASON_MAX])


def _as_permanent(outcome: Failure) -> Permanent:
    return Permanent(outcome.code.removeprefix(_DOUBTFUL), outcome.message)


def _listing(half: Half, via: Any) -> Listing:
    return Listing(
        requests=half.requests,
        via=via,
        complete=half.complete,
        sources=half.sources,
        error=half.error,
    )


def _unread(source: str, why: str) -> Half:
    return Half(complete=False, error=f"{source}: {why}", sources=(Source(name=source, error=why),))


def _parsed(source: str, output: str) -> Half | None:
    """Return what a command printed, or None for what is no list."""
    if source == commands.DEVICES:
        devices = read_list(output, "pending", DeviceRequest)
        if devices is None:
            devices = read_list(output, "requests", DeviceRequest)
        if devices is None:
            return None
        found = [of_device(one, tells_scopes=False) for one in devices]
    else:
        channels = read_list(output, "requests", ChannelRequest, channel=source)
        if channels is None:
            return None
        found = [of_channel(one) for one in channels]
    return Half(
        requests=tuple(one for one in found if one is not None), sources=(Source(name=source),)
    )
