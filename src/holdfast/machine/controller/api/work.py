"""Routes of work: attempts of town agents that this machine's agent is handed."""

from __future__ import annotations

from typing import Final

from holdfast.machine.controller.api.binder import Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.wire.controller import work as wire
from holdfast.wire.controller.doctor import OkAnswer


async def _part(context: Context, call: Call[wire.WorkPart]) -> OkAnswer:
    await context.work.take(call.body)
    return OkAnswer(ok=True)


async def _start(context: Context, call: Call[wire.WorkOrder]) -> wire.WorkState:
    return await context.work.start(call.body)


async def _stop(context: Context, call: Call[wire.WorkStop]) -> OkAnswer:
    await context.work.stop(call.body)
    return OkAnswer(ok=True)


async def _poke(context: Context, call: Call[wire.WorkPoke]) -> OkAnswer:
    await context.work.poke(call.body)
    return OkAnswer(ok=True)


async def _state(context: Context, call: Call[wire.WorkId]) -> wire.WorkState:
    return context.work.state(call.body.town, call.body.attempt)


async def _output(context: Context, call: Call[wire.WorkId]) -> wire.WorkOutput:
    return wire.WorkOutput(data=context.work.output(call.body.town, call.body.attempt))


async def _bundle(context: Context, call: Call[wire.WorkId]) -> wire.WorkResult:
    return await context.work.bundle(call.body.town, call.body.attempt)


async def _piece(context: Context, call: Call[wire.WorkFetch]) -> wire.WorkPiece:
    body = call.body
    return wire.WorkPiece(data=await context.work.piece(body.town, body.attempt, body.offset))


async def _drop(context: Context, call: Call[wire.WorkId]) -> OkAnswer:
    await context.work.drop(call.body.town, call.body.attempt)
    return OkAnswer(ok=True)


WORK: Final = (
    bind(wire.WORK_PART, _part),
    bind(wire.WORK_START, _start),
    bind(wire.WORK_STOP, _stop),
    bind(wire.WORK_POKE, _poke),
    bind(wire.WORK_STATE, _state),
    bind(wire.WORK_OUTPUT, _output),
    bind(wire.WORK_BUNDLE, _bundle),
    bind(wire.WORK_PIECE, _piece),
    bind(wire.WORK_DROP, _drop),
)
