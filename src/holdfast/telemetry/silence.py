"""Detects silence of any number of machines with one list entry per machine.

A timer wheel: each watched machine is in the slot of the time at which it would next have been
silent for a whole level. A check-in only stores its time; when the slot is due, the machine is put
into the slot that follows from its last check-in. So a check-in changes no list.

Time is listening time: it grows with the steady clock, but a pause of the plane itself (stopped,
starved, suspended) counts for at most two seconds. A step of the time of day cannot be seen, and
nothing is silent until one full level after start-up. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.telemetry.limits import WHEEL_GAP_MAX_MS, WHEEL_STEP_MS


class Silent(NamedTuple):
    """A machine has now been silent for this level, counted from 1."""

    key: str
    level: int


@dataclass(slots=True)
class Watch:
    """One watched machine: its last check-in, in listening time, and its level now.

    `levels_ms` are durations of silence, growing. `slot` is where it lies, -1 for nowhere.
    """

    key: str
    levels_ms: tuple[int, ...]
    heard_ms: float
    level: int = 0
    slot: int = -1


class Wheel:
    """All watched machines of one kind."""

    def __init__(self, steady_ms: float, *, step_ms: int = WHEEL_STEP_MS) -> None:
        """Begin to listen at `steady_ms`; `step_ms` is how finely silence is measured."""
        self._step_ms = step_ms
        self._steady_ms = steady_ms
        self._listened_ms = 0.0
        self._slot = 0
        self._slots: dict[int, list[Watch]] = {}
        self._watched: dict[str, Watch] = {}

    def __len__(self) -> int:
        """Return how many machines are watched."""
        return len(self._watched)

    def watch(self, key: str, levels_ms: tuple[int, ...], *, level: int = 0) -> Watch:
        """Watch a machine as if it had checked in now; `level` is the one accepted before."""
        watch = self._watched.get(key)
        if watch is None:
            watch = Watch(key, levels_ms, self._listened_ms, level)
            self._watched[key] = watch
            self._place(watch)
        return watch

    def hear(self, watch: Watch, levels_ms: tuple[int, ...]) -> int:
        """Record a check-in; return the level of silence that it ends, 0 for none."""
        ended = watch.level
        watch.heard_ms = self._listened_ms
        watch.level = 0
        if levels_ms != watch.levels_ms or ended:
            watch.levels_ms = levels_ms
            self._place(watch)
        return ended

    def forget(self, key: str) -> None:
        """Watch a machine no longer; one that is not watched is no error."""
        watch = self._watched.pop(key, None)
        if watch is not None:
            watch.slot = -1

    def advance(self, steady_ms: float) -> Iterator[Silent]:
        """Let time pass up to `steady_ms` and yield who has become silent, and how much."""
        gap = max(0.0, steady_ms - self._steady_ms)
        self._steady_ms = max(steady_ms, self._steady_ms)
        self._listened_ms += min(gap, WHEEL_GAP_MAX_MS)
        last = int(self._listened_ms // self._step_ms)
        while self._slot <= last:
            for watch in self._slots.pop(self._slot, ()):
                if watch.slot == self._slot:
                    yield from self._fire(watch)
            self._slot += 1

    def _fire(self, watch: Watch) -> Iterator[Silent]:
        silence = self._listened_ms - watch.heard_ms
        while watch.level < len(watch.levels_ms) and silence >= watch.levels_ms[watch.level]:
            watch.level += 1
            yield Silent(watch.key, watch.level)
        self._place(watch)

    def _place(self, watch: Watch) -> None:
        """Put it where its next level would be reached; one with no further level waits nowhere."""
        if watch.level >= len(watch.levels_ms):
            watch.slot = -1
            return
        due = watch.heard_ms + watch.levels_ms[watch.level]
        slot = max(int(due // self._step_ms) + 1, self._slot + 1)
        if slot != watch.slot:
            watch.slot = slot
            self._slots.setdefault(slot, []).append(watch)
