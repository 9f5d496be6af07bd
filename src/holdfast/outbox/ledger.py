"""A second, tiny account of the queue, outside the database, so that a loss can be counted.

A torn, truncated or rolled back database cannot tell what it held. This file can: 2 slots of fixed
size, written in place alternately (so it can be written on a full disk too), each with a checksum.
It is not synced: after a power cut it may be behind the database, never ahead of it by more than
the database lost. It must never hold content.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final, NamedTuple

_MAGIC: Final = b"hfledgr1"
_FORM: Final = struct.Struct("<8s16s9QI")
_SLOT_BYTES: Final = 512
_SIZE: Final = 2 * _SLOT_BYTES


class Account(NamedTuple):
    """The queue's content: `low` is the smallest number still pending."""

    source: str = ""
    inode: int = 0
    seq: int = 0
    last_row: int = 0
    low: int = 0
    pending: int = 0
    dead: int = 0
    dropped: int = 0
    lost: int = 0


class Ledger:
    """The account in a file; without a path it is kept in memory only."""

    __slots__ = ("_generation", "_path", "account", "exact")

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        """Read the file; `exact` is whether a valid account was found."""
        self._path = path
        self._generation = 0
        self.account = Account()
        self.exact = False
        self.refresh()

    def refresh(self) -> Account:
        """Read again what another process may have written; keep ours if none is readable."""
        if self._path is None:
            return self.account
        try:
            with open(self._path, "rb") as file:
                raw = file.read(_SIZE)
        except OSError:
            return self.account
        slots = [_decode(raw[at : at + _SLOT_BYTES]) for at in (0, _SLOT_BYTES)]
        good = [slot for slot in slots if slot is not None]
        if good:
            generation, account = max(good)
            self.exact = True
            if generation >= self._generation:
                self._generation, self.account = generation, account
        return self.account

    def write(self, account: Account) -> None:
        """Write the account to the older slot; a failure leaves the other slot as it was."""
        self._generation += 1
        self.account = account
        if self._path is None:
            return
        at = (self._generation % 2) * _SLOT_BYTES
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(handle).st_size < _SIZE:
                    os.pwrite(handle, bytes(_SIZE), 0)
                os.pwrite(handle, _encode(self._generation, account), at)
            finally:
                os.close(handle)
            self.exact = True
        except OSError:
            # Nothing more can be done here: the count goes on in memory and is written next time.
            self.exact = False


def _encode(generation: int, account: Account) -> bytes:
    source = account.source.encode("ascii", "replace")[:16]
    body = _FORM.pack(_MAGIC, source, generation, *account[1:], 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def _decode(raw: bytes) -> tuple[int, Account] | None:
    if len(raw) < _FORM.size:
        return None
    magic, source, generation, *figures, checksum = _FORM.unpack_from(raw)
    if magic != _MAGIC or zlib.crc32(raw[: _FORM.size - 4]) != checksum:
        return None
    return generation, Account(source.rstrip(b"\0").decode("ascii", "replace"), *figures)
