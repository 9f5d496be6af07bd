"""Random faults of one agent of real processes, under the real supervisor, by seed.

    python -m tests.support.toys.process_faults FIRST LAST SECONDS

Each seed is one run of some seconds; each prints its result as a line of JSON. A worker is one
process, because one process can be the subreaper of one agent only.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import SystemClock
from holdfast.machine.agents.catalogue import Profile
from holdfast.machine.agents.pairing import Place
from holdfast.machine.confine.sandbox import unconfined
from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import orphans as orphans_left
from holdfast.machine.controller.process.children import ChildProcesses
from holdfast.machine.controller.process.procfs import parse_listeners
from holdfast.machine.controller.settings import read_running
from holdfast.machine.controller.supervise import Policy, Repair
from holdfast.machine.controller.supervise.ports import Done
from tests.support.patience import patience
from tests.support.ports import free_port

STUB = Path(__file__).with_name("faulty_agent.py")
GAP_S = 0.99
"""A second between two starts, less what two clocks of whole milliseconds cut off."""

POLICY = Policy(
    backoff=Backoff(first_ms=100, cap_ms=400),
    healthy_ms=1_500,
    start_ms=2_000,
    stuck_ms=600,
    stuck_misses=2,
    stop_grace_ms=200,
    kill_again_ms=100,
    restart_tries=2,
    rung_tries=1,
    park_ms=100_000,
)


@dataclass
class Found:
    """The result of one run; `broken` are the rules that did not hold."""

    seed: int
    starts_s: list[float] = field(default_factory=list)
    gap_s: float = 1e9
    listeners: int = 0
    fates: list[str] = field(default_factory=list)
    orphans: int = 0
    broken: list[str] = field(default_factory=list)


class NoRepairs:
    """Repairs that now and then work."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def repair(self, kind: Repair, reason: str, *, trial: str) -> Done:
        await asyncio.sleep(self._chance.random() * 0.2)
        return Done(done=self._chance.random() < 0.5, detail="a toy")

    async def condemn(self, etag: str, reason: str) -> None:
        """Do nothing: there are no configurations."""

    async def started(self) -> None:
        """Take no note."""

    async def proved(self) -> None:
        """Take no note."""


def profile_of(seed: int) -> Profile:
    def argv(place: Place) -> tuple[str, ...]:
        return (place.python, "-I", "-S", str(STUB), str(place.port), str(seed), place.home)

    return Profile(
        name="faulty", argv=argv, env=lambda _place: {}, version_argv=argv,
        binary=lambda _place: str(STUB), doctor_argv=lambda place, _fix: argv(place),
        folders=lambda place: (place.workspace,), state_folder=lambda place: place.home,
        config_path=lambda place: f"{place.home}/config.json",
    )  # fmt: skip


async def run_faults(seed: int, seconds: float, child_processes: ChildProcesses) -> Found:
    """Run one agent with faults in a folder of its own, then stop it."""
    found = Found(seed)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        async with aiohttp.ClientSession() as session:
            agent = make_agent(seed, home, child_processes, session)
            log = Log(SystemClock())
            log.emit = lambda *_args, **_fields: None  # type: ignore[method-assign]
            supervisor = Supervisor(POLICY, agent, NoRepairs(chance), clock=SystemClock(), log=log)
            note_starts(agent, found)
            watching = asyncio.create_task(watch(agent.place.port, found))
            supervisor.start()
            await disturb(supervisor, chance, seconds)
            async with asyncio.timeout(patience(10)):
                await supervisor.shutdown(15)
            watching.cancel()
        # What was killed may take a moment to be gone.
        for _ in range(100):
            if not orphans_left.find_orphans(home):
                break
            await asyncio.sleep(0.02)
        judge(found, Path(home))
    return found


def note_starts(agent: AgentProcesses, found: Found) -> None:
    """Have each start that makes a process noted with its time."""
    spawn = agent.spawn

    def noting(*given: Any) -> Any:
        child = spawn(*given)
        found.starts_s.append(time.monotonic())
        return child

    agent.spawn = noting  # type: ignore[method-assign, assignment]


def make_agent(
    seed: int, home: str, child_processes: ChildProcesses, session: aiohttp.ClientSession
) -> AgentProcesses:
    place = Place(home=home, port=free_port(), token="", python=sys.executable)
    log = Log(SystemClock())
    log.emit = lambda *_args, **_fields: None  # type: ignore[method-assign]
    agent = AgentProcesses(
        profile_of(seed),
        place,
        read_running({}),
        child_processes=child_processes,
        session=session,
        log=log,
    )
    agent.prepare()
    return agent


async def disturb(supervisor: Supervisor, chance: random.Random, seconds: float) -> None:
    """Make random requests of the supervisor for `seconds`."""
    ends = time.monotonic() + seconds
    asks: Sequence[Callable[[], Any]] = (
        supervisor.start,
        lambda: supervisor.feed(supervise.Restart()),
        lambda: supervisor.feed(supervise.Stop()),
        lambda: supervisor.feed(supervise.RetryLadder()),
        lambda: supervisor.feed(supervise.ConfigChanged("changed")),
    )
    while time.monotonic() < ends:
        await asyncio.sleep(chance.random())
        chance.choice(asks)()
        supervisor.start()


async def watch(port: int, found: Found) -> None:
    """Count who listens on the port, again and again."""
    while True:
        with suppress(OSError):
            table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
            found.listeners = max(found.listeners, len(parse_listeners(table, port)))
        await asyncio.sleep(0.02)


def judge(found: Found, home: Path) -> None:
    """Say what did not hold."""
    orphans = orphans_left.find_orphans(str(home))
    found.orphans = len(orphans)
    with suppress(FileNotFoundError):
        found.fates = (home / "fates").read_text().split()
    gaps = [after - before for before, after in pairwise(found.starts_s)]
    found.gap_s = round(min(gaps, default=1e9), 3)
    if found.gap_s < GAP_S:
        found.broken.append(f"two starts within {found.gap_s} s")
    if found.orphans:
        found.broken.append(f"{found.orphans} orphans")
    if found.listeners > 1:
        found.broken.append(f"{found.listeners} listeners on one port")


async def work(first: int, last: int, seconds: float) -> None:
    child_processes = ChildProcesses(unconfined())
    child_processes.open()
    for seed in range(first, last):
        found = await run_faults(seed, seconds, child_processes)
        sys.stdout.write(json.dumps(found.__dict__) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
