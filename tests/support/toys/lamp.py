"""A toy actor with every feature of the engine: a lamp whose bulbs are lit by a grid.

It has entities (bulbs), a claim (its name), effects in lanes (one a bulb), a probe (the grid),
letters (notes between lamps), refusals, an event that raises, a deadline, and a tombstone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.actors.definition import (
    SELF,
    Applied,
    At,
    Claim,
    Definition,
    Effect,
    EffectCall,
    Ignored,
    Invariant,
    Letter,
    Plan,
    Probe,
    ProbeAnswer,
    Refused,
    Suppressed,
    Verdict,
    ViewRow,
    Work,
)
from holdfast.kernel.ids import Address, parse_address
from holdfast.kernel.outcome import Ok, Outcome


class Policy(Struct, frozen=True):
    patience_ms: int = 60_000
    valid_ms: int = 300_000
    period_ms: int = 86_400_000
    lit_max: int = 100
    raises: bool = False
    late: bool = False
    faithless: bool = False


class Bulb(Struct, frozen=True, gc=False):
    status: Literal["dark", "lighting", "lit", "broken"] = "dark"
    epoch: int = 0
    since_ms: int = 0
    code: str = ""


class Lamp(Struct, frozen=True):
    id: str
    made: bool = False
    gone: bool = False
    name: str = ""
    lost: tuple[str, ...] = ()
    on: bool = False
    bulbs: dict[str, Bulb] = {}
    outbox: tuple[tuple[str, str, int], ...] = ()
    heard: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    grid: str = ""


class Event(Struct, frozen=True, gc=False, tag_field="type", omit_defaults=True):
    pass


class Made(Event, frozen=True, gc=False, tag="made"):
    name: str


class BulbAdded(Event, frozen=True, gc=False, tag="bulb_added"):
    key: str


class SwitchedOn(Event, frozen=True, gc=False, tag="switched_on"):
    pass


class SwitchedOff(Event, frozen=True, gc=False, tag="switched_off"):
    pass


class LightingBegan(Event, frozen=True, gc=False, tag="lighting_began"):
    key: str


class LightReported(Event, frozen=True, gc=False, tag="light_reported"):
    key: str
    epoch: int
    code: str


class NameLost(Event, frozen=True, gc=False, tag="name_lost"):
    key: str


class NoteWritten(Event, frozen=True, gc=False, tag="note_written"):
    to: str
    text: str
    hops: int = 0


class NotePosted(Event, frozen=True, gc=False, tag="note_posted"):
    count: int


class NoteReceived(Event, frozen=True, gc=False, tag="note_received"):
    sender: str
    to: str
    text: str
    hops: int


class NoteReturned(Event, frozen=True, gc=False, tag="note_returned"):
    to: str
    text: str


class GridSeen(Event, frozen=True, gc=False, tag="grid_seen"):
    answer: str


class Cursed(Event, frozen=True, gc=False, tag="cursed"):
    pass


class Smashed(Event, frozen=True, gc=False, tag="smashed"):
    pass


Events = (
    Made
    | BulbAdded
    | SwitchedOn
    | SwitchedOff
    | LightingBegan
    | LightReported
    | NameLost
    | NoteWritten
    | NotePosted
    | NoteReceived
    | NoteReturned
    | GridSeen
    | Cursed
    | Smashed
)


class Note(Struct, frozen=True, tag="note"):
    text: str


class Light(Struct, frozen=True, tag="light"):
    key: str


class LookAtGrid(Struct, frozen=True, tag="look_at_grid"):
    pass


class Action(Struct, frozen=True):
    rule: str
    reason: str
    expect: Any
    entity: str


class LightBulb(Action, frozen=True):
    pass


class PostNotes(Action, frozen=True):
    pass


def apply(state: Lamp, event: Any, at: At) -> Verdict[Lamp]:
    if isinstance(event, Made):
        if state.made:
            return Refused("exists", "it is made already")
        name = "" if event.name in state.lost else event.name
        return Applied(replace(state, made=True, name=name))
    if isinstance(event, NameLost):
        return Applied(replace(state, lost=(*state.lost, event.key), name=""))
    if state.gone:
        return Refused("gone", "it is smashed; make another")
    if not state.made:
        return Refused("nobody", "make it first")
    return change(state, event, at)


def change(state: Lamp, event: Any, at: At) -> Verdict[Lamp]:
    match event:
        case BulbAdded(key=key):
            if key in state.bulbs:
                return Ignored("it has that bulb")
            return Applied(replace(state, bulbs={**state.bulbs, key: Bulb()}), (key,))
        case SwitchedOn():
            if state.on:
                return Ignored("it is on")
            return Applied(replace(state, on=True), (*sorted(state.bulbs), SELF))
        case SwitchedOff():
            bulbs = {k: Bulb(epoch=b.epoch + 1) for k, b in state.bulbs.items()}
            return Applied(replace(state, on=False, bulbs=bulbs), (*sorted(bulbs), SELF))
        case LightingBegan(key=key):
            old = state.bulbs[key]
            bulb = Bulb("lighting", old.epoch + 1, at.now_ms)
            return Applied(replace(state, bulbs={**state.bulbs, key: bulb}), (key,))
        case LightReported(key=key, epoch=epoch, code=code):
            old = state.bulbs[key]
            if old.epoch != epoch:
                return Ignored("of an older incarnation")
            status: Any = {"ok": "lit", "timeout": "dark"}.get(code, "broken")
            bulb = replace(old, status=status, code=code, since_ms=at.now_ms)
            return Applied(replace(state, bulbs={**state.bulbs, key: bulb}), (key,))
        case Cursed():
            raise RuntimeError("the curse works")
        case _:
            return change_notes(state, event)


def change_notes(state: Lamp, event: Any) -> Verdict[Lamp]:
    match event:
        case NoteWritten(to=to, text=text, hops=hops):
            return Applied(replace(state, outbox=(*state.outbox, (to, text, hops))))
        case NotePosted(count=count):
            return Applied(replace(state, outbox=state.outbox[count:]))
        case NoteReceived(sender=sender, text=text, hops=hops):
            heard = (*state.heard, f"{sender}:{text}:{hops}")
            state = replace(state, heard=heard)
            if text == "echo":
                state = replace(state, outbox=(*state.outbox, (sender, text, hops + 1)))
            return Applied(state)
        case NoteReturned(to=to, text=text):
            return Applied(replace(state, returned=(*state.returned, f"{to}:{text}")))
        case GridSeen(answer=answer):
            return Applied(replace(state, grid=answer))
        case Smashed():
            return Applied(Lamp(id=state.id, made=True, gone=True), (*sorted(state.bulbs), SELF))
        case _:
            raise TypeError(f"no event of a lamp: {event!r}")


def reconcile(state: Lamp, policy: Policy, now_ms: int, _number: int) -> Plan[Any]:
    if policy.raises:
        raise RuntimeError("the rules raise")
    actions: list[Any] = []
    suppressed: list[Suppressed] = []
    if state.outbox:
        count = len(state.outbox)
        actions.append(PostNotes("post", f"{count} notes wait", count, SELF))
    lit = sum(bulb.status in {"lit", "lighting"} for bulb in state.bulbs.values())
    for key in sorted(state.bulbs):
        bulb = state.bulbs[key]
        if bulb.status == "lit":
            continue
        if not state.on:
            suppressed.append(Suppressed("light", "the lamp is off", key))
        elif bulb.status == "broken":
            suppressed.append(Suppressed("light", "the bulb is broken", key))
        elif bulb.status == "lighting" and now_ms < bulb.since_ms + policy.patience_ms:
            suppressed.append(Suppressed("light", "the grid is at it", key))
        elif lit >= policy.lit_max:
            suppressed.append(Suppressed("light", "enough is lit", key))
        else:
            lit += bulb.status == "dark"
            expect = -1 if policy.faithless else bulb.epoch
            actions.append(LightBulb("light", f"{key} should shine", expect, key))
    return Plan(tuple(actions), tuple(suppressed))


def found(state: Lamp, action: Any) -> Any:
    if isinstance(action, PostNotes):
        return len(state.outbox)
    return state.bulbs[action.entity].epoch


def act(state: Lamp, action: Any, policy: Policy, at: At) -> Work:
    if isinstance(action, PostNotes):
        letters = tuple(
            Letter(to=parse_address(to), body=Note(text), hops=hops)
            for to, text, hops in state.outbox
        )
        return Work(intents=(NotePosted(len(letters)),), letters=letters)
    key = action.entity
    effect = Effect(
        lane=f"bulb/{key}",
        provider="grid",
        body=Light(key),
        epoch=state.bulbs[key].epoch + 1,
        valid_until_ms=at.now_ms + policy.valid_ms,
        supersedes=True,
    )
    return Work(intents=(LightingBegan(key),), effects=(effect,))


def deadline(state: Lamp, policy: Policy, now_ms: int) -> int | None:
    if policy.late:
        return now_ms - 1_000
    waits = [
        bulb.since_ms + policy.patience_ms
        for bulb in state.bulbs.values()
        if bulb.status == "lighting" and state.on
    ]
    return min(waits, default=None)


def views(_before: Lamp | None, after: Lamp, _touched: Iterable[str]) -> Iterable[ViewRow]:
    body = msgspec.json.encode(
        {"name": after.name, "on": after.on, "bulbs": sorted(after.bulbs), "heard": after.heard}
    )
    yield ViewRow("lamps", after.id, "acme", None if after.gone else body)


def entity(state: Lamp, key: str) -> bytes | None:
    if key != SELF:
        bulb = state.bulbs.get(key)
        return None if bulb is None else msgspec.msgpack.encode(bulb)
    head = replace(state, bulbs={})
    return msgspec.msgpack.encode(head) if state.made or state.lost else None


def settle(call: EffectCall, outcome: Outcome[Any]) -> Any:
    key = call.lane.removeprefix("bulb/")
    code = "ok" if isinstance(outcome, Ok) else outcome.code
    return LightReported(key, call.epoch, code)


def probed(answer: ProbeAnswer) -> Any:
    outcome = answer.outcome
    return GridSeen(str(outcome.value) if isinstance(outcome, Ok) else outcome.code)


def probes(state: Lamp, policy: Policy) -> tuple[Probe, ...]:
    if not state.made or state.gone:
        return ()
    return (
        Probe(key="grid", provider="grid", body=LookAtGrid(), period_ms=policy.period_ms, epoch=1),
    )


def wanted(state: Lamp, call: EffectCall, _now_ms: int) -> bool:
    bulb = state.bulbs.get(call.lane.removeprefix("bulb/"))
    return bulb is not None and bulb.epoch == call.epoch


def received(sender: Address, letter: Letter) -> Any:
    assert isinstance(letter.body, Note)
    return NoteReceived(str(sender), str(letter.to), letter.body.text, letter.hops)


def carried(event: Any) -> Letter | None:
    if not isinstance(event, NoteReceived):
        return None
    return Letter(to=parse_address(event.to), body=Note(event.text), hops=event.hops)


def returned(letter: Letter) -> Any:
    assert isinstance(letter.body, Note)
    return NoteReturned(str(letter.to), letter.body.text)


def lit_is_on(state: Lamp, key: str) -> str | None:
    if key != SELF and (bulb := state.bulbs.get(key)) and bulb.status == "lit" and not state.on:
        return f"bulb {key} shines though the lamp is off"
    return None


def too_many(state: Lamp, key: str) -> str | None:
    return "more than 50 bulbs" if key == SELF and len(state.bulbs) > 50 else None


_STATE = msgspec.msgpack.Decoder(Lamp)
_EVENT = msgspec.json.Decoder(Events)
_EFFECT = msgspec.json.Decoder(Light | LookAtGrid)
_POLICY = msgspec.json.Decoder(Policy)

encode_event = msgspec.json.Encoder().encode

LAMP: Definition[Lamp, Any, Any, Policy] = Definition(
    kind="lamp",
    version=2,
    empty=lambda actor_id: Lamp(id=actor_id),
    encode_state=msgspec.msgpack.Encoder().encode,
    decode_state=lambda body, _version: _STATE.decode(body),
    encode_event=encode_event,
    decode_event=lambda body, _version: _EVENT.decode(body),
    apply=apply,
    reconcile=reconcile,
    found=found,
    act=act,
    deadline=deadline,
    exists=lambda state: state.made and not state.gone,
    account=lambda _state: "acme",
    views=views,
    entity=entity,
    entities=lambda state: (SELF, *sorted(state.bulbs)),
    claims=lambda state: frozenset([Claim("lamp", state.name)] if state.name else []),
    probes=probes,
    invariants=(
        Invariant(1, "what shines belongs to a lamp that is on", lit_is_on),
        Invariant(2, "a lamp has at most 50 bulbs", too_many),
    ),
    encode_effect=msgspec.json.Encoder().encode,
    decode_effect=_EFFECT.decode,
    wanted=wanted,
    settle=settle,
    probed=probed,
    claim_lost=lambda claim: NameLost(claim.key),
    received=received,
    carried=carried,
    returned=returned,
    encode_policy=msgspec.json.Encoder().encode,
    decode_policy=_POLICY.decode,
)
