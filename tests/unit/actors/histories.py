"""Random histories of lamps, for property tests and for the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from holdfast.actors.commit import compose
from holdfast.actors.kinds import Kind
from holdfast.actors.letters import sort_letters
from holdfast.actors.ports import Commit, Pending
from holdfast.actors.tick import Folded, Tick, begin, tick
from holdfast.kernel.ids import EventId
from tests.support.toys.lamp import (
    LAMP,
    BulbAdded,
    Cursed,
    Event,
    GridSeen,
    LightReported,
    Made,
    NoteReturned,
    NoteWritten,
    Smashed,
    SwitchedOff,
    SwitchedOn,
    encode_event,
)
from tests.unit.actors.rig import lamp

HALL = lamp("hall")
NOW = 1_760_000_000_000
KEYS = st.sampled_from("abcde")

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Made, name=st.sampled_from(["sun", "moon"])),
    st.builds(BulbAdded, key=KEYS),
    st.just(SwitchedOn()),
    st.just(SwitchedOff()),
    st.builds(
        LightReported,
        key=KEYS,
        epoch=st.integers(0, 4),
        code=st.sampled_from(["ok", "timeout", "lost"]),
    ),
    st.builds(NoteWritten, to=st.just("lamp/attic"), text=st.sampled_from(["echo", "hello"])),
    st.builds(NoteReturned, to=st.just("lamp/attic"), text=st.just("hello")),
    st.builds(GridSeen, answer=st.sampled_from(["humming", "silent"])),
    st.just(Cursed()),
)
LIVES = st.lists(EVENTS, min_size=1, max_size=40).map(lambda events: [Made("sun"), *events])
ENDED = LIVES.map(lambda events: [*events, Smashed()])


def row(event: Event, index: int) -> Pending:
    return Pending(
        id=EventId(f"e{index:04}"),
        body=encode_event(event),
        version=LAMP.version,
        source="api",
        accepted_ms=NOW,
    )


def rows(events: Sequence[Event]) -> list[Pending]:
    return [row(event, index) for index, event in enumerate(events)]


def split(pending: Sequence[Pending], sizes: Sequence[int]) -> list[list[Pending]]:
    """Cut events into ticks: each takes one of `sizes`, in turn."""
    parts, at, turn = [], 0, 0
    while at < len(pending):
        size = max(1, sizes[turn % len(sizes)])
        parts.append(list(pending[at : at + size]))
        at, turn = at + size, turn + 1
    return parts


def live(
    kind: Kind, parts: Sequence[Sequence[Pending]], *, step_ms: int = 20_000
) -> list[tuple[Tick[Any], Commit]]:
    """Tick through `parts` as the owner does, and return what would be committed."""
    folded: Folded[Any] = begin(kind.definition, HALL)
    done: list[tuple[Tick[Any], Commit]] = []
    for index, part in enumerate(parts):
        now_ms = NOW + index * step_ms
        result = tick(kind.definition, kind.policy, folded, part, now_ms, folded.number + 1)
        if result.silent:
            continue
        post = sort_letters({"lamp": kind}, result, part)
        changed = result.after.seq != folded.seq
        state = kind.definition.encode_state(result.after.state) if changed else None
        done.append(
            (
                result,
                compose(kind, result, lease_epoch=1, code="test", letters=post.rows, state=state),
            )
        )
        folded = result.after
    return done
