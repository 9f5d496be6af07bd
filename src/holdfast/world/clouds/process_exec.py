"""Runs one command inside a machine of the process cloud, limited in time and output.

The command runs in a session of its own with the machine's environment, so it carries the machine's
marker and ends with it. The machine's agent can influence its code, so it gets the same
confinement. It must never outlive its time, nor fill our memory.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.port import (
    EXEC_OUTPUT_BYTES_MAX,
    INVALID,
    TRANSIENT,
    Execution,
)

_CHUNK_BYTES = 65_536


async def run(
    argv: tuple[str, ...], *, env: Mapping[str, str], home: Path, timeout_ms: int,
    wrapper: tuple[str, ...] = (),
) -> Outcome[Execution]:  # fmt: skip
    """Run the command and return its exit code and output; -n means killed by signal n.

    `wrapper` is the program that confines the command, which follows it.
    """
    if not argv:
        return Permanent(INVALID, "argv: want at least the program")
    if wrapper and shutil.which(argv[0], path=env.get("PATH")) is None:
        return Permanent(INVALID, f"argv: cannot run {argv[0]!r}: no such program")
    try:
        process = await asyncio.create_subprocess_exec(
            *wrapper,
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            env=dict(env),
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, ValueError) as error:
        return Permanent(INVALID, f"argv: cannot run {argv[0]!r}: {brief(error)}")
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            out, err = await asyncio.gather(_read(process.stdout), _read(process.stderr))
            code = await process.wait()
    except TimeoutError:
        return Retryable(TRANSIENT, f"{argv[0]} did not end within {timeout_ms} ms and was killed")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Ok(
        Execution(
            exit_code=code,
            stdout=out[0].decode("utf-8", "replace"),
            stderr=err[0].decode("utf-8", "replace"),
            truncated=out[1] or err[1],
        )
    )


async def _read(stream: asyncio.StreamReader | None) -> tuple[bytes, bool]:
    """Read a stream to its end; return its beginning, and whether it was cut."""
    kept, cut = bytearray(), False
    while stream is not None and (chunk := await stream.read(_CHUNK_BYTES)):
        left = EXEC_OUTPUT_BYTES_MAX - len(kept)
        kept += chunk[:left]
        cut = cut or len(chunk) > left
    return bytes(kept), cut
