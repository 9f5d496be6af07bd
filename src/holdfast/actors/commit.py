"""The commit of a tick, and restoring an actor from what was committed.

Pure; shared by the live owner, the rehearsal worker and the simulator, so that a loaded state is
the committed one. A digest that differs from the committed one becomes a note and never stops the
actor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from holdfast.actors.definition import At, Definition, broken
from holdfast.actors.kinds import Kind
from holdfast.actors.limits import EFFECTS_PER_TICK, REASON_CHARS_MAX, STATE_INLINE_BYTES_MAX
from holdfast.actors.ports import Commit, EffectRow, LetterRow, Loaded, Logged, ProbeRow
from holdfast.actors.record import Note, TickRecord, encode_record
from holdfast.actors.tick import Folded, NewerEventError, Tick, begin, full_digest
from holdfast.actors.working import Working
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import Address


class Restored(NamedTuple):
    """An actor loaded from the store; `notes` describe what differs from what was written.

    `doubted` is true if the stored state does not have the digest that was written with it.
    `rebuilt` is true if the state was folded from an older state and the log instead.
    """

    folded: Folded[Any]
    notes: tuple[Note, ...] = ()
    doubted: bool = False
    rebuilt: bool = False


def hex_digest(digest: int) -> str:
    """Return a digest as it is stored: 32 hexadecimal digits."""
    return f"{digest:032x}"


def fold_rows(
    definition: Definition[Any, Any, Any, Any], state: Any, rows: Iterable[Logged]
) -> tuple[Any, list[Note]]:
    """Fold logged events onto a state, by the outcomes that they were stamped with.

    Raise NewerEventError when a row was written by newer code. An event that was applied once and
    is not applied now leaves a note.
    """
    notes: list[Note] = []
    decode, version = definition.decode_event, definition.version
    working = Working(definition, state)
    for row in rows:
        if row.outcome != "applied":
            continue
        if row.version > version:
            message = f"event {row.id} is of version {row.version}, this code knows {version}"
            raise NewerEventError(message)
        mark, at = working.mark(), At(row.at_ms, row.tick, row.id)
        declined = working.apply(decode(row.body, row.version), at)
        if declined is not None:
            working.back_to(mark)
            text = f"event {row.id} of seq {row.seq} was applied once and is not now: {declined}"
            notes.append(Note(0, "", text[:REASON_CHARS_MAX]))
    return working.state, notes


def fold_loaded(
    definition: Definition[Any, Any, Any, Any], where: Address, loaded: Loaded | None
) -> Restored:
    """Return the actor as stored; an unknown one begins empty.

    Raise NewerEventError when its state or an event of its log is newer than this code.
    """
    if loaded is None:
        return Restored(begin(definition, where))
    if loaded.state_version > definition.version:
        message = (
            f"{where}: its state is of version {loaded.state_version}, this code knows"
            f" {definition.version}; update this plane"
        )
        raise NewerEventError(message)
    notes: list[Note] = []
    if loaded.state is None:
        state = definition.empty(where.id)
    else:
        state = definition.decode_state(loaded.state, loaded.state_version)
    same = loaded.state_version in {0, definition.version}
    if loaded.since and loaded.state is not None and loaded.state_digest and same:
        notes += _compare(definition, state, loaded.state_digest, loaded.state_seq)
    state, faults = fold_rows(definition, state, loaded.since)
    if loaded.digest and same:
        notes += _compare(definition, state, loaded.digest, loaded.seq)
    doubted = bool(notes)
    notes += faults
    folded = Folded(
        address=where,
        state=state,
        seq=loaded.seq,
        number=loaded.number,
        digest=full_digest(definition, state),
        alarm_ms=loaded.alarm_ms,
    )
    return Restored(folded, tuple(notes), doubted)


def fold_older(
    definition: Definition[Any, Any, Any, Any], where: Address, older: Loaded, why: str
) -> Restored | None:
    """Return an actor made again from an older state and its log; None when that differs too.

    `why` says what is wrong with the state that is stored. Raise what fold_loaded does.
    """
    found = fold_loaded(definition, where, older)
    if found.doubted:
        return None
    text = f"rebuilt from {len(older.since)} events since seq {older.state_seq}: {why}"
    note = Note(0, "", text[:REASON_CHARS_MAX])
    return Restored(found.folded, (note, *found.notes), rebuilt=True)


def _compare(
    definition: Definition[Any, Any, Any, Any], state: Any, written: str, seq: int
) -> list[Note]:
    """Return a note when a state's digest is not the stored one."""
    found = hex_digest(full_digest(definition, state))
    if found == written:
        return []
    return [Note(0, "", f"digest of seq {seq} is {found}, {written} was written")]


