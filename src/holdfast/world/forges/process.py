"""Runs one program with a limit of time, of output and of the size of files.

A program that ended is not waited for longer because something that it left behind holds its
output open. All of its group is killed at the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_CHUNK_BYTES: Final = 65_536
_DRAIN_S: Final = 1.0
"""How long output is read on after the program ended."""

_BLOCK_BYTES: Final = 512
"""The unit of `ulimit -f` in a POSIX shell."""

_LIMITED: Final = 'ulimit -f "$0" && ulimit -c 0 && exec "$@"'


class Ended(NamedTuple):
    """How a program ended: `code` is -n for signal n; `late` says that it was killed for its time.

    `out` and `err` are the ends of what it wrote.
    """

    code: int
    out: bytes
    err: bytes
    late: bool = False

    @property
    def ok(self) -> bool:
        """Return whether it succeeded."""
        return self.code == 0 and not self.late

    @property
    def text(self) -> str:
        """Return what it wrote to stdout."""
        return self.out.decode("utf-8", "replace")


class Limits(NamedTuple):
    """`seconds` it may run, `output` bytes kept of each stream, `file` bytes of a file; 0 none."""

    seconds: float
    output: int = 1 << 20
    file: int = 0


async def run(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, limits: Limits, joined: bool = False
) -> Ended:
    """Run a program; with `joined`, stderr goes where stdout goes. Raise OSError."""
    if limits.file:
        argv = ("/bin/sh", "-c", _LIMITED, str(-(-limits.file // _BLOCK_BYTES)), *argv)
    out, err = _Stream(limits.output), None if joined else _Stream(limits.output)
    streams = [one for one in (out, err) if one is not None]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out.theirs,
            stderr=out.theirs if err is None else err.theirs,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
    except BaseException:
        for one in streams:
            one.close()
        raise
    readers = [asyncio.ensure_future(one.read()) for one in streams]
    late = False
    try:
        async with asyncio.timeout(limits.seconds):
            await process.wait()
    except TimeoutError:
        late = True
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
        await asyncio.wait(readers, timeout=_DRAIN_S)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    code = process.returncode or 0
    return Ended(code, bytes(out.kept), b"" if err is None else bytes(err.kept), late)


class _Stream:
    """A pipe of ours, so that waiting for the program does not wait for the pipe's end."""

    def __init__(self, most: int) -> None:
        self.kept = bytearray()
        self._most = most
        self._ours, self.theirs = os.pipe2(os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)

    async def read(self) -> None:
        """Read to the end; keep the end."""
        os.close(self.theirs)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            os.fdopen(self._ours, "rb", buffering=0),
        )
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                self.kept += chunk
                if len(self.kept) > 2 * self._most:
                    del self.kept[: -self._most]
        finally:
            del self.kept[: -self._most]
            transport.close()
