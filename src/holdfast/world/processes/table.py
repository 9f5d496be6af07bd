"""Processes as reported by the kernel: identity, whether they live, resource use.

A pid is reused; pid, start time and boot id together are not. Nothing here signals a process before
it has been identified through a pidfd, which refers to the very process that was checked. It must
never act on a bare number.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct

from holdfast.disk.process_environ import PROC, read_environ
from holdfast.world.clouds.port import Usage

MARKER: Final = "HOLDFAST_MACHINE_ID"
"""The variable that marks a machine's processes, wherever they have moved to."""

KILL_ROUNDS_MAX: Final = 20
"""Rounds of killing before giving up on processes that keep forking."""

KILL_WAIT_MS: Final = 2_000
"""Wait of one round for killed processes to be gone, in milliseconds."""

_TICK_MS: Final = 1_000 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATE, _PPID, _SESSION, _UTIME, _STIME, _START, _RSS = 0, 1, 3, 11, 12, 19, 21
_DEAD_STATES: Final = frozenset({"Z", "X", "x"})


class Identity(Struct, frozen=True, gc=False):
    """A permanent identity: pid, start in clock ticks since boot, and the boot id."""

    pid: int
    start_ticks: int
    boot_id: str


class Stat(Struct, frozen=True, gc=False):
    """The fields of `/proc/<pid>/stat` that we need."""

    pid: int
    state: str
    ppid: int
    session: int
    start_ticks: int
    cpu_ticks: int
    rss_pages: int


def boot_id() -> str:
    """Return the id of this boot of the kernel."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> Stat | None:
    """Return the kernel's fields of a pid, or None if there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    parts = text[text.rindex(")") + 2 :].split()  # the name may hold blanks and brackets
    return Stat(
        pid,
        parts[_STATE],
        int(parts[_PPID]),
        int(parts[_SESSION]),
        int(parts[_START]),
        int(parts[_UTIME]) + int(parts[_STIME]),
        int(parts[_RSS]),
    )


def identify(pid: int) -> Identity | None:
    """Return the identity of a living process, or None."""
    stat = read_stat(pid)
    if stat is None or stat.state in _DEAD_STATES:
        return None
    return Identity(pid, stat.start_ticks, boot_id())


def is_alive(identity: Identity | None) -> bool:
    """Return whether this very process lives: a zombie or a reused pid does not."""
    return identity is not None and identify(identity.pid) == identity


def open_process(identity: Identity) -> int | None:
    """Return a pidfd of this very process, or None if it is gone; the caller closes it."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if is_alive(identity):  # checked after the pidfd was opened, so both are the same process
        return handle
    os.close(handle)
    return None


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal this very process; return False if it is gone."""
    handle = open_process(identity)
    if handle is None:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def scan() -> Iterator[Stat]:
    """Yield every process of this machine."""
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (stat := read_stat(int(folder.name))) is not None:
            yield stat


def members(leader: Identity | None, machine_id: str) -> list[Identity]:
    """Return the living processes of a machine, its leader last.

    They carry the machine's marker in their environment, or are in the session of its leader
    while that lives. A process that left the session and cleared its environment is not found.
    """
    boot = boot_id()
    alive = leader is not None and is_alive(leader)
    session = leader.pid if alive and leader is not None else None
    own = os.getuid()
    marker = f"{MARKER}={machine_id}".encode()
    found = [
        Identity(stat.pid, stat.start_ticks, boot)
        for stat in scan()
        if stat.state not in _DEAD_STATES
        and (stat.session == session or _carries(stat.pid, marker, own))
    ]
    return sorted(found, key=lambda one: (one == leader, one.pid))


def kill_members(leader: Identity | None, machine_id: str) -> bool:
    """Kill every process of a machine, the leader last; return whether all are gone.

    The leader stays until the others are gone, because some are found by its session.
    """
    for _ in range(KILL_ROUNDS_MAX):
        found = members(leader, machine_id)
        if not found:
            return True
        others = [one for one in found if one != leader]
        if not _kill(others or found):
            break  # a process that survives SIGKILL hangs in the kernel: more rounds would not help
    return not members(leader, machine_id)


def usage_of(leader: Identity, machine_id: str, *, disk_bytes: int | None) -> Usage:
    """Return the total use of a machine's processes, without the CPU time of ended ones."""
    pids = {one.pid for one in members(leader, machine_id)}
    stats = [stat for pid in sorted(pids) if (stat := read_stat(pid)) is not None]
    return Usage(
        cpu_ms=int(sum(stat.cpu_ticks for stat in stats) * _TICK_MS),
        rss_bytes=sum(stat.rss_pages for stat in stats) * _PAGE_BYTES,
        disk_bytes=disk_bytes,
        processes=len(stats),
    )


def wait_exit(handle: int, *, timeout_ms: int) -> bool:
    """Block until the process of a pidfd has ended; return False on timeout."""
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    return bool(waiting.poll(timeout_ms))


def _kill(targets: list[Identity]) -> bool:
    """Kill these very processes; return whether all ended in time."""
    handles = [handle for one in targets if (handle := open_process(one)) is not None]
    try:
        for handle in handles:
            with suppress(ProcessLookupError):  # it ended in between
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        return all(wait_exit(handle, timeout_ms=KILL_WAIT_MS) for handle in handles)
    finally:
        for handle in handles:
            os.close(handle)


def _carries(pid: int, marker: bytes, own: int) -> bool:
    try:
        return (PROC / str(pid)).stat().st_uid == own and marker in read_environ(pid)
    except OSError:  # ended meanwhile, or another user's: not ours to kill
        return False