def check_all(definition: Definition[Any, Any, Any, Any], state: Any) -> list[Note]:
    """Run every invariant over every entity, in the order of their keys."""
    return check_some(definition, state, definition.entities(state))


def check_some(
    definition: Definition[Any, Any, Any, Any], state: Any, keys: Iterable[str]
) -> list[Note]:
    """Run every invariant over some entities, in the order of their keys."""
    return [
        Note(number, key, _worded(wrong)[:REASON_CHARS_MAX])
        for number, key, wrong in broken(definition, state, sorted(keys))
    ]


def _worded(wrong: str | Exception) -> str:
    return wrong if isinstance(wrong, str) else f"the check raised {brief(wrong)}"


def snapshot_due(size: int, since: int) -> bool:
    """Return whether a state of `size` bytes is written, after `since` bytes of events.

    Small ones are written each time; large ones when events since outweigh half of them.
    """
    return size <= STATE_INLINE_BYTES_MAX or since * 2 > size


def compose(
    kind: Kind,
    tick: Tick[Any],
    *,
    lease_epoch: int,
    code: str,
    letters: tuple[LetterRow, ...],
    state: bytes | None,
    phases_us: tuple[int, ...] = (),
) -> Commit:
    """Return the transaction of a tick."""
    definition, after = kind.definition, tick.after
    digest = hex_digest(after.digest)
    return Commit(
        actor=after.address,
        account=definition.account(after.state),
        expected_seq=tick.before.seq,
        lease_epoch=lease_epoch,
        number=after.number,
        now_ms=tick.now_ms,
        stamps=tick.stamps,
        intents=_intents(kind, tick),
        effects=_effects(tick),
        letters=letters,
        claims=tick.claims,
        releases=tick.releases,
        probes=_probes(kind, tick),
        unprobes=tick.unprobes,
        views=tick.views,
        alarm_ms=tick.deadline_ms,
        alarm_changed=tick.deadline_ms != tick.before.alarm_ms,
        state=state,
        state_version=definition.version,
        digest=digest,
        record=encode_record(describe(kind, tick, code=code, phases_us=phases_us)),
    )


def describe(
    kind: Kind, tick: Tick[Any], *, code: str, phases_us: tuple[int, ...] = ()
) -> TickRecord:
    """Return the record of a tick."""
    return TickRecord(
        actor=str(tick.after.address),
        number=tick.after.number,
        now_ms=tick.now_ms,
        basis=tick.before.seq,
        seq=tick.after.seq,
        digest=hex_digest(tick.after.digest),
        policy=kind.policy_hash,
        code=code,
        state_version=kind.definition.version,
        inputs=tick.inputs,
        decisions=tick.decisions,
        withheld=tick.withheld,
        changed_reasons=tick.changed_reasons,
        notes=tick.notes,
        deadline_ms=tick.deadline_ms,
        phases_us=phases_us,
    )


def _intents(kind: Kind, tick: Tick[Any]) -> tuple[Logged, ...]:
    """Return the log rows of a tick's intents."""
    return tuple(
        Logged(
            id=intent.id,
            seq=intent.seq,
            tick=tick.after.number,
            at_ms=tick.now_ms,
            outcome="applied",
            body=intent.body,
            version=kind.definition.version,
            source="intent",
            cause=intent.cause,
            accepted_ms=tick.now_ms,
        )
        for intent in tick.intents
    )


def _effects(tick: Tick[Any]) -> tuple[EffectRow, ...]:
    """Return the effect rows of a tick."""
    base = tick.after.number * EFFECTS_PER_TICK
    return tuple(
        EffectRow(
            id=call.id,
            actor=tick.after.address,
            lane=call.call.lane,
            ordinal=base + call.ordinal,
            provider=call.call.provider,
            body=call.body,
            epoch=call.call.epoch,
            valid_until_ms=call.call.valid_until_ms,
            created_ms=tick.now_ms,
            cause=call.cause,
            supersedes=call.supersedes,
        )
        for call in tick.calls
    )


def _probes(kind: Kind, tick: Tick[Any]) -> tuple[ProbeRow, ...]:
    """Return the rows of the probes that are new or changed."""
    return tuple(
        ProbeRow(
            actor=tick.after.address,
            key=probe.key,
            provider=probe.provider,
            body=kind.definition.encode_effect(probe.body),
            period_ms=probe.period_ms,
            epoch=probe.epoch,
        )
        for probe in tick.probes
    )
