"""The agent's installed version, as printed by the agent itself.

One probe serves the version route and the check-in. The result is cached while the binary is the
same file with the same size and time, so an upgrade in place is noticed; a failure is cached for a
limited time only.
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
    """A calendar version and a commit, each None if unknown."""

    version: str | None
    commit: str | None


UNKNOWN: Final = Version(None, None)


class RunVersion(Protocol):
    """Runs `--version`."""

    async def __call__(self) -> str:
        """Return the output; raise OSError or TimeoutError."""
        ...


def parse_version(text: str) -> Version:
    """Return the first calendar version in the text and the commit in parentheses."""
    version = _VERSION.search(text)
    if version is None:
        return UNKNOWN
    commit = _COMMIT.search(text)
    return Version(version[1], None if commit is None else commit[1])


class VersionProbe:
    """Runs one query per binary, shared by concurrent callers."""

    def __init__(self, binary: str, run_version: RunVersion, clock: Clock) -> None:
        """Watch `binary`, a path or a name on PATH."""
        self._binary = binary
        self._run_version = run_version
        self._clock = clock
        self._known = UNKNOWN
        self._of: tuple[str, int, int] | None = None
        self._failed_ms: float | None = None
        self._query: asyncio.Task[Version] | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def known(self) -> Version:
        """Return the cached version without a query."""
        return self._known

    def follow(self, binary: str) -> None:
        """Watch this binary from now on; forget an earlier failure."""
        self._binary = binary
        if self._failed_ms is not None:
            self._failed_ms = self._of = None

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after the version changed; the first result is no change."""
        self._listeners.append(listener)

    def identity(self) -> str:
        """Return what identifies this binary across upgrades; empty without a file."""
        found = _identify(self._binary)
        return "" if found is None else " ".join(map(str, found))

    async def find(self, *, patient: bool = False) -> Version:
        """Return the version of the binary as it is now.

        Another command line may hold the lock for minutes: only a `patient` caller waits for that,
        all others get the cached version.
        """
        if self._query is None:
            binary = _identify(self._binary)
            if self._fresh(binary):
                return self._known
            self._query = asyncio.create_task(self._find(binary))
        try:
            async with asyncio.timeout(None if patient else limits.VERSION_WAIT_S):
                return await asyncio.shield(self._query)
        except TimeoutError:
            return self._known

    def _fresh(self, binary: tuple[str, int, int] | None) -> bool:
        if self._failed_ms is not None:
            return self._clock.steady_ms() - self._failed_ms < limits.VERSION_RETRY_MS
        return binary is not None and binary == self._of

    async def _find(self, binary: tuple[str, int, int] | None) -> Version:
        before, first = self._known, self._of is None and self._failed_ms is None
        try:
            self._known = parse_version(await self._run_version())
        except (OSError, TimeoutError):
            self._known = UNKNOWN
        finally:
            self._query = None
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
