"""What this host can confine by, as the program finds that machines and attempts are confined by.

The plane must not import the machine's side, so it runs that program.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from holdfast.wire.confinement import Confinement
from holdfast.wire.parsers import json_as

PROBE: Final = (sys.executable, "-I", "-m", "holdfast.machine.confine", "--probe")
PROBE_S: Final = 10.0
"""Timeout of the program: it takes tenths of a second, and more on a busy host."""

UNCONFINED: Final[frozenset[Confinement]] = frozenset({"none", "unknown"})
_INSTALL: Final = "install bubblewrap (apt install bubblewrap)"


class Offer(Struct, frozen=True, kw_only=True):
    """The confinement that a host supports.

    `reason` is why it is not more, or not known; `fix` is how to get more.
    """

    kind: Confinement = "unknown"
    bubblewrap: str = ""
    landlock_abi: int = 0
    reason: str = ""
    fix: str = _INSTALL


async def probe_host(program: Sequence[str] = (), *, within_s: float = PROBE_S) -> Offer:
    """Return what this host supports, by running `program`, PROBE by default."""
    program = program or PROBE
    try:
        process = await asyncio.create_subprocess_exec(
            *program, cwd="/", env={}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        return Offer(reason=f"{program[0]} cannot be run: {error.strerror}")
    try:
        async with asyncio.timeout(within_s):
            said, _ = await process.communicate()
        return json_as(Offer, said)
    except TimeoutError:
        return Offer(reason=f"the host was not examined within {within_s:g} s")
    except (msgspec.MsgspecError, RecursionError):
        return Offer(reason=f"the program that examines it ended with {process.returncode}")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
