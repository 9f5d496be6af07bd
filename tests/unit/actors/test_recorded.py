"""What the engine makes of a log of lamps is what it made of it: ticks, rows, rehearsals."""

from __future__ import annotations

import random

import pytest

from holdfast.actors.kinds import make_kind
from holdfast.actors.rehearse import dry_run, explain
from tests.support.recorded import History, hold
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
    Policy,
    Smashed,
    SwitchedOff,
    SwitchedOn,
)
from tests.unit.actors.histories import NOW, live, rows, split

POLICIES = {
    "plain": Policy(),
    "hasty": Policy(patience_ms=1, valid_ms=2, lit_max=1),
    "raises": Policy(raises=True),
    "late": Policy(late=True, faithless=True),
}
STEP_MS = 20_000


def an_event(chance: random.Random) -> Event:
    key = chance.choice("abc")
    choices: tuple[Event, ...] = (
        Made(chance.choice(("sun", "moon"))),
        BulbAdded(key),
        SwitchedOn(),
        SwitchedOn(),
        SwitchedOff(),
        LightReported(key, chance.randrange(4), chance.choice(("ok", "timeout", "lost"))),
        NoteWritten("lamp/attic", chance.choice(("echo", "hello"))),
        NoteReturned("lamp/attic", "hello"),
        GridSeen(chance.choice(("humming", "silent"))),
        Cursed(),
    )
    return chance.choice(choices)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(5))
def test_a_log_is_ticked_through_as_it_was(seed: int, policy: str) -> None:
    chance, history = random.Random(seed), History()
    kind = make_kind(LAMP, POLICIES[policy])
    events = [Made("sun"), *(an_event(chance) for _ in range(40))]
    pending = rows([*events, Smashed()] if seed % 2 else events)
    sizes = [chance.randrange(1, 6) for _ in range(4)]
    coming = rows([*events, an_event(chance), SwitchedOn(), BulbAdded("z")])[-3:]
    for result, commit in live(kind, split(pending, sizes), step_ms=STEP_MS):
        after = result.after
        history.add((
            LAMP.encode_state(after.state), after.seq, after.number, after.alarm_ms, after.digest,
            result.stamps, result.inputs, result.decisions, result.withheld,
            result.changed_reasons, [(note.number, note.entity) for note in result.notes],
            result.intents, result.calls, result.letters, result.claims, result.releases,
            result.probes, result.unprobes, result.views, result.deadline_ms, result.silent,
            commit.letters,
        ))  # fmt: skip
        ahead = dry_run(kind, after, coming, now_ms=NOW + chance.randrange(10**6))
        history.add((ahead.steps, ahead.change))
        for entity in ("", "a", "b") if not kind.policy.raises else ():
            history.add(explain(kind, after, entity, now_ms=result.now_ms + 1))
    hold("engine", f"{policy} {seed}", history)
