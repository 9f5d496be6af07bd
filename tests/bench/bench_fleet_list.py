"""Figure: a list of 100,000 instances in at most 100 ms; with six at once, health in 50 ms (p99).

Run it: `make bench ARGS="fleet_list"`, or `python -m tests.bench.bench_fleet_list` with
`--instances`. The committed rows and last contacts of the fleet are written once into a temporary
folder; no machine runs and none checks in. A served plane is asked over HTTP for lists in every
order and by every filter, for pages in the middle, and for the fleet page. Then another process
keeps six lists in flight without a pause, while the health is asked for.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import msgspec

from holdfast.instances.index import Row
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel.clock import SystemClock
from holdfast.stores.sqlite.contact import SqliteContacts
from holdfast.stores.sqlite.fleet import SqliteFleet
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.telemetry.contact import new_contact
from holdfast.wire.api.accounts import TokenCreate
from holdfast.wire.api.instances import InstanceView, Status
from holdfast.wire.controller.checkin import MachineStatus
from holdfast.wire.times import time_text
from tests.bench import figures
from tests.bench.bench_fleet_page import ask
from tests.support.planes import PlaneProcess, until

LIST_MS = 100.0
HEALTH_MS = 50.0
INSTANCES = 100_000
ROUNDS = 40
AT_ONCE = 6
HEALTHS = 500
READY_S = 300.0
STATUSES: tuple[Status, ...] = ("running",) * 17 + ("stopped", "recovering", "provisioned")
LISTS = {
    "by name": "",
    "by last contact, the last first": "sort=-contact",
    "by last contact, the first first": "sort=contact",
    "by restarts": "sort=-restarts",
    "by load": "sort=-load",
    "by status, turned round": "sort=-status",
    "those that are stopped": "status=stopped",
    "those that need a person": "attention=true",
    "of an account": "account=account-1",
    "by a part of their names": "text=e-99",
    "by a name of none": "text=nothing",
}


def views(many: int) -> list[InstanceView]:
    """Return a fleet in twenty accounts."""
    chance = random.Random(4)
    now_ms = SystemClock().now_ms()
    return [
        InstanceView(
            id=f"{number:08x}-0000-4000-8000-000000000000", name=f"instance-{number}",
            account=f"account-{number % 20}", agent=chance.choice(("demo", "openclaw")),
            desired="running", status=chance.choice(STATUSES), restarts=chance.randrange(20),
            last_contact_at=None, created_at=time_text(now_ms - number * 1_000), region="ams",
            machine_id=f"m{number:014x}", agent_version="2026.9.6", controller_version="0.1.0",
            agent_ready=True, contact="here", epoch=1,
            attention="its machine is silent" if number % 100 == 0 else "",
        )
        for number in range(many)
    ]  # fmt: skip


async def fill(home: Path, fleet: list[InstanceView]) -> None:
    """Write the committed rows and the last contacts."""
    clock = SystemClock()
    await SqliteJournal(home / "journal.db", clock=clock).close()
    connection = apsw.Connection(str(home / "journal.db"))
    with connection:
        connection.executemany(
            "INSERT INTO view_rows (view, key, account, body, seq) VALUES (?, ?, ?, ?, 1)",
            ((INSTANCE_VIEW, v.id, v.account, msgspec.json.encode(v)) for v in fleet),
        )
    connection.close()
    contacts = SqliteContacts(home / "contact.db", clock=clock)
    rows = []
    for number, view in enumerate(fleet):
        contact = new_contact(view.id)
        contact.heard_ms = clock.now_ms() - number % 300_000
        contact.status = MachineStatus(uptime_seconds=1, load_avg_5m=number % 400 / 100)
        rows.append(contact)
    await contacts.save(rows)
    await contacts.close()


async def bytes_of_index(fleet: list[InstanceView]) -> float:
    """Return the memory that one instance takes in the index."""
    before = apsw.memory_used()
    store = SqliteFleet()
    rows = [
        Row(
            id=v.id,
            account=v.account,
            name=v.name,
            status=v.status,
            agent=v.agent,
            attention=bool(v.attention),
            created=v.created_at or "",
            restarts=1,
            contact_ms=1,
            load=1,
        )
        for v in fleet
    ]
    await store.apply(rows, [], [])
    used = apsw.memory_used() - before
    await store.close()
    return used / len(fleet)


def keep_listing(url: str, token: str, ended: Event) -> None:
    """Keep six lists in flight until told to end; each asks for another one."""

    def loop(at: int) -> None:
        queries = list(LISTS.values())
        while not ended.is_set():
            ask(url, token, f"/api/instances?{queries[at % len(queries)]}&limit=100")
            at += AT_ONCE

    threads = [threading.Thread(target=loop, args=(at,)) for at in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ready_s(plane: PlaneProcess) -> float:
    """Return the seconds until the index is filled, by the plane's log."""
    began = time.monotonic()
    until("the index is filled", lambda: "instances.indexed" in plane.log(), seconds=READY_S)
    return round(time.monotonic() - began, 1)


