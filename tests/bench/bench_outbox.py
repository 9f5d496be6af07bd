"""What enqueueing costs a caller: `python -m tests.bench.bench_outbox`.

Each figure is of one run on this machine; beside them stands what one fdatasync costs here and
now, because a durable call cannot be quicker than that.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.outbox import Answer, Answered, Batch, Failed, open_outbox
from tests.bench.figures import parser, percentiles, tell

PAYLOAD = {"draft": "word " * 20, "final": "other " * 20, "category": "STYLE"}
ENOUGH_S = 30.0
P50_MS_MAX = 1.0
SYNCS_MAX = 2


def spread(times_s: list[float]) -> dict[str, float]:
    """Milliseconds of the middle and of the slow end."""
    return percentiles([time_s * 1e3 for time_s in times_s])


def disk(folder: Path, calls: int) -> dict[str, float]:
    """One page appended and synced, as the least a durable call can do."""
    times: list[float] = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(calls):
            start = time.perf_counter()
            file.write(b"x" * 4_096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return spread(times)


def taken(batch: Batch) -> Answer:
    """Take everything."""
    return Answered(frozenset(item.event_id for item in batch.items), {})


def refused(_batch: Batch) -> Answer:
    """Fail as a closed port does."""
    return Failed(None, "refused", None)


def slow_for(seconds: float, let_go: threading.Event) -> Callable[[Batch], Answer]:
    """Answer late; `let_go` ends the wait when the measurement is over."""

    def sender(batch: Batch) -> Answer:
        let_go.wait(seconds)
        return taken(batch)

    return sender


def enqueue(durability: str, sender: Callable[[Batch], Answer] | None, calls: int) -> Any:
    """Time `calls` enqueues after a few to warm up."""
    with tempfile.TemporaryDirectory() as name:
        box = open_outbox(name, sender=sender, durability=durability, notice=lambda _text: None)
        times: list[float] = []
        for n in range(calls + 20):
            start = time.perf_counter()
            receipt = box.enqueue("correction", f"e{n}", PAYLOAD)
            if n >= 20:
                times.append(time.perf_counter() - start)
            if receipt.state != "stored":
                raise RuntimeError(receipt.reason)
        box.close(0)
        return spread(times)


def arrival(count: int) -> dict[str, float]:
    """From the call's return to the sender being handed the row, one every 1.2 s or so."""
    arrived = threading.Event()
    times: list[float] = []

    def sender(batch: Batch) -> Answer:
        arrived.set()
        return taken(batch)

    with tempfile.TemporaryDirectory() as name, open_outbox(name, sender=sender) as box:
        for n in range(count):
            arrived.clear()
            box.enqueue("correction", f"e{n}", PAYLOAD)
            start = time.perf_counter()
            if not arrived.wait(ENOUGH_S):
                raise RuntimeError("never arrived")
            times.append(time.perf_counter() - start)
            time.sleep(1.2)
    return spread(times)


def syncs_per_call() -> float | None:
    """Syncs to disk in a call, counted by strace; None where there is none."""
    body = (
        "import tempfile, os\nfrom holdfast.outbox import open_outbox\n"
        "box = open_outbox(tempfile.mkdtemp())\n"
        "for n in range(20): box.enqueue('event', f'w{n}', {})\n"
        "os.getppid()\nfor n in range(50): box.enqueue('event', f'e{n}', {})\n"
        "os.getppid()\nos._exit(0)\n"
    )
    try:
        done = subprocess.run(
            ["strace", "-f", "-e", "trace=getppid,fsync,fdatasync,sync_file_range,msync",
             sys.executable, "-c", body],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    between = done.stderr.split("getppid()")[1]
    return between.count("sync(") / 50


def fresh(body: str) -> float:
    """Run `body` in a new interpreter, and return the number it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )  # fmt: skip
    return float(done.stdout.split()[-1])


RSS = "\nprint(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmRSS')))"
OPENED = (
    "import tempfile\nfrom holdfast.outbox import open_outbox\n"
    "box = open_outbox(tempfile.mkdtemp(), sender=lambda batch: None, gate=lambda: 'shut')\n"
    "box.enqueue('event', 'a', {})"
)


def footprint() -> dict[str, float]:
    """Import (milliseconds, best of nine) and memory over the bare interpreter (MB)."""
    timed = (
        "import time; t = time.perf_counter(); import {}; print((time.perf_counter() - t) * 1e3)"
    )
    bare = min(fresh("pass" + RSS) for _ in range(3))
    opened = min(fresh(OPENED + RSS) for _ in range(3))
    return {
        "import_package_ms": round(
            min(fresh(timed.format("holdfast.outbox")) for _ in range(9)), 2
        ),
        "import_all_ms": round(
            min(fresh(timed.format("holdfast.outbox.box")) for _ in range(9)), 2
        ),
        "opened_mb": round((opened - bare) / 1024, 2),
    }


def main() -> None:
    """Measure, print, and fail where a durable call is slower or syncs more than it may."""
    made = parser(__doc__)
    made.add_argument("--calls", type=int, default=400)
    asked = made.parse_args()
    let_go = threading.Event()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        figures["one fdatasync here, ms"] = disk(Path(name), asked.calls)
    for durability in ("memory", "process", "power"):
        figures[f"enqueue, {durability}, ms"] = enqueue(durability, None, asked.calls)
    cases: dict[str, Callable[[Batch], Answer]] = {
        "up": taken,
        "refusing": refused,
        "black-holed": slow_for(ENOUGH_S, let_go),
        "answering in 10 s": slow_for(10.0, let_go),
    }
    middles = []
    for name, sender in cases.items():
        measured = enqueue("power", sender, asked.calls)
        figures[f"enqueue, power, other side {name}, ms (p50 at most 1, p99 10)"] = measured
        middles.append(measured["p50"])
    let_go.set()
    figures["call's return to sender, ms"] = arrival(8)
    syncs = syncs_per_call()
    figures["syncs to disk in a call (at most 2)"] = syncs
    figures["footprint"] = footprint()
    tell("outbox", figures, as_json=asked.json)
    if max(middles) > P50_MS_MAX or (syncs or 0) > SYNCS_MAX:
        sys.exit("missed its figures")


if __name__ == "__main__":
    main()
