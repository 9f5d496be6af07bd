"""Password hashing by Argon2, on a thread of its own.

Hashing is slow on purpose (tens of milliseconds, tens of MiB), so it may neither hold the serving
loop nor run many times at once: one thread bounds the memory, and sign-in limits bound the queue.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB: Final = 19_456
"""OWASP's password storage cheat sheet: 19 MiB, two passes, one lane."""

PASSES: Final = 2


class Argon2:
    """The port `Hasher` by argon2-cffi."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        """Use the defaults outside of tests."""
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="accounts-argon2")
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, password_hash: str, password: str) -> bool:
        """Return whether the password is the one hashed; an empty hash takes as long and fails."""
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._threads, self._verify, password_hash, password)
        return right and bool(password_hash)

    def close(self) -> None:
        """End the thread, after the call under way."""
        self._threads.shutdown()

    def _verify(self, known: str, password: str) -> bool:
        """Return whether the password is the one hashed; a damaged hash matches none."""
        if not known and not self._nobody:
            self._nobody = self._hasher.hash("a password that nobody has")
        try:
            return self._hasher.verify(known or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
