"""Which version of the agent is installed, asked of the agent itself.

One probe serves the version route and the check-in. Its answer is remembered for as long as the
binary is the same file of the same size and time, so an upgrade in place shows; a failure is
remembered only for a while.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from holdfast.kernel.clock import Clock
from holdfast.machine.controller import limits

_VERSION: Final = re.compile(r"\b(\d{4}\.\d{1,2}\.\d{1,2})\b")
_COMMIT: Final = re.compile(r"\(([0-9a-f]+)\)")


class Version(NamedTuple):
    """A calendar version and a commit, each None when it is not known."""

    version: str | None
    commit: str | None


UNKNOWN: Final = Version(None, None)


class Ask(Protocol):
    """Runs `--version`."""

    async def __call__(self) -> str:
        """Return what it printed; raise OSError or TimeoutError when it did not work."""
        ...


def parse_version(text: str) -> Version:
    """Return the first calendar version in the text and the commit in parentheses."""
    version = _VERSION.search(text)
    if version is None:
        return UNKNOWN
    commit = _COMMIT.search(text)
    return Version(version[1], None if commit is None else commit[1])


class VersionProbe:
    """Asks once per binary; concurrent callers share one question."""

    def __init__(self, binary: str, ask: Ask, clock: Clock) -> None:
        """Watch `binary`, a path or a name on PATH."""
        self._binary = binary
        self._ask = ask
        self._clock = clock
        self._known = UNKNOWN
        self._of: tuple[str, int, int] | None = None
        self._failed_ms: float | None = None
        self._asking: asyncio.Task[Version] | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def known(self) -> Version:
        """Return what is known without asking."""
        return self._known

    def follow(self, binary: str) -> None:
        """Watch this binary from now on; a failure of before is not held against it."""
        self._binary = binary
        if self._failed_ms is not None:
            self._failed_ms = self._of = None

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after the version changed; the first answer is no change."""
        self._listeners.append(listener)

    def identity(self) -> str:
        """Return what tells this binary from the one before an upgrade; nothing without a file."""
        found = _identify(self._binary)
        return "" if found is None else " ".join(map(str, found))

    async def find(self, *, patient: bool = False) -> Version:
        """Return the version of the binary as it is now.

        Another command line may have the turn for minutes: only who is `patient` waits for that,
        everybody else gets what was known before.
        """
        if self._asking is None:
            binary = _identify(self._binary)
            if self._fresh(binary):
                return self._known
            self._asking = asyncio.create_task(self._find(binary))
        try:
            async with asyncio.timeout(None if patient else limits.VERSION_WAIT_S):
                return await asyncio.shield(self._asking)
        except TimeoutError:
            return self._known

    def _fresh(self, binary: tuple[str, int, int] | None) -> bool:
        if self._failed_ms is not None:
            return self._clock.steady_ms() - self._failed_ms < limits.VERSION_RETRY_MS
        return binary is not None and binary == self._of

    async def _find(self, binary: tuple[str, int, int] | None) -> Version:
        before, first = self._known, self._of is None and self._failed_ms is None
        try:
            self._known = parse_version(await self._ask())
        except (OSError, TimeoutError):
            self._known = UNKNOWN
        finally:
            self._asking = None
        self._of = binary
        self._failed_ms = self._clock.steady_ms() if self._known == UNKNOWN else None
        if self._known != before and not first:
            for listener in self._listeners:
                listener()
        return self._known


def _identify(binary: str) -> tuple[str, int, int] | None:
    path = shutil.which(binary) or binary
    try:
        stat = os.stat(path)  # noqa: PTH116  two numbers of one file, asked often
    except OSError:
        return None
    return path, stat.st_size, stat.st_mtime_ns
