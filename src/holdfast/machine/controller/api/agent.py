"""The routes about the agent's life: how it does, start, stop, restart, and its recovery.

A stop or restart may name in `drain_ms` how long running work is waited for (0: not at all), and
tells in `workCut` whether any was cut; null is that the agent cannot tell.
"""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.supervisor import Stats
from holdfast.machine.controller.api.context import Desk, Route
from holdfast.machine.controller.api.reply import INVALID_BODY, answer, problem, read_object, wrong
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.limits import DRAIN_MS_MAX, REASON_CHARS_MAX, SETTLED_LOAD
from holdfast.machine.controller.process.sampler import load_average
from holdfast.machine.controller.supervise import Goodbye, State
from holdfast.wire.times import time_text


async def _status(desk: Desk, _request: web.Request) -> web.Response:
    return answer(describe(desk.supervisor.stats()))


async def _start(desk: Desk, _request: web.Request) -> web.Response:
    if desk.supervisor.start():
        return answer({"ok": True})
    return problem(409, "Gateway already running or starting", "gateway_busy")


async def _stop(desk: Desk, request: web.Request) -> web.Response:
    before = desk.supervisor.state.goodbye
    await desk.supervisor.stop(drain_ms=_drain_ms(request))
    return answer({"ok": True, **_cut(desk, before)})


async def _restart(desk: Desk, request: web.Request) -> web.Response:
    before = desk.supervisor.state.goodbye
    if await desk.supervisor.restart(drain_ms=_drain_ms(request)):
        return answer({"ok": True, **_cut(desk, before)})
    return problem(409, "Controller is shutting down", "shutting_down")


async def _ready(desk: Desk, _request: web.Request) -> web.Response:
    load = load_average()
    settled = not desk.shared_cpu or load[0] < SETTLED_LOAD
    machine = {"loadAverage": list(load), "settled": settled}
    if desk.supervisor.state.status != "running":
        body = {"ready": False, "error": "Gateway not running", "code": "gateway_not_running"}
        return answer({**body, **machine}, status=503)
    try:
        status, content = await desk.agent.ask_status()
    except (OSError, TimeoutError):
        body = {"ready": False, "error": "Gateway unreachable", "code": "gateway_unreachable"}
        return answer({**body, **machine}, status=502)
    return answer({**_decode(content), **machine}, status=status if status == 200 else 503)  # noqa: PLR2004


async def _hold(desk: Desk, request: web.Request) -> web.Response:
    body = await read_object(request, empty_is="{}")
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > REASON_CHARS_MAX:
        wrong("reason", f"want a text of at most {REASON_CHARS_MAX} characters")
    desk.supervisor.feed(supervise.HoldLadder(reason or "somebody stopped the recovery"))
    return answer({"ok": True, **describe_ladder(desk.supervisor.state)})


async def _retry(desk: Desk, _request: web.Request) -> web.Response:
    desk.supervisor.feed(supervise.RetryLadder())
    return answer({"ok": True, **describe_ladder(desk.supervisor.state)})


async def _ladder(desk: Desk, _request: web.Request) -> web.Response:
    return answer(describe_ladder(desk.supervisor.state))


GATEWAY: Final = (
    Route("GET", "gateway/status", _status, "gateway.lifecycle"),
    Route("POST", "gateway/start", _start, "gateway.lifecycle"),
    Route("POST", "gateway/stop", _stop, "gateway.lifecycle"),
    Route("POST", "gateway/restart", _restart, "gateway.lifecycle"),
    Route("GET", "gateway/ready", _ready, "gateway.ready"),
    Route("GET", "gateway/ladder", _ladder, "gateway.ladder"),
    Route("POST", "gateway/ladder/stop", _hold, "gateway.ladder"),
    Route("POST", "gateway/ladder/retry", _retry, "gateway.ladder"),
)


def describe(stats: Stats) -> dict[str, object]:
    """Return the supervisor's figures in the contract's words, with ours beside them."""
    state = stats.state
    return {
        "state": state.status,
        "pid": stats.pid,
        "uptime": stats.uptime_s,
        "restarts": state.restarts,
        "lastExit": _last_exit(state),
        "ready": state.ready,
        "draining": state.draining,
        "repairing": state.repair,
        "crashes": state.crashes,
        "cleanExits": state.clean_exits,
        "misconfigurations": state.misconfigurations,
        "stuck": state.stuck,
        "slowStarts": state.slow,
        "workCuts": state.cuts,
        "parked": state.parked or None,
        "blocked": state.blocked or None,
        "rung": state.ladder.rung,
        "lastEnd": None if state.goodbye is None else _goodbye(state.goodbye),
        "config": _config(state),
    }


def describe_ladder(state: State) -> dict[str, object]:
    """Return how far the recovery has come, and why."""
    ladder = state.ladder
    return {
        "rung": ladder.rung,
        "reason": ladder.reason,
        "failures": state.failures,
        "held": ladder.held,
        "repairing": state.repair,
        "parked": state.parked or None,
        "blocked": state.blocked or None,
        "history": [
            {
                "rung": climb.rung,
                "reason": climb.reason,
                "at": time_text(climb.at_ms),
                "done": climb.done,
                "detail": climb.detail,
            }
            for climb in ladder.history
        ],
    }


def _last_exit(state: State) -> dict[str, object] | None:
    last = state.last_exit
    if last is None:
        return None
    return {
        "code": last.code,
        "signal": last.signal,
        "at": time_text(last.at_ms),
        "requested": last.requested,
        "cause": last.cause or None,
    }


def _goodbye(said: Goodbye) -> dict[str, object]:
    return {
        "reason": said.reason,
        "workCut": said.cut,
        "tookMs": said.waited_ms,
        "at": time_text(said.at_ms),
    }


def _config(state: State) -> dict[str, object]:
    """Return what is known of the configuration that was changed last."""
    if state.trial is not None:
        return {"state": "trial", "etag": state.trial.etag, "reason": ""}
    if state.verdict is None:
        return {"state": "", "etag": "", "reason": ""}
    word = "healthy" if state.verdict.healthy else "rolled_back"
    return {"state": word, "etag": state.verdict.etag, "reason": state.verdict.reason}


def _cut(desk: Desk, before: Goodbye | None) -> dict[str, object]:
    said = desk.supervisor.state.goodbye
    return {"workCut": said.cut} if said is not None and said is not before else {"workCut": False}


def _drain_ms(request: web.Request) -> int | None:
    given = request.query.get("drain_ms")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()) or int(given) > DRAIN_MS_MAX:
        text = f"drain_ms: want a whole number of milliseconds up to {DRAIN_MS_MAX}"
        raise RefusedError(400, INVALID_BODY, text, field="drain_ms")
    return int(given)


def _decode(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        return {"raw": content.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {"raw": found}
