"""Watches the places where an agent keeps requests, and tells which kind may have changed.

A folder that is not there yet is waited for at its nearest parent. Where the system gives no more
queues of news, the places are looked at every second instead. It must never read what they hold.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.machine.agents.pairing import Env, Pairing, Plan
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import inotify, limits
from holdfast.machine.controller.pairing.inotify import Event, Inotify
from holdfast.wire.pairing import Kind

REPLACED = inotify.MOVED_TO | inotify.CLOSE_WRITE | inotify.DELETE | inotify.MOVED_FROM
"""What happens to a file that is replaced as a whole."""

WRITTEN = inotify.MODIFY | inotify.MOVED_TO | inotify.DELETE
"""What happens to a database; its other files change without it, so attributes do not count."""

_KINDS: tuple[Kind, ...] = ("channels", "devices")
_COMING = inotify.CREATE | inotify.MOVED_TO
_GOING = inotify.DELETE_SELF | inotify.MOVE_SELF
_LOST = inotify.OVERFLOW | inotify.IGNORED | _GOING


@dataclass(frozen=True, slots=True)
class Target:
    """A folder, the endings of the names in it that count, and what is told of which kinds.

    `decisive` says that a change may be the end of what made looks fail.
    """

    folder: str
    endings: tuple[str, ...]
    mask: int
    kinds: tuple[Kind, ...]
    decisive: bool = False


class OnChange(Protocol):
    """Hears that what is known of a kind may have changed."""

    def __call__(self, kind: Kind, *, decisive: bool) -> None:
        """Take note; see `Target`."""
        ...


def targets_of(pairing: Pairing, plan: Plan, *, env: Env, config: str) -> tuple[Target, ...]:
    """Return the places of the store that is read first, and of the configuration.

    Where no store is read, because the release is not known, a change of any is a hint.
    """
    folder, name = os.path.split(config)
    targets = [Target(folder, (name,), REPLACED, ("channels",), decisive=True)]
    any_store = not {"json", "sqlite"} & {*plan.channels, *plan.devices}
    if any_store or "json" in plan.channels:
        targets.append(
            Target(pairing.credentials(env), ("-pairing.json",), REPLACED, ("channels",))
        )
    if any_store or "json" in plan.devices:
        folder, name = os.path.split(pairing.devices(env))
        targets.append(Target(folder, (name,), REPLACED, ("devices",)))
    if pairing.database is not None and (any_store or "sqlite" in plan.channels):
        folder, name = os.path.split(pairing.database(env))
        targets.append(Target(folder, (name, f"{name}-wal"), WRITTEN, ("channels", "devices")))
    return tuple(targets)


class Watcher:
    """Tells `on_change` of each kind whose targets may have changed."""

    def __init__(self, on_change: OnChange, log: Log) -> None:
        """Watch nothing yet."""
        self._on_change = on_change
        self._log = log
        self._queue: Inotify | None = None
        self._polling: asyncio.Task[None] | None = None
        self._targets: tuple[Target, ...] = ()
        self._watches: dict[int, list[Target]] = {}
        self._waits: dict[int, list[Target]] = {}

    def watch(self, targets: Sequence[Target]) -> None:
        """Watch exactly these; what changed in between is told as a change."""
        if tuple(targets) == self._targets:
            return
        self.close()
        self._targets = tuple(targets)
        try:
            self._queue = Inotify()
        except OSError as error:
            self._log.emit("pairing.watch_refused", error=str(error), instead="polling")
            self._polling = asyncio.create_task(self._poll(), name="pairing-poll")
            return
        asyncio.get_running_loop().add_reader(self._queue.descriptor, self._read)
        self._arm()
        self._tell(self._targets)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._queue is not None:
            asyncio.get_running_loop().remove_reader(self._queue.descriptor)
            self._queue.close()
            self._queue = None
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None
        self._targets = ()
        self._watches, self._waits = {}, {}

    def _arm(self) -> None:
        """Watch each target's folder, or wait for it at the nearest parent that is there.

        A watch on a folder that is watched already replaces its mask, so each gets all of them.
        """
        assert self._queue is not None, "only an open queue is armed"
        before = {*self._watches, *self._waits}
        self._watches, self._waits = {}, {}
        for target in self._targets:
            folder = _nearest(target.folder)
            mask = _GOING | _COMING
            for other in self._targets:
                mask |= other.mask if other.folder == folder else 0
            try:
                watch = self._queue.add(folder, mask)
            except OSError:
                continue  # it went in between; the periodic look is the net beneath
            there = folder == target.folder
            (self._watches if there else self._waits).setdefault(watch, []).append(target)
        for watch in before - {*self._watches, *self._waits}:
            self._queue.remove(watch)

    def _read(self) -> None:
        if self._queue is None:
            return
        events = self._queue.read()
        changed = [target for event in events for target in self._changed(event)]
        if any(self._moves(event) for event in events):
            waited = [target for targets in self._waits.values() for target in targets]
            self._arm()
            still = [target for targets in self._waits.values() for target in targets]
            changed += [target for target in waited if target not in still]
        self._tell(changed)

    def _changed(self, event: Event) -> Sequence[Target]:
        """Return the targets that this news is about."""
        if event.watch < 0:
            return self._targets  # news was lost
        return [
            target
            for target in self._watches.get(event.watch, ())
            if event.mask & _LOST
            or (event.mask & target.mask and event.name.endswith(target.endings))
        ]

    def _moves(self, event: Event) -> bool:
        """Return whether folders came or went, so that others must be watched."""
        if event.watch in self._waits:
            return bool(event.mask & (_LOST | _COMING))
        return event.watch < 0 or bool(event.watch in self._watches and event.mask & _LOST)

    def _tell(self, targets: Sequence[Target]) -> None:
        for kind in _KINDS:
            about = [target for target in targets if kind in target.kinds]
            if about:
                self._on_change(kind, decisive=any(target.decisive for target in about))

    async def _poll(self) -> None:
        before = [_look(target) for target in self._targets]
        while True:
            await asyncio.sleep(limits.POLL_S)
            now = [_look(target) for target in self._targets]
            changed = zip(self._targets, before, now, strict=True)
            self._tell([target for target, was, found in changed if was != found])
            before = now


def _nearest(folder: str) -> str:
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):  # noqa: PTH112, PTH120
        folder = os.path.dirname(folder)  # noqa: PTH120  texts, as the kernel takes them
    return folder


def _look(target: Target) -> tuple[tuple[str, int, int, int], ...]:
    """Return what tells one condition of the target's files from another."""
    found = []
    try:
        with os.scandir(target.folder) as entries:
            for entry in entries:
                if entry.name.endswith(target.endings):
                    stat = entry.stat()
                    found.append((entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    except OSError:
        return ()  # not there yet, or gone: which is a condition of its own
    return tuple(sorted(found))
