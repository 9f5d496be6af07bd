"""The routes about the agent's life: how it does, start, stop, restart, and its recovery.

A stop or restart may name in `drain_ms` how long running work is waited for (0: not at all), and
tells in `workCut` whether any was cut; null is that the agent cannot tell.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.supervisor import Stats
from holdfast.machine.controller.api.binder import Ask, Told, bind
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.limits import SETTLED_LOAD
from holdfast.machine.controller.process.sampler import load_average
from holdfast.machine.controller.supervise import Goodbye, State
from holdfast.wire import parsers
from holdfast.wire.controller import agent as wire
from holdfast.wire.controller.agent import (
    ClimbTold,
    ConfigState,
    GatewayStatus,
    HoldOrder,
    LadderAnswer,
    LastEnd,
    LastExit,
    OrderedAnswer,
)
from holdfast.wire.times import time_text

_ANY: Final = msgspec.json.Decoder()


async def _status(context: Context, _ask: Ask[None]) -> GatewayStatus:
    return describe(context.supervisor.stats())


async def _start(context: Context, _ask: Ask[None]) -> OrderedAnswer:
    if context.supervisor.start():
        return OrderedAnswer(ok=True)
    raise RefusedError(409, "gateway_busy", "Gateway already running or starting")


async def _stop(context: Context, ask: Ask[None]) -> OrderedAnswer:
    before = context.supervisor.state.goodbye
    await context.supervisor.stop(drain_ms=_drain_ms(ask))
    return OrderedAnswer(ok=True, work_cut=_cut(context, before))


async def _restart(context: Context, ask: Ask[None]) -> OrderedAnswer:
    before = context.supervisor.state.goodbye
    if await context.supervisor.restart(drain_ms=_drain_ms(ask)):
        return OrderedAnswer(ok=True, work_cut=_cut(context, before))
    raise RefusedError(409, "shutting_down", "Controller is shutting down")


async def _ready(context: Context, _ask: Ask[None]) -> Told[dict[str, Any]]:
    load = load_average()
    settled = not context.shared_cpu or load[0] < SETTLED_LOAD
    machine = {"loadAverage": list(load), "settled": settled}
    if context.supervisor.state.status != "running":
        body = {"ready": False, "error": "Gateway not running", "code": "gateway_not_running"}
        return Told({**body, **machine}, 503)
    try:
        status, content = await context.agent.ask_status()
    except (OSError, TimeoutError):
        body = {"ready": False, "error": "Gateway unreachable", "code": "gateway_unreachable"}
        return Told({**body, **machine}, 502)
    return Told({**_decode(content), **machine}, status if status == 200 else 503)  # noqa: PLR2004


async def _hold(context: Context, ask: Ask[HoldOrder]) -> LadderAnswer:
    reason = ask.body.reason or "somebody stopped the recovery"
    context.supervisor.feed(supervise.HoldLadder(reason))
    return describe_ladder(context.supervisor.state, ok=True)


async def _retry(context: Context, _ask: Ask[None]) -> LadderAnswer:
    context.supervisor.feed(supervise.RetryLadder())
    return describe_ladder(context.supervisor.state, ok=True)


async def _ladder(context: Context, _ask: Ask[None]) -> LadderAnswer:
    return describe_ladder(context.supervisor.state)


GATEWAY: Final = (
    bind(wire.GATEWAY_STATUS, _status),
    bind(wire.GATEWAY_START, _start),
    bind(wire.GATEWAY_STOP, _stop),
    bind(wire.GATEWAY_RESTART, _restart),
    bind(wire.GATEWAY_READY, _ready),
    bind(wire.LADDER, _ladder),
    bind(wire.LADDER_STOP, _hold),
    bind(wire.LADDER_RETRY, _retry),
)


def describe(stats: Stats) -> GatewayStatus:
    """Return the supervisor's figures in the words of compat/controller.md, and ours beside."""
    state = stats.state
    return GatewayStatus(
        state=state.status,
        pid=stats.pid,
        uptime=stats.uptime_s,
        restarts=state.restarts,
        last_exit=_last_exit(state),
        ready=state.ready,
        draining=state.draining,
        repairing=state.repair,
        crashes=state.crashes,
        clean_exits=state.clean_exits,
        misconfigurations=state.misconfigurations,
        stuck=state.stuck,
        slow_starts=state.slow,
        work_cuts=state.cuts,
        parked=state.parked or None,
        blocked=state.blocked or None,
        rung=state.ladder.rung,
        last_end=None if state.goodbye is None else _goodbye(state.goodbye),
        config=_config(state),
    )


def describe_ladder(state: State, *, ok: bool | UnsetType = UNSET) -> LadderAnswer:
    """Return how far the recovery has come, and why; `ok` answers an order."""
    ladder = state.ladder
    return LadderAnswer(
        ok=ok,
        rung=ladder.rung,
        reason=ladder.reason,
        failures=state.failures,
        held=ladder.held,
        repairing=state.repair,
        parked=state.parked or None,
        blocked=state.blocked or None,
        history=tuple(
            ClimbTold(
                rung=climb.rung,
                reason=climb.reason,
                at=time_text(climb.at_ms),
                done=climb.done,
                detail=climb.detail,
            )
            for climb in ladder.history
        ),
    )


def _last_exit(state: State) -> LastExit | None:
    last = state.last_exit
    if last is None:
        return None
    return LastExit(
        code=last.code,
        signal=last.signal,
        at=time_text(last.at_ms),
        requested=last.requested,
        cause=last.cause or None,
    )


def _goodbye(said: Goodbye) -> LastEnd:
    return LastEnd(
        reason=said.reason, work_cut=said.cut, took_ms=said.waited_ms, at=time_text(said.at_ms)
    )


def _config(state: State) -> ConfigState:
    """Return what is known of the configuration that was changed last."""
    if state.trial is not None:
        return ConfigState(state="trial", etag=state.trial.etag)
    if state.verdict is None:
        return ConfigState()
    word = "healthy" if state.verdict.healthy else "rolled_back"
    return ConfigState(state=word, etag=state.verdict.etag, reason=state.verdict.reason)


def _cut(context: Context, before: Goodbye | None) -> bool | None:
    said = context.supervisor.state.goodbye
    return said.cut if said is not None and said is not before else False


def _drain_ms(ask: Ask[None]) -> int | None:
    return ask.number("drain_ms")


def _decode(content: bytes) -> dict[str, Any]:
    try:
        found = parsers.from_json(_ANY, content)
    except msgspec.DecodeError:
        return {"raw": content.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {"raw": found}
