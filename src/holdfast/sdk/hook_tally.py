"""What the hooks of agents recorded in a brain's folder, and what they could not: `hooks.json`.

An agent hides what its hook prints, so a hook that records nothing is seen nowhere else. The file
is written in place under a lock; one that is torn or damaged begins anew. It holds no text of an
edit.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = "hooks.json"
_BYTES_MAX: Final = 65_536
_PROBLEM_CHARS: Final = 300
_TRIES: Final = 25
_TRY_S: Final = 0.02


class Outcome(NamedTuple):
    """One call of a hook: how many edits were recorded, and how many were not and why.

    `understood` is False for an edit in a form that is not known, which counts as none.
    """

    recorded: int = 0
    dropped: int = 0
    problem: str = ""
    understood: bool = True


class Tally(NamedTuple):
    """All calls of one agent's hook. Times are milliseconds since the epoch, 0 for never.

    `problem` is the last one, and `problem_ms` when it was.
    """

    calls: int = 0
    recorded: int = 0
    dropped: int = 0
    not_understood: int = 0
    last_ms: int = 0
    recorded_ms: int = 0
    problem: str = ""
    problem_ms: int = 0

    def after(self, outcome: Outcome, now_ms: int) -> Tally:
        """Return the tally with one more call."""
        failed = bool(outcome.problem)
        return Tally(
            calls=self.calls + 1,
            recorded=self.recorded + outcome.recorded,
            dropped=self.dropped + outcome.dropped,
            not_understood=self.not_understood + (not outcome.understood),
            last_ms=now_ms,
            recorded_ms=now_ms if outcome.recorded else self.recorded_ms,
            problem=outcome.problem[:_PROBLEM_CHARS] if failed else self.problem,
            problem_ms=now_ms if failed else self.problem_ms,
        )

    @property
    def troubled(self) -> bool:
        """Return whether the last edit could not be recorded."""
        return self.problem_ms > 0 and self.problem_ms >= self.recorded_ms


def note(folder: Path, agent: str, outcome: Outcome, *, now_ms: int) -> None:
    """Add one call to an agent's tally, where there is a folder; raise OSError."""
    if not folder.is_dir():
        return
    handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle)
        tallies = _parsed(os.pread(handle, _BYTES_MAX, 0))
        tallies[agent] = tallies.get(agent, Tally()).after(outcome, now_ms)
        kept = {name: tally._asdict() for name, tally in tallies.items()}
        text = json.dumps(kept, ensure_ascii=True).encode() + b"\n"
        os.pwrite(handle, text, 0)
        os.ftruncate(handle, len(text))
    finally:
        os.close(handle)


def read(folder: Path) -> dict[str, Tally]:
    """Return the tallies of a folder by agent, none if there is no readable file."""
    try:
        with (folder / FILE).open("rb") as file:
            return _parsed(file.read(_BYTES_MAX))
    except OSError:
        return {}


def _lock(handle: int) -> None:
    """Lock the file, waiting for half a second at most: an agent waits for the hook."""
    pause = threading.Event()
    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(_TRY_S)
        else:
            return
    raise BlockingIOError(f"{FILE}: another process holds it")


def _parsed(raw: bytes) -> dict[str, Tally]:
    try:
        stored = json.loads(raw or b"{}")
        return {str(name): _tally(value) for name, value in stored.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _tally(value: dict[str, Any]) -> Tally:
    empty = Tally()._asdict()
    figures: dict[str, Any] = {name: value.get(name, none) for name, none in empty.items()}
    wrong = [name for name, none in empty.items() if type(figures[name]) is not type(none)]
    if wrong:
        raise ValueError(wrong[0])
    return Tally(**figures)
