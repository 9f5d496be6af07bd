"""Runs seeds against the servers, and says which were answered as no request may be."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from holdfast.actors.limits import REHEARSAL_TIMEOUT_S, REHEARSAL_TURN_S
from tests.fuzz.connection import ask
from tests.fuzz.generator import Case, make
from tests.fuzz.servers import Servers
from tests.support.patience import patience

LIMIT_S = 10.0
"""How long one request may take on an idle machine: hashing a password is the longest work."""

REHEARSAL_LIMIT_S = REHEARSAL_TURN_S + REHEARSAL_TIMEOUT_S + LIMIT_S
"""The same for a rehearsal, which waits for others and runs at the lowest priority."""

AT_ONCE = 16
"""Requests under way: most of them wait for the disk. What a log says is told of the first that is
answered after it, so a finding without a 500 belongs to one of this many seeds about its own."""

FINDINGS_MAX = 50
"""Findings after which it stops: more of them rarely say more."""

_NEVER = 500


@dataclass
class Report:
    """What came of a range of seeds: answers by door and status, and what must not be."""

    cases: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    bends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def run(
    servers: Servers,
    seeds: Iterable[int],
    told: Callable[[Report], None] = lambda _: None,
    *,
    at_once: int = AT_ONCE,
) -> Report:
    """Send the request of each seed, so many at once; stop after so many findings."""
    report, left = Report(), iter(seeds)

    async def work() -> None:
        for seed in left:
            if len(report.wrong) >= FINDINGS_MAX:
                return
            case = make(seed, servers.doors)
            finding = await _send(servers, case, report)
            report.cases += 1
            report.bends.update(case.bent)
            if finding:
                report.wrong.append(f"seed {seed}: {finding}\n  {_shown(case)}")
            told(report)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return report


async def _send(servers: Servers, case: Case, report: Report) -> str:
    """Return what is wrong with the answer, or nothing."""
    try:
        outcome = await ask(
            servers.protocols[case.door], case.parts(), case.method,
            may_wait=case.may_wait, limit_s=patience(_limit_s(case)),
        )  # fmt: skip
    except TimeoutError:
        return "no answer in time"
    except Exception:  # noqa: BLE001  whatever a protocol lets out is what is looked for
        return traceback.format_exc()[-3_000:]
    report.statuses[case.door, outcome.status] += 1
    faults = servers.faults.lines[:]
    servers.faults.lines.clear()
    if outcome.status == _NEVER or faults:
        return "\n".join([f"status {outcome.status}", *(str(line)[-3_000:] for line in faults)])
    return ""


def _limit_s(case: Case) -> float:
    rehearses = case.row.startswith("rehearse.") or case.row == "page.instance-next"
    return REHEARSAL_LIMIT_S if rehearses else LIMIT_S


def _shown(case: Case) -> str:
    raw = case.raw()
    return f"{case.door} {case.row} bent by {', '.join(case.bent) or 'nothing'}: {raw[:600]!r}"
