"""Runs one command in a container, limited in time and output.

An engine cannot end a command that was begun, so coreutils' `timeout` does, within the container.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiodocker import Docker

from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.port import EXEC_OUTPUT_BYTES_MAX, INVALID, TRANSIENT, Execution

GRACE_S: Final = 5.0
"""Time beyond the command's own, for the engine, in seconds."""
_AT_HOME: Final = ("/bin/sh", "-c", 'cd "$HOME" 2>/dev/null; exec "$@"', "sh")
_STDERR: Final = 2
_KILLED: Final = 137
"""The exit code of `timeout -s KILL` when the time is over, or of a command that was killed."""


async def execute(
    engine: Engine, container: str, argv: tuple[str, ...], *, wrapper: tuple[str, ...],
    timeout_ms: int,
) -> Outcome[Execution]:  # fmt: skip
    """Run the command and return its exit code and output."""
    if not argv:
        return Permanent(INVALID, "argv: want at least the program")
    limit_s = timeout_ms / 1_000
    command = [*_AT_HOME, "timeout", "-s", "KILL", f"{limit_s:.3f}", *wrapper, *argv]
    ran = await engine.call(_runner(container, command), within_s=limit_s + GRACE_S)
    if isinstance(ran, Ok) and ran.value.exit_code == _KILLED:
        return Retryable(TRANSIENT, f"{argv[0]} did not end within {timeout_ms} ms and was killed")
    return ran


def _runner(container: str, command: list[str]) -> Callable[[Docker], Awaitable[Execution]]:
    async def run(docker: Docker) -> Execution:
        order = await docker.containers.container(container).exec(command)
        kept = {False: bytearray(), True: bytearray()}
        cut = False
        async with order.start(detach=False) as stream:
            while (message := await stream.read_out()) is not None:
                into = kept[message.stream == _STDERR]
                left = EXEC_OUTPUT_BYTES_MAX - len(into)
                into += message.data[:left]
                cut = cut or len(message.data) > left
        code = (await order.inspect())["ExitCode"]
        out, err = (bytes(kept[which]).decode("utf-8", "replace") for which in (False, True))
        return Execution(exit_code=int(code or 0), stdout=out, stderr=err, truncated=cut)

    return run
