"""What rehearsals read of an actor in a store: its state, log, records and policies."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from dataclasses import replace as replace_fields
from typing import Any

import msgspec

from holdfast.actors.kinds import Kind, Kinds, hash_policy
from holdfast.actors.limits import REPLAY_PAGE
from holdfast.actors.ports import Loaded, Logged, Pending, Reader
from holdfast.actors.record import TickRecord, decode_record
from holdfast.actors.rehearse import PolicyOf
from holdfast.kernel.ids import Address, derive, parse_address


class UnknownActorError(LookupError):
    """There is no such actor, or no such tick of it."""


def override(kind: Kind, fields: dict[str, Any]) -> Kind:
    """Return the kind under another policy; raise ValueError when a field does not fit."""
    if not fields:
        return kind
    contents = msgspec.json.decode(kind.policy_body)
    unknown = sorted(fields.keys() - contents.keys())
    if unknown:
        raise ValueError(f"policy: {unknown} are no fields of it; it has {sorted(contents)}")
    body = msgspec.json.encode({**contents, **fields})
    try:
        policy = kind.definition.decode_policy(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"policy: {error}") from error
    return replace_fields(kind, policy=policy, policy_body=body, policy_hash=hash_policy(body))


def kind_of(kinds: Kinds, actor: str) -> tuple[Address, Kind]:
    """Return an actor's address and kind; raise UnknownActorError for a kind that is not here."""
    where = parse_address(actor)
    kind = kinds.get(where.kind)
    if kind is None:
        raise UnknownActorError(f"{actor}: kind {where.kind!r} is not known here")
    return where, kind


async def load(reader: Reader, where: Address) -> Loaded:
    """Return an actor as stored; raise UnknownActorError."""
    loaded = await reader.load(where)
    if loaded is None:
        raise UnknownActorError(f"{where}: nothing is known of it")
    return loaded


def at_snapshot(loaded: Loaded) -> Loaded:
    """Return an actor at its stored state, without the log since."""
    return Loaded(
        state=loaded.state,
        state_version=loaded.state_version,
        state_seq=loaded.state_seq,
        state_tick=loaded.state_tick,
        seq=loaded.state_seq,
        number=loaded.state_tick,
        digest=loaded.state_digest,
        alarm_ms=None,
    )


def event_id(text: str) -> Any:
    """Return a text as the id of an event."""
    return text


async def last_record(reader: Reader, where: Address, number: int) -> TickRecord | None:
    """Return the record of a tick by its number, or the first that is kept after it."""
    rows = await reader.ticks(where, after=number - 1, limit=1)
    return decode_record(rows[0]) if rows else None


def invent(kind: Kind, where: Address, index: int, body: bytes, now_ms: int) -> Pending:
    """Return a hypothetical event as pending; raise ValueError when it is not the kind's."""
    version = kind.definition.version
    try:
        event = kind.definition.decode_event(body, version)
    except msgspec.MsgspecError as error:
        raise ValueError(f"events[{index}]: {error}") from error
    return Pending(
        id=event_id(derive(str(where), "invented", index)),
        body=kind.definition.encode_event(event),
        version=version,
        source="api",
        accepted_ms=now_ms,
    )


def policies_of(reader: Reader, kind: Kind) -> PolicyOf:
    """Return a function from a hash to its stored policy; it raises for an unknown one."""

    async def policy_of(policy_hash: str) -> Any:
        body = await reader.policy(policy_hash)
        if body is None:
            raise UnknownActorError(f"policy {policy_hash} was not kept")
        return kind.definition.decode_policy(body)

    return policy_of


async def records_of(
    reader: Reader, where: Address, after: int, to_seq: int | None
) -> AsyncIterator[TickRecord]:
    """Yield tick records in order, a page at a time, up to a basis of `to_seq`."""
    while page := await reader.ticks(where, after=after, limit=REPLAY_PAGE):
        for body in page:
            record = decode_record(body)
            if to_seq is not None and record.basis >= to_seq:
                return
            after = record.number
            yield record


async def rows_of(reader: Reader, where: Address, after: int) -> AsyncIterator[Logged]:
    """Yield stamped events in order, a page at a time."""
    while page := await reader.log(where, after=after, limit=REPLAY_PAGE):
        for row in page:
            yield row
        after = page[-1].seq


def find(path: str) -> Any:
    """Return the object at `module:name`; raise ValueError when there is none."""
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"path {path!r}: want the form module:name")
    return getattr(importlib.import_module(module), name)
