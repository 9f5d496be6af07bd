"""Runs the gates of a rig: confined, in a clone of their own, each with a limit of time.

A gate sees the system's programs, the files of the commit and a home of its own that is deleted
afterwards. It gets no credential. The first that fails ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.world.forges.confined import Confined
from holdfast.world.forges.port import Gate, GateReport, GateStatus
from holdfast.world.forges.process import Limits, run

OUTPUT_BYTES_MAX: Final = 64 << 10
GATES_S_MAX: Final = 25 * 60
"""Time of all gates of a run together; the caller waits for half an hour."""

_FILE_BYTES_MAX: Final = 4 << 30


async def run_gates(
    confined: Confined, gates: Sequence[Gate], *, place: Path, tree: Path, lent: Sequence[Path],
    clock: Clock, marks: Mapping[str, str],
) -> tuple[GateReport, ...]:  # fmt: skip
    """Run gates in `tree`, which is in `place`; what follows the first failure is not run."""
    for name in ("home", "tmp"):
        (place / name).mkdir(exist_ok=True)
    env = {
        **confined.inherited,
        **confined.environment((place,), lent),
        **marks,
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "CI": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    reports: list[GateReport] = []
    end_ms = clock.steady_ms() + GATES_S_MAX * 1_000
    for gate in gates:
        if reports and reports[-1].status != "passed":
            reports.append(GateReport(name=gate.name, status="not_run"))
            continue
        left_s = max(1.0, (end_ms - clock.steady_ms()) / 1_000)
        seconds = min(float(gate.timeout_s), left_s)
        reports.append(await _run(confined, gate, env=env, tree=tree, seconds=seconds, clock=clock))
    return tuple(reports)


async def _run(
    confined: Confined, gate: Gate, *, env: Mapping[str, str], tree: Path, seconds: float,
    clock: Clock,
) -> GateReport:  # fmt: skip
    began_ms = clock.steady_ms()
    if not gate.command:
        return GateReport(name=gate.name, status="failed", code=2, output=b"command: it is empty")
    limits = Limits(seconds=seconds, output=OUTPUT_BYTES_MAX, file=_FILE_BYTES_MAX)
    try:
        ended = await run(
            confined.wrap(gate.command), env=env, cwd=tree, limits=limits, joined=True
        )
    except OSError as error:
        return GateReport(name=gate.name, status="failed", code=126, output=brief(error).encode())
    status: GateStatus = "timed_out" if ended.late else "passed" if ended.ok else "failed"
    note = f"\nended after {seconds:g} s\n".encode() if ended.late else b""
    return GateReport(
        name=gate.name, status=status, code=ended.code,
        output=(ended.out + note)[-OUTPUT_BYTES_MAX:],
        elapsed_ms=int(clock.steady_ms() - began_ms),
    )  # fmt: skip
