"""Answers of a hostile, broken or confused server, made from a seed, put to one gate.

None of them may open it: `python -m tests.support.gate_fuzz 100000` is the whole campaign, of which
the suite runs a slice.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from holdfast.machine.observer import gate
from holdfast.wire.consent import CLASSES
from tests.support.consent_signer import NODE, Signer, answer, to_json

CASES_IN_SUITE = 3_000
CASES = 100_000
NOW_MS = 1_700_000_000_000
STATUSES = (0, 200, 200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 503)

PLANE, STRANGER = Signer(1), Signer(2)
SEEN = 50
"""The highest number that the fuzzed gate has seen, of a grant that allows nothing."""

OLD = [to_json(PLANE.grant(number, CLASSES)) for number in range(1, SEEN + 1)]
ELSEWHERE = [
    to_json(PLANE.grant(number, CLASSES, node=f"nd_{number:020d}")) for number in range(51, 71)
]
FORGED = [to_json(STRANGER.grant(number, CLASSES)) for number in range(51, 71)]
EXPIRED = [
    to_json(PLANE.grant(number, CLASSES, at_ms=NOW_MS - 9_000, until_ms=NOW_MS - 1 - number))
    for number in range(51, 71)
]
NEWER = [to_json(PLANE.grant(number, CLASSES)) for number in range(51, 71)]
_OPENING = answer(PLANE.grant(SEEN + 1, CLASSES))
JUNK: tuple[Any, ...] = (None, True, 1, -1, 0.5, "", "true", [], {}, [[]], {"payload": "x"})


class Campaign(NamedTuple):
    """How many answers were tried, and how many opened something."""

    tried: int
    opened: int


def _changed(document: dict[str, str], draws: random.Random) -> dict[str, Any]:
    """Return a grant that would open the gate, but for one change."""
    name = draws.choice(("payload", "signature"))
    text = document[name]
    at = draws.randrange(len(text) - 2)
    match draws.randrange(4):
        case 0:
            other = draws.choice([c for c in "AQgw_-09z" if c != text[at]])
            return {**document, name: text[:at] + other + text[at + 1 :]}
        case 1:
            return {**document, name: text[:at]}
        case 2:
            return {**document, name: draws.choice(JUNK)}
        case _:
            left = dict(document)
            del left[name]
            return left


def _grant(draws: random.Random) -> Any:
    match draws.randrange(6):
        case 0:
            return draws.choice(OLD)
        case 1:
            return draws.choice(ELSEWHERE)
        case 2:
            return draws.choice(FORGED)
        case 3:
            return draws.choice(EXPIRED)
        case 4:
            return draws.choice(JUNK)
        case _:
            return _changed(draws.choice(NEWER), draws)


def _body(draws: random.Random) -> bytes:
    said: dict[str, Any] = {
        "ok": draws.choice((True, False, None)),
        "sync_allowed": draws.choice((True, True, False, *JUNK)),
        "reason": draws.choice(("intent_started", "intent_pending", *JUNK)),
        "viewer_active": draws.choice((True, *JUNK)),
        "grant": _grant(draws),
    }
    keys = [to_json(STRANGER.successor(STRANGER.public)), *(draws.choice(JUNK) for _ in range(2))]
    said["keys"] = draws.choice((keys, draws.choice(JUNK)))
    for name in list(said):
        if draws.random() < 0.1:
            del said[name]
    raw = json.dumps(said).encode()
    match draws.randrange(8):
        case 0:
            return raw[: draws.randrange(len(raw))]
        case 1:
            return draws.randbytes(draws.randrange(200))
        case 2:
            return b"<html>" + raw
        case _:
            return raw


def _real(draws: random.Random) -> tuple[int, bytes]:
    """Return a grant that would open, with a status that is no success."""
    status = draws.choice([status for status in STATUSES if not 200 <= status < 300])
    return status, _OPENING


def draw_answer(draws: random.Random) -> tuple[int, bytes]:
    """Return the status and body of an answer that must open nothing; status 0 for none at all."""
    return _real(draws) if draws.random() < 0.05 else (draws.choice(STATUSES), _body(draws))


def closed_gate() -> gate.GateState:
    """Return the state of a gate that has seen a grant of nothing, with the number `SEEN`."""
    state = gate.GateState(node=NODE, keys=(PLANE.public,))
    said = gate.read_answer(200, answer(PLANE.grant(SEEN, [])))
    assert said is not None
    return gate.take(state, said, NOW_MS).state


def fuzz(cases: int, *, seed: int, progress: Callable[[int], None] | None = None) -> Campaign:
    """Put so many answers to a gate; it takes none of them."""
    draws = random.Random(seed)
    state = closed_gate()
    opened = 0
    for case in range(cases):
        status, body = draw_answer(draws)
        found = gate.read_answer(status, body)
        after = state if found is None else gate.take(state, found, NOW_MS).state
        if gate.open_classes(after, gate.standing_grant(after), NOW_MS):
            opened += 1
        if progress is not None and case % 10_000 == 0:
            progress(case)
    return Campaign(cases, opened)


if __name__ == "__main__":
    done = fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else CASES, seed=1)
    print(f"{done.tried} answers, {done.opened} opened something")  # noqa: T201  it is a command
    sys.exit(done.opened > 0)
