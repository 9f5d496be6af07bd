"""Figure: a node whose owner never says yes, for a day: no log row, at most 4 KiB kept of it.

    python -m tests.bench.bench_deferred_day [--nodes 25] [--beats 1440] [--json]

A whole plane in this process with its real stores, and a clock that is moved a day in as many steps
as there are beats. At each, every node sends a heartbeat and what the daemon sends although it is
deferred: events, log lines, sessions and memory, half of the nodes as an old release, half as a
new one; a quarter of them also in the clear. What is kept is the size of every file (stores,
write-ahead logs, the rest) less what the same plane had before they registered.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.kernel.clock import DAY_MS, SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from tests.bench.figures import parser, tell
from tests.support.asgi import call
from tests.support.logs import Lines

NODES: Final = 25
BEATS: Final = 1_440
KEPT_BYTES_MAX: Final = 4_096
OF_THE_START: Final = frozenset({"host.confinement", "host.unconfined"})
"""Lines about the host, which a plane writes some seconds after its start, whatever nodes do."""
CANARY: Final = "MARKER-never-kept"
VERSIONS: Final = ("0.12.937", "0.12.170")
_BLOB: Final = base64.b64encode(CANARY.encode() * 90).decode()


class MovedClock(SystemClock):
    """The clock of this machine, moved on by what a day is shortened by."""

    __slots__ = ("ahead_ms",)

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        """Return the time of the shortened day."""
        return super().now_ms() + self.ahead_ms

    def steady_ms(self) -> float:
        """Return the steady time of the shortened day."""
        return super().steady_ms() + self.ahead_ms


class Sender:
    """One node, as its daemon calls."""

    def __init__(self, plane: Plane, number: int) -> None:
        self._plane = plane
        self._number = number
        self._peer = f"192.0.2.{number % 250}"
        self._key = ""
        self.name = ""

    async def post(self, path: str, **body: Any) -> Any:
        """Return the answer."""
        raw = msgspec.json.encode(body)
        headers = {"content-type": "application/json", "content-length": str(len(raw))}
        if self._key:
            headers["x-api-key"] = self._key
        answer = await call(
            self._plane.app, "POST", path, headers=headers, body=raw, peer=self._peer
        )
        assert answer.status in {200, 403}, (answer.status, answer.body)
        return answer.json()

    async def register(self) -> None:
        """Get a key, as a program does."""
        made = await self.post("/api/register", hostname=f"box-{self._number}", source="kiloclaw")
        self._key, self.name = made["api_key"], made["node_id"]

    async def beat(self, count: int) -> None:
        """Send what a daemon sends in a minute."""
        told = await self.post(
            "/ingest/heartbeat", node_id=self.name, version=VERSIONS[self._number % 2],
            platform="Linux", e2e=True, tool_calls_today=count, messages_today=count,
            node_meta={"hostname": CANARY, "os": "Linux", "cpu_count": 2},
        )  # fmt: skip
        assert told["sync_allowed"] is False, told
        clear = self._number % 4 == 0
        said = {"id": f"e{count}", "message": {"role": "user", "content": CANARY}}
        bodies: dict[str, dict[str, Any]] = {
            "/ingest/events": {"events": [said], "session_file": f"{CANARY}.jsonl"},
            "/ingest/stream": {"lines": [f"{CANARY} {count}"]},
            "/ingest/sessions": {"sessions": [{"session_id": f"{CANARY}{count}"}]},
            "/ingest/memory": {"memory_content": [{"path": f"{CANARY}.md", "content": CANARY}]},
        }
        for path, body in bodies.items():
            sent = body if clear else {"encrypted": True, "blob": _BLOB}
            await self.post(path, node_id=self.name, **sent)


async def _day(plane: Plane, clock: MovedClock, senders: list[Sender], beats: int) -> None:
    directory = plane.subjects.content.observed.directory
    for count in range(beats):
        for sender in senders:
            await sender.beat(count)
        clock.ahead_ms += DAY_MS // beats
        await directory.flush()


async def measure(folder: Path, *, nodes: int, beats: int) -> dict[str, Any]:
    """Return what a day leaves of nodes that nobody looked at."""
    home, clock, log = folder / "home", MovedClock(), Lines()
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True
    )

    async def opened() -> Plane:
        plane = await make_plane(chosen, clock=clock, log=log, url="http://plane.test")
        await plane.start()
        return plane

    await (await opened()).stop()
    before = sizes(home)
    plane = await opened()
    senders = [Sender(plane, number) for number in range(nodes)]
    for sender in senders:
        await sender.register()
    lines = len(log.lines)
    try:
        await _day(plane, clock, senders, beats)
        logged = [name for _, name, _ in log.lines[lines:] if name not in OF_THE_START]
        running = sizes(home)
        rows = await _rows(plane, nodes)
    finally:
        await plane.stop()
    after = sizes(home)
    found = [path.name for path in home.rglob("*") if path.is_file() and _has(path)]
    return {
        "nodes": nodes,
        "beats each": beats,
        "bodies refused": rows["refused"],
        "rows of content": rows["items"],
        "log lines of the day": len(logged),
        "of which": sorted({*logged}),
        "bytes kept a node": round((sum(after.values()) - sum(before.values())) / nodes),
        "the same, by file": {
            name: round((size - before.get(name, 0)) / nodes)
            for name, size in sorted(after.items())
            if size != before.get(name, 0)
        },
        "write-ahead logs while it runs, bytes in all": sum(
            size for name, size in running.items() if name.endswith(("-wal", ".wal"))
        ),
        "files with a canary": found,
    }


def _has(path: Path) -> bool:
    raw = path.read_bytes()
    return CANARY.encode() in raw or _BLOB[:64].encode() in raw


def sizes(home: Path) -> dict[str, int]:
    """Return the size of every file of a plane, by name."""
    return {
        str(path.relative_to(home)): path.stat().st_size
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


async def _rows(plane: Plane, nodes: int) -> dict[str, int]:
    observed = plane.subjects.content.observed
    kept = await observed.store.load()
    assert len(kept.nodes) == nodes
    stored = [await observed.store.stored(node.no) for node in kept.nodes]
    return {
        "refused": sum(one.requests for *_, one in kept.refused),
        "items": sum(each.rows for one in stored for each in one),
    }


def main() -> None:
    """Measure and print; exit with 1 if a figure was missed."""
    options = parser(__doc__)
    options.add_argument("--nodes", type=int, default=NODES)
    options.add_argument("--beats", type=int, default=BEATS)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), nodes=asked.nodes, beats=asked.beats))
    tell("a day without consent", found, as_json=asked.json)
    sys.exit(
        found["bytes kept a node"] > KEPT_BYTES_MAX
        or bool(found["rows of content"] or found["log lines of the day"])
        or bool(found["files with a canary"])
    )


if __name__ == "__main__":
    main()
