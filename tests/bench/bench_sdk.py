"""What recording a correction costs, beside the real gradata 0.6.0: `python -m tests.bench sdk`.

The other SDK is installed from its index into an environment of its own (`--real PATH` names one
that is there already, `--real none` leaves it out). Both run the same texts in the same minute on
the same disk; ratios are theirs to ours. Each figure is judged against the one that was promised.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import parser, percentiles, tell
from tests.bench.sdk_planes import Plane, black_hole, build_shim, certificate, plane, refusing

ROOT: Final = Path(__file__).parents[2]
WORKER: Final = Path(__file__).with_name("sdk_worker.py")
REAL: Final = "gradata==0.6.0"
SHORT: Final = {"chars": 100, "changed": 0.1}
EIGHT: Final = {"chars": 8_000, "changed": 0.08}
TWENTY: Final = {"chars": 20_000, "changed": 0.3}
BARE: Final = "\nimport sys\nsys.stdout.write(str(rss()))"
RSS: Final = (
    "def rss():\n"
    "    with open('/proc/self/status') as file:\n"
    "        return int(next(l for l in file if l.startswith('VmRSS')).split()[1]) / 1024\n"
)
OPEN: Final = RSS + (
    "import time; start = time.perf_counter()\n"
    "from holdfast.sdk import Brain\n"
    "import_ms = (time.perf_counter() - start) * 1e3\n"
    "brain = Brain({folder!r}, url={url!r} or None, api_key='k', notice=lambda text: None)\n"
    "brain.correct('We utilize the tool.', 'We use the tool.')\n"
)
SEND: Final = OPEN + ("flushed = brain.flush(20)\nassert not flushed.pending, flushed.reason\n")
PARTS: Final = ("footprint", "latency", "threads")
IMPORT: Final = (
    "import sys, time; start = time.perf_counter()\n"
    "from holdfast.sdk import Brain\n"
    "sys.stdout.write(str((time.perf_counter() - start) * 1e3))"
)


class Bench:
    """Runs workers, and keeps what was found and what was missed."""

    def __init__(self, folder: Path, real: str) -> None:
        self.folder = folder
        self.figures: dict[str, Any] = {}
        self.missed: list[str] = []
        self.shim = build_shim(folder)
        self.pythons = {"holdfast": sys.executable}
        found = self._real(real)
        if found:
            self.pythons["gradata"] = found

    def _real(self, asked: str) -> str:
        if asked == "none":
            return ""
        if asked:
            return str(Path(asked) / "bin" / "python")
        made = self.folder / "real"
        subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
        done = subprocess.run(
            [str(made / "bin" / "python"), "-m", "pip", "install", "-q", REAL],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            self.figures["gradata"] = f"not installed: {done.stderr.strip()[-200:]}"
            return ""
        return str(made / "bin" / "python")

    def work(self, task: str, sdk: str, *, sync_us: int = 0, **arguments: Any) -> dict[str, Any]:
        """Run one task of sdk_worker.py in a new interpreter; its answer."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src") if sdk == "holdfast" else "",
            "PYTHONDONTWRITEBYTECODE": "",
            "LD_PRELOAD": str(self.shim),
            "BENCH_SYNC_US": str(sync_us),
            "HOLDFAST_KEY_FILE": str(self.folder / "none"),
            "HOME": str(self.folder),
            "GRADATA_TELEMETRY": "0",
        }
        done = subprocess.run(
            [self.pythons[sdk], str(WORKER), task, sdk, json.dumps(arguments)],
            env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=600,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def judge(self, name: str, value: float, most: float) -> None:
        """Keep the name of what was missed."""
        if value > most:
            self.missed.append(f"{name}: {value:g}, at most {most:g}")

    def compare(
        self, name: str, ours: int, theirs: int, text: dict[str, float], *, p50: float,
        p99: float = 0.0, url: str = "", sync_us: int = 0,
    ) -> None:  # fmt: skip
        """Measure both SDKs on the same texts, and judge ours."""
        found = self.work("calls", "holdfast", sync_us=sync_us, count=ours, url=url, **text)
        spread = percentiles(found["times_ms"])
        self.judge(f"{name} p50", spread["p50"], p50)
        if p99:
            self.judge(f"{name} p99", spread["p99"], p99)
        self.judge(f"{name} syncs", found["syncs"], 2)
        shown: dict[str, Any] = {**spread, "syncs": found["syncs"]}
        if theirs and "gradata" in self.pythons:
            other = self.work("calls", "gradata", sync_us=sync_us, count=theirs, url="", **text)
            real = percentiles(other["times_ms"])
            ratio = round(real["p50"] / spread["p50"], 1)
            shown |= {"theirs p50": real["p50"], "p99": spread["p99"], "ratio": ratio}
            shown |= {"theirs p99": real["p99"], "theirs syncs": other["syncs"]}
        self.figures[f"{name} (p50 at most {p50:g})"] = shown


def disk(bench: Bench) -> None:
    """Show what one sync costs here, as the least a durable call can do."""
    times: list[float] = []
    with (bench.folder / "probe").open("wb", buffering=0) as file:
        for _ in range(200):
            start = time.perf_counter()
            file.write(b"x" * 4_096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1e3)
    bench.figures["one fdatasync here, ms"] = percentiles(times)


def latency(bench: Bench, count: int) -> None:
    """Measure a call with the plane in each of its moods, and with longer texts."""
    moods: dict[str, Callable[[], AbstractContextManager[str]]] = {
        "up": plane, "refusing": refusing, "black-holed": black_hole,
        "answering in 10 s": lambda: plane(10.0),
    }  # fmt: skip
    for mood, address in moods.items():
        with address() as url:
            theirs = count // 2 if mood == "up" else 0
            bench.compare(
                f"correct, plane {mood}, ms", count, theirs, SHORT, p50=1.0, p99=10.0, url=url
            )
    with plane() as url:
        bench.compare("correct, 8 kB, ms", count // 5, 5, EIGHT, p50=5.0, url=url)
        bench.compare("correct, 20 kB, ms", count // 8, 1, TWENTY, p50=12.0, url=url)
        bench.compare(
            "correct, 2 ms more a sync, ms", count // 3, count // 6, SHORT, p50=6.0, url=url,
            sync_us=2_000,
        )  # fmt: skip


def fresh(code: str, **environment: str) -> float:
    """Run code in a new interpreter, without a site's own packages; the number it prints."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "",
             "HOLDFAST_KEY_FILE": "/nonexistent", **environment},
    )  # fmt: skip
    return float(done.stdout)


def footprint(bench: Bench) -> None:
    """Measure import and memory over the bare interpreter."""
    import_ms = min(fresh(IMPORT) for _ in range(15))
    bench.figures["import, ms, best of 15 (at most 15)"] = round(import_ms, 2)
    bench.judge("import, ms", import_ms, 15)
    bare = min(fresh(RSS + BARE) for _ in range(3))

    def over(code: str, url: str, **environment: str) -> float:
        found = []
        for n in range(3):
            folder = str(bench.folder / f"brain-{len(code)}-{n}")
            found.append(fresh(code.format(folder=folder, url=url) + BARE, **environment))
        return round(min(found) - bare, 2)

    opened = over(OPEN, "")
    bench.figures["memory, a brain open and one correction made, MB (at most 7)"] = opened
    bench.judge("memory before the first send", opened, 7)
    pem = certificate(bench.folder)
    server = Plane(certificate=pem)
    sent = over(SEND, server.url, SSL_CERT_FILE=str(bench.folder / "cert.pem"))
    server.close()
    bench.figures["memory, after one was sent over HTTPS, MB (at most 13)"] = sent
    bench.judge("memory after one over HTTPS", sent, 13)


def crowd(bench: Bench, seconds: float) -> None:
    """Measure what a loop keeps beside 200 threads that record a correction a second each."""
    with plane() as url:
        found = bench.work(
            "beside", "holdfast", threads=200, seconds=seconds, rounds=3, url=url, loop=True
        )
        idle = bench.work(
            "beside", "holdfast", threads=200, seconds=seconds, rounds=3, url=url, loop=False
        )
    bench.figures["200 threads, a correction a second each, no loop"] = idle
    bench.figures["a loop beside 200 threads keeps, percent (at least 99)"] = found
    bench.judge("corrections not kept beside a loop", found["not_kept"], 0)
    bench.judge("a loop loses, percent", 100 - found["kept_percent"], 1)


def main() -> None:
    """Measure, print, and fail where a figure was missed."""
    made = parser(__doc__)
    made.add_argument("--calls", type=int, default=300)
    made.add_argument("--seconds", type=float, default=5.0, help="of each round beside a crowd")
    made.add_argument("--real", default="", help="an environment with gradata, or none")
    made.add_argument("--only", choices=PARTS, help="measure one part")
    asked = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked.real)
        disk(bench)
        if asked.only in {None, "footprint"}:
            footprint(bench)
        if asked.only in {None, "latency"}:
            latency(bench, asked.calls)
        if asked.only in {None, "threads"}:
            crowd(bench, asked.seconds)
    bench.figures["missed"] = bench.missed or "nothing"
    tell("sdk", bench.figures, as_json=asked.json)
    if bench.missed:
        sys.exit("missed its figures")


if __name__ == "__main__":
    main()
