"""The head of the audit in a file of its own, outside of the data folder where there is one.

It is replaced atomically and durably after each row, and only by a later row whose chain contains
it: the next row, or one after a row of the same number and hash. If the audit's file has another
row at that number, the head stays and checks fail until an operator moves the file away.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from holdfast.accounts.records import AuditRow, ChainEnd, KeptHead
from holdfast.disk.durable_file import write_file
from holdfast.kernel.failure import brief
from holdfast.wire.parsers import from_json

HEAD_FILE: Final = "audit-head.json"

_DECODER: Final = msgspec.json.Decoder(KeptHead)


class AuditHead:
    """Keeps the head; processes of one user may do so at the same time."""

    def __init__(self, path: Path, hash_of: Callable[[int], Awaitable[str]]) -> None:
        """Keep it in `path`; `hash_of` returns the hash of a row by number, empty if missing."""
        self._path = path
        self._hash_of = hash_of
        self._turn = asyncio.Lock()
        self._newest: AuditRow | None = None
        self._kept_seq = 0

    async def read(self) -> KeptHead | None:
        """Return the head, None before the first row; raise ValueError for a damaged file."""
        return await asyncio.to_thread(self._read)

    async def keep(self, row: AuditRow) -> None:
        """Keep a row as the head; rows that arrive during a write share the next write.

        Who shared one has nothing left to do: on a starved machine each turn of a thread takes a
        good part of a second, and every audited call would wait for the turns of all before it.
        """
        if self._newest is None or row.seq > self._newest.seq:
            self._newest = row
        async with self._turn:
            if row.seq <= self._kept_seq:
                return
            newest, kept = self._newest, await self.read()
            last = ChainEnd(newest.seq, newest.hash)
            if kept is None:
                await asyncio.to_thread(self._write, lambda now: now or KeptHead(last=last))
                self._kept_seq = newest.seq
            elif kept.last.seq < newest.seq and await self._follows(newest, kept.last):
                await asyncio.to_thread(self._write, lambda now: _moved_on(now, last))
                self._kept_seq = newest.seq

    async def note_purge(self, upto: ChainEnd, last: ChainEnd) -> None:
        """Record the end of a purge, `upto`, before its rows are deleted."""
        await asyncio.to_thread(self._write, lambda now: _purged(now, upto, last))

    async def _follows(self, row: AuditRow, last: ChainEnd) -> bool:
        """Return whether a row follows the head, directly or by way of rows in the file."""
        if row.seq == last.seq + 1:
            return row.before == last.hash
        return await self._hash_of(last.seq) == last.hash

    def _read(self) -> KeptHead | None:
        try:
            return from_json(_DECODER, self._path.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            message = f"{self._path}: not a kept head of the audit ({brief(error)})"
            raise ValueError(message) from error

    def _write(self, change: Callable[[KeptHead | None], KeptHead]) -> None:
        """Replace the file by what `change` makes of it, under a lock between processes."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            write_file(self._path, msgspec.json.encode(change(self._read())), names=False)
        finally:
            os.close(folder)


def _moved_on(now: KeptHead | None, last: ChainEnd) -> KeptHead:
    """Return the head with a later last row, unless another process moved it further."""
    if now is None:
        return KeptHead(last=last)
    return now if now.last.seq >= last.seq else KeptHead(last=last, purged=now.purged)


def _purged(now: KeptHead | None, upto: ChainEnd, last: ChainEnd) -> KeptHead:
    """Return the head with a later end of the purge; `last` where none was kept."""
    if now is None:
        return KeptHead(last=last, purged=upto)
    return now if now.purged.seq >= upto.seq else KeptHead(last=now.last, purged=upto)
