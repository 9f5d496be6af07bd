"""Runs seeds against the servers, and says which were answered as no request may be."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.actors.limits import REHEARSAL_TIMEOUT_S, REHEARSAL_TURN_S
from tests.fuzz.connection import CLOSED, Outcome, ask
from tests.fuzz.generator import Case, make
from tests.fuzz.servers import Servers
from tests.support.patience import patience

LIMIT_S = 10.0
"""How long one request may take on an idle machine: hashing a password is the longest work."""

REHEARSAL_LIMIT_S = REHEARSAL_TURN_S + REHEARSAL_TIMEOUT_S + LIMIT_S
"""The same for a rehearsal, which waits for others and runs at the lowest priority."""

AT_ONCE = 32
"""Requests under way: most of them wait for the disk. What a log says is told of the first that is
answered after it, so a finding without a 500 belongs to one of this many seeds about its own."""

FINDINGS_MAX = 50
"""Findings after which it stops: more of them rarely say more."""

RENEWED_EVERY = 500
"""Cases after which is made anew what some of them have ended and others need."""

SETTLES_S = 30.0
"""How long the servers may hold what callers left: a tunnel whose one side is gone, 10 s."""

TRACEBACK = b"Traceback (most recent call last)"

OURS = frozenset({"plane", "controller"})
"""Doors whose every answer is the server's own; at the others it may be the agent's."""

READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})

_NEVER = 500


@dataclass
class Report:
    """What came of a range of seeds: answers by door and status, and what must not be."""

    cases: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    bends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stored: int = 0
    """Requests to change something that were accepted: what they left is data."""


async def run(
    servers: Servers,
    seeds: Iterable[int],
    told: Callable[[Report], None] = lambda _: None,
    *,
    at_once: int = AT_ONCE,
) -> Report:
    """Send the request of each seed, so many at once; stop after so many findings."""
    report, left = Report(), enumerate(seeds)

    async def work() -> None:
        for number, seed in left:
            if len(report.wrong) >= FINDINGS_MAX:
                return
            case = make(seed, servers.doors)
            if number and number % RENEWED_EVERY == 0:
                await servers.renew()
            outcome, finding = await _send(servers, case)
            report.statuses[case.door, outcome.status] += 1
            report.stored += outcome.status // 100 == 2 and case.method not in READS
            report.cases += 1
            report.bends.update(case.bent)
            if finding:
                report.wrong.append(f"seed {seed}: {finding}\n  {_shown(case)}")
            told(report)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return report


async def look_for_leaks(servers: Servers) -> list[str]:
    """Return what is still held a while after the last caller, and tracebacks of any log."""
    wrong = []
    ends = time.monotonic() + patience(SETTLES_S)
    while +servers.open_now() and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    if left := +servers.open_now():
        wrong.append(f"still held after the last caller: {dict(left)}")
    logs = [log for log in servers.logs.rglob("*.log*") if TRACEBACK in log.read_bytes()]
    return wrong + [f"a traceback in {log.name}: {_traceback(log)}" for log in logs]


def _traceback(log: Path) -> str:
    said = log.read_bytes()
    at = said.find(TRACEBACK)
    return said[at : at + 3_000].decode("utf-8", "replace")


async def _send(servers: Servers, case: Case) -> tuple[Outcome, str]:
    """Return the answer, and what is wrong with it or nothing."""
    outcome = Outcome(CLOSED, b"")
    try:
        outcome = await ask(
            servers.protocols[case.door], case.parts(), case.method,
            may_wait=case.may_wait, limit_s=patience(_limit_s(case)), never=servers.never,
        )  # fmt: skip
    except TimeoutError:
        return outcome, "no answer in time"
    except Exception:  # noqa: BLE001  whatever a protocol lets out is what is looked for
        return outcome, traceback.format_exc()[-3_000:]
    faults = [*servers.faults.lines, *servers.heard.wrong, *filter(None, [outcome.fault])]
    servers.faults.lines.clear()
    servers.heard.wrong.clear()
    if (outcome.status == _NEVER and case.door in OURS) or faults:
        told = (str(line)[-3_000:] for line in faults)
        return outcome, "\n".join([f"status {outcome.status}", *told])
    return outcome, ""


def _limit_s(case: Case) -> float:
    rehearses = case.row.startswith("rehearse.") or case.row == "page.instance-next"
    return REHEARSAL_LIMIT_S if rehearses else LIMIT_S


def _shown(case: Case) -> str:
    raw = case.raw()
    return f"{case.door} {case.row} bent by {', '.join(case.bent) or 'nothing'}: {raw[:600]!r}"
