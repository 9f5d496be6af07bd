"""Watches the places where an agent stores requests, and reports which kind may have changed.

A missing folder is awaited at its nearest parent. If the system has no more inotify instances, the
places are polled every second instead. It must never read the content.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from holdfast.kernel.failure import brief
from holdfast.machine.agents.pairing import Env, Pairing, Plan
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.wire.controller.pairing import Kind

MODIFY: Final = 0x2
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x1000000
"""Event bits of inotify(7)."""

_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 65_536

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One event: `watch` is -1 if events were lost, `name` is the entry in the folder."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify queue; register its descriptor with the loop."""

    def __init__(self) -> None:
        """Open the queue; raise OSError if the user has too many."""
        self.descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, folder: str, mask: int) -> int:
        """Return the number of a watch on this folder; raise OSError if it does not exist."""
        path = os.fsencode(folder)
        return _checked(_libc.inotify_add_watch(self.descriptor, path, mask | ONLYDIR))

    def remove(self, watch: int) -> None:
        """Remove a watch; one that is gone already is no error."""
        _libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> list[Event]:
        """Return the queued events."""
        try:
            return list(_events(os.read(self.descriptor, _READ_BYTES)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Close the queue."""
        os.close(self.descriptor)


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at + _EVENT.size <= len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        name = data[at : at + length].rstrip(b"\0")
        at += length
        yield Event(watch, mask, os.fsdecode(name))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


REPLACED = MOVED_TO | CLOSE_WRITE | DELETE | MOVED_FROM
"""Events of a file that is replaced as a whole."""

WRITTEN = MODIFY | MOVED_TO | DELETE
"""Events of a database; its other files change without it, so attributes do not count."""

_KINDS: tuple[Kind, ...] = ("channels", "devices")
_COMING = CREATE | MOVED_TO
_GOING = DELETE_SELF | MOVE_SELF
_LOST = OVERFLOW | IGNORED | _GOING


@dataclass(frozen=True, slots=True)
class Target:
    """A folder, the suffixes of names in it that count, and the kinds to report.

    `decisive` means that a change may have removed the cause of failed reads.
    """

    folder: str
    suffixes: tuple[str, ...]
    mask: int
    kinds: tuple[Kind, ...]
    decisive: bool = False


class OnChange(Protocol):
    """Called when the state of a kind may have changed."""

    def __call__(self, kind: Kind, *, decisive: bool) -> None:
        """Handle the change; see `Target`."""
        ...


def targets_of(pairing: Pairing, plan: Plan, *, env: Env, config: str) -> tuple[Target, ...]:
    """Return the places of the store that is read first, and of the configuration.

    If no store is read, because the release is unknown, a change of any is a hint.
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
    """Calls `on_change` for each kind whose targets may have changed."""

    def __init__(self, on_change: OnChange, log: Log) -> None:
        self._on_change = on_change
        self._log = log
        self._queue: Inotify | None = None
        self._polling: asyncio.Task[None] | None = None
        self._targets: tuple[Target, ...] = ()
        self._watches: dict[int, list[Target]] = {}
        self._waits: dict[int, list[Target]] = {}

    def watch(self, targets: Sequence[Target]) -> None:
        """Watch exactly these; what changed in between is reported as a change."""
        if tuple(targets) == self._targets:
            return
        self.close()
        self._targets = tuple(targets)
        try:
            self._queue = Inotify()
        except OSError as error:
            self._log.emit("pairing.watch_refused", error=brief(error), instead="polling")
            self._polling = asyncio.create_task(self._poll(), name="pairing-poll")
            return
        asyncio.get_running_loop().add_reader(self._queue.descriptor, self._read)
        self._backend()
        self._report(self._targets)

    def close(self) -> None:
        """Stop watching."""
        if self._queue is not None:
            asyncio.get_running_loop().remove_reader(self._queue.descriptor)
            self._queue.close()
            self._queue = None
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None
        self._targets = ()
        self._watches, self._waits = {}, {}

    def _backend(self) -> None:
        """Watch each target's folder, or wait for it at the nearest existing parent.

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
                continue  # deleted in between; the periodic read covers it
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
            self._backend()
            still = [target for targets in self._waits.values() for target in targets]
            changed += [target for target in waited if target not in still]
        self._report(changed)

    def _changed(self, event: Event) -> Sequence[Target]:
        """Return the targets these events concern."""
        if event.watch < 0:
            return self._targets  # events were lost
        return [
            target
            for target in self._watches.get(event.watch, ())
            if event.mask & _LOST
            or (event.mask & target.mask and event.name.endswith(target.suffixes))
        ]

    def _moves(self, event: Event) -> bool:
        """Return whether folders came or went, so that others must be watched."""
        if event.watch in self._waits:
            return bool(event.mask & (_LOST | _COMING))
        return event.watch < 0 or bool(event.watch in self._watches and event.mask & _LOST)

    def _report(self, targets: Sequence[Target]) -> None:
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
            self._report([target for target, was, found in changed if was != found])
            before = now


def _nearest(folder: str) -> str:
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):  # noqa: PTH112, PTH120
        folder = os.path.dirname(folder)  # noqa: PTH120  texts, as the kernel takes them
    return folder


def _look(target: Target) -> tuple[tuple[str, int, int, int], ...]:
    """Return what distinguishes the states of the target's files."""
    found = []
    try:
        with os.scandir(target.folder) as entries:
            for entry in entries:
                if entry.name.endswith(target.suffixes):
                    stat = entry.stat()
                    found.append((entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    except OSError:
        return ()  # not there yet, or deleted: a state of its own
    return tuple(sorted(found))
