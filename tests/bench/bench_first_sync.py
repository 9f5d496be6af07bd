"""The first sync of a large home: heartbeats meanwhile, progress that is told, memory.

    python -m tests.bench.bench_first_sync [--megabytes 1000] [--files 200] [--nice 10]
        [--minutes 60] [--json]

A real observer, confined as under a controller, and a plane in this process that throws away what
it gets. Somebody looks, so a heartbeat is due every 3 s; `heartbeats_late_s` is how much longer one
took to come. `rss_mib` and `pss_mib` are the memory of the observer with what it started, sampled
once a second; `rss_by_tenth` is its resident set in each tenth of the run, which shows whether it
grows. On a machine with other work `--nice` gives it and the plane another priority than the
observer's own, 10. What was reached after `--minutes` is printed, and counts as missed.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from holdfast.machine.controller.observing import protocol
from holdfast.machine.observer import limits
from tests.bench.figures import parser, percentiles, tell
from tests.support.recording_plane import QUESTIONS, RecordingPlane, Request, register_home

LATE_S = 5.0
MEMORY_MIB = 40.0
_MIB = 1_048_576
_WORDS = "the agent reads a file and runs a tool then says what it found and asks what is next"
_NICE = 10


class SinkPlane(RecordingPlane):
    """Counts content and keeps none of it."""

    def __init__(self) -> None:
        """Allow transcripts, as to an owner who looks."""
        super().__init__()
        self.events = 0
        self.body_bytes = 0
        self.beats_s: list[float] = []

    def answer(self, path: str, raw: bytes, size: int, proof: str) -> tuple[int, bytes]:
        """Count, and answer as a plane does that takes everything."""
        with self.lock:
            self.wire.clear()
            if path == "/ingest/heartbeat":
                self.beats_s.append(time.monotonic())
            elif path not in QUESTIONS:
                self.events += len(json.loads(raw)["event_ids"])
                self.body_bytes += size
                raw = b""
            self.requests = [Request("/ingest/heartbeat", {}, 0, 0.0)] * len(self.beats_s)
            more = {"viewer_active": True, "caps": {"blob_gzip": True}}
            return 200, json.dumps({**self._said(path), **more}).encode()


def fill(home: Path, megabytes: int, files: int) -> int:
    """Write transcripts; return how many lines."""
    folder = home / ".openclaw/agents/main/sessions"
    folder.mkdir(parents=True)
    each, lines = megabytes * 1_000_000 // files, 0
    for number in range(files):
        words = itertools.cycle(_WORDS.split())
        with (folder / f"s{number}.jsonl").open("w") as file:
            while file.tell() < each:
                text = f"{number} {lines} " + " ".join(itertools.islice(words, 160 + lines % 37))
                usage = {"input": 900, "output": 120, "cacheRead": 0, "cacheWrite": 0}
                content = [{"type": "text", "text": text}]
                message = {"role": "assistant", "content": content, "usage": usage, "model": "m"}
                row = {"type": "message", "id": f"{number}-{lines}", "message": message,
                       "timestamp": "2026-11-30T10:00:00Z"}  # fmt: skip
                file.write(json.dumps(row) + "\n")
                lines += 1
    return lines


class Watched:
    """An observer, its memory and what it says of its work."""

    def __init__(self, home: Path, plane: SinkPlane, *, nice: int) -> None:
        """Start it."""
        environ = {
            "HOME": str(home), "HOLDFAST_AGENT_HOME": str(home), "PATH": os.environ["PATH"],
            "HOLDFAST_OBSERVER_HOME": str(home.parent / "observer"), protocol.WITHIN: str(home),
            "HOLDFAST_PLANE_URL": plane.url, "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.machine.observer"], env=environ, stdout=subprocess.PIPE
        )
        self.nice = nice
        self.seen = psutil.Process(self.process.pid)
        self.works: list[dict[str, Any]] = []
        self.resident: list[float] = []
        self.proportional: list[float] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode()
            if line.startswith(protocol.WORK):
                self.works.append(json.loads(line.removeprefix(protocol.WORK)))
            else:
                sys.stderr.write(line)

    def sample(self) -> None:
        """Note its memory now."""
        full = []
        for each in (self.seen, *self.seen.children()):
            with suppress(psutil.NoSuchProcess):  # a query's process ends at any moment
                full.append(each.memory_full_info())
        self.resident.append(sum(one.rss for one in full) / _MIB)
        self.proportional.append(sum(one.pss for one in full) / _MIB)
        if self.nice != _NICE:
            for process in (self.process.pid, os.getpid()):
                for task in Path(f"/proc/{process}/task").iterdir():
                    with suppress(ProcessLookupError):
                        os.setpriority(os.PRIO_PROCESS, int(task.name), self.nice)

    def tenths(self) -> list[float]:
        """Return the largest resident set of each tenth of the run."""
        size = -(-len(self.resident) // 10)
        starts = range(0, len(self.resident), size)
        return [round(max(self.resident[start : start + size]), 1) for start in starts]


def main() -> None:
    """Measure and print; exit with 1 if a figure was missed."""
    options = parser(__doc__)
    options.add_argument("--megabytes", type=int, default=1_000)
    options.add_argument("--files", type=int, default=200)
    options.add_argument("--nice", type=int, default=_NICE)
    options.add_argument("--minutes", type=float, default=60.0)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        lines = fill(home, asked.megabytes, asked.files)
        plane = SinkPlane()
        register_home(home, base64.b64encode(bytes(32)).decode())
        plane.allow(("transcripts",))
        began_s = time.monotonic()
        watched = Watched(home, plane, nice=asked.nice)
        try:
            while plane.events < lines and time.monotonic() - began_s < 60 * asked.minutes:
                assert watched.process.poll() is None, "it ended"
                time.sleep(1)
                watched.sample()
            took_s = time.monotonic() - began_s
            cpu = watched.seen.cpu_times()
        finally:
            watched.process.terminate()
            watched.process.wait()
            plane.close()
    gaps = [later - before for before, later in itertools.pairwise(plane.beats_s)]
    late = [max(0.0, gap - limits.HEARTBEAT_VIEWED_MS / 1_000) for gap in gaps]
    left = [work["bytes"] for work in watched.works if work.get("sources")]
    found = {
        "megabytes": asked.megabytes, "files": asked.files, "lines": lines,
        "taken": plane.events, "took_s": round(took_s, 1), "cpu_s": round(cpu.user + cpu.system, 1),
        "sent_mb": round(plane.body_bytes / 1e6, 1),
        "heartbeats_late_s": percentiles(late, digits=2),
        "progress": {"told": len(left), "first": left[:1], "last": left[-1:]},
        "rss_mib": percentiles(watched.resident, digits=1),
        "pss_mib": percentiles(watched.proportional, digits=1),
        "rss_by_tenth": watched.tenths(),
    }  # fmt: skip
    tell("first sync", found, as_json=asked.json)
    missed = max(late) > LATE_S or max(watched.proportional) > MEMORY_MIB or plane.events != lines
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