def deep_page(url: str, token: str) -> str:
    """Return the cursor of a page in the middle."""
    with_cursor = list_of(url, token, "/api/instances?limit=500&sort=-contact")
    for _ in range(20):
        with_cursor = list_of(
            url, token, f"/api/instances?limit=500&sort=-contact&after={quote(with_cursor)}"
        )
    return with_cursor


def list_of(url: str, token: str, path: str) -> str:
    """Return `next` of a list."""
    import http.client  # noqa: PLC0415  for this one call
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
    found: str = msgspec.json.decode(connection.getresponse().read())["next"]
    connection.close()
    return found


def measure(plane: PlaneProcess) -> dict[str, Any]:
    """Return the figures of a plane that serves the fleet."""
    (plane.home / "plane.log").unlink()
    plane.start()
    found: dict[str, Any] = {"index filled after the start, s": ready_s(plane)}
    with plane.client() as client:
        made = client.call("token.create", body=TokenCreate(name="bench", scope="operator"))
    after = deep_page(plane.url, made.token)
    paths = {name: f"/api/instances?{query}&limit=100" for name, query in LISTS.items()}
    paths["by last contact, page 100"] = f"/api/instances?sort=-contact&limit=100&after={after}"
    paths["the fleet page"] = "/"
    times: list[float] = []
    for name, path in paths.items():
        took = [ask(plane.url, made.token, path)[0] for _ in range(ROUNDS)]
        found[f"{name}, ms"] = figures.percentiles(took, digits=1)
        times += took
    found["all lists, ms (p99 at most 100)"] = figures.percentiles(times, digits=1)
    quiet = [ask(plane.url, made.token, "/health")[0] for _ in range(HEALTHS)]
    found["health, ms"] = figures.percentiles(quiet, digits=1)
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    lister = context.Process(target=keep_listing, args=(plane.url, made.token, ended))
    lister.start()
    time.sleep(3)  # the process is started and its six lists are in flight
    busy = [ask(plane.url, made.token, "/health")[0] for _ in range(HEALTHS)]
    ended.set()
    lister.join()
    found["health with six lists at once, ms (p99 at most 50)"] = figures.percentiles(
        busy, digits=1
    )
    return found


def main() -> int:
    """Measure and print; return 1 when a figure was missed."""
    parser = figures.parser(__doc__)
    parser.add_argument("--instances", type=int, default=INSTANCES)
    options = parser.parse_args()
    fleet = views(options.instances)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        plane = PlaneProcess(home)
        plane.start()  # makes the keys and the empty stores
        plane.terminate()
        asyncio.run(fill(home, fleet))
        sys.stderr.write(f"{options.instances:,} instances are written\n")
        found: dict[str, Any] = {
            "index, bytes an instance": round(asyncio.run(bytes_of_index(fleet)))
        }
        try:
            found |= measure(plane)
        finally:
            plane.close()
    figures.tell(f"lists of {options.instances:,} instances", found, as_json=options.json)
    kept = (
        found["all lists, ms (p99 at most 100)"]["p99"] <= LIST_MS
        and found["health with six lists at once, ms (p99 at most 50)"]["p99"] <= HEALTH_MS
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
