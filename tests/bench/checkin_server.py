"""A plane that takes check-ins and nothing else, pinned to one core, for `bench_checkins`.

It is the real edge, handlers, flow and stores, with a given number of machines; only people,
pages and actors are missing. It prints one line of JSON when it listens.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn

from holdfast.accounts.browser import BrowserSessions
from holdfast.accounts.records import AuditEntry, AuditRow
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.log import NoLog
from holdfast.plane.edge.app import Edge
from holdfast.relay.rate import Rates
from holdfast.stores.duckdb.telemetry import DuckdbAnalytics
from holdfast.stores.sqlite.contact import SqliteContacts
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.handlers import ControllerCalls
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.api.call import Principal
from holdfast.wire.api.controller import CONTROLLER
from tests.support.toys.machines import SECRET, Ear, facts


class Nobody:
    """No person is known here."""

    async def by_token(self, text: str) -> Principal | None:
        """Return None."""

    async def by_session(self, text: str, bound: str) -> Principal | None:
        """Know nobody."""

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        """Refuse: no row here is audited."""
        raise NotImplementedError(entry)


class Nowhere(Ear):
    """Accepts every transition and keeps none."""

    def _take(self, dedupe: str, *news: Any) -> None:
        """Discard it."""


class Loud(NoLog):
    """A log on standard error."""

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if level != "info":
            sys.stderr.write(f"{event} {fields}\n")


def memory_mib() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def tell(line: dict[str, Any]) -> None:
    """Write one line of JSON for the parent process."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def serve(folder: Path, machines: int) -> None:
    """Serve until standard input ends, then print what was stored."""
    clock, log, machine_index = SystemClock(), Loud(), MachineIndex()
    contacts = SqliteContacts(folder / "contact.db", clock=clock)
    analytics = DuckdbAnalytics(folder / "telemetry.duckdb", clock=clock)
    telemetry = Telemetry(
        clock=clock,
        log=log,
        machines=machine_index,
        contacts=contacts,
        analytics=analytics,
        transitions=Nowhere(),
    )
    for number in range(machines):
        machine_index.put(facts(number))
    calls = ControllerCalls(
        telemetry, machine_index, clock=clock, secret=SECRET, publish=lambda *_: None
    )
    await telemetry.start()
    machine_index.listen(telemetry)
    edge = Edge(
        CONTROLLER,
        {"controller.checkin": calls.checkin, "controller.wake": calls.wake},
        authenticator=Nobody(),
        browsers=BrowserSessions(bytes(32)),
        audit=Nobody(),
        clock=clock,
        log=log,
        rates=Rates(clock),
        request_prefix="bench",
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    config = uvicorn.Config(
        edge, loop="uvloop", http="httptools", access_log=False, proxy_headers=False,
        log_level="warning", server_header=False, date_header=False, timeout_keep_alive=75,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    hello = {"port": listener.getsockname()[1], "mib": memory_mib()}
    tell(hello)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await serving
    await telemetry.close()
    checkins, _ = await analytics.count()
    rows = len(await contacts.load())
    loss = telemetry.points.loss()
    tell(
        {
            "checkins": checkins,
            "contacts": rows,
            "dropped": loss.dropped,
            "poisoned": loss.poisoned,
            "mib": memory_mib(),
            "cpu_s": sum(os.times()[:2]),
        }
    )
    await analytics.close()
    await contacts.close()


def main() -> None:
    """Pin to the core named, and serve."""
    folder, machines, core = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, {core})
    sys.setswitchinterval(0.0005)  # a writer's burst of Python holds the loop no longer than this
    import uvloop  # noqa: PLC0415  after pinning, so that its threads inherit it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(folder, machines))


if __name__ == "__main__":
    main()
