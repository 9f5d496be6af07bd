"""Figure: content bytes at the socket while not consented, over 100,000 hostile answers: 0.

    python -m tests.bench.bench_gate [--cases 100000] [--seed 1] [--minutes 120]

The observer's own heart, gate, queue and connections, in this process, against a server that
records every byte that arrives and answers heartbeats as `tests.support.gate_fuzz` draws them:
absent, of wrong types, 2xx to 5xx, cut off, forged, replayed, for other nodes; some not at all.
Content is offered to the queue all the while, the observer is started again from its files now and
then, and the clock is moved by up to thirty days either way.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from holdfast.kernel.log import NoLog
from holdfast.machine.observer.cursors import Cursor
from holdfast.machine.observer.gate import encode_state
from holdfast.machine.observer.gate_file import FILE, Gate
from holdfast.machine.observer.heartbeat import Heart
from holdfast.machine.observer.registration import Registration
from holdfast.machine.observer.sealing import Name
from holdfast.machine.observer.upload import Destination, Envelope, Uploader
from holdfast.wire.consent import CLASSES
from tests.bench.bench_deferred_day import MovedClock
from tests.bench.figures import parser, tell
from tests.support.gate_fuzz import closed_gate, draw_answer
from tests.support.power_loss import scratch_folder
from tests.support.recording_plane import HANG_UP, QUESTIONS, RecordingPlane, register_home

CASES: Final = 100_000
OFFER_EVERY: Final = 10
MOVE_EVERY: Final = 250
RESTART_EVERY: Final = 1_000
MOVE_DAYS: Final = 30
CANARY: Final = "MARKER-never-sent"
KEY: Final = base64.b64encode(bytes(range(32))).decode()
_DAY_MS: Final = 86_400_000


class Node:
    """What of an observer speaks, over files that outlive it."""

    def __init__(self, folder: Path, plane: RecordingPlane, clock: MovedClock) -> None:
        self._queue = folder / "queue"
        self._home = folder / "home"
        self._plane = plane
        self._clock = clock
        self._offered = 0
        self._home.mkdir()
        self._queue.mkdir()
        register_home(self._home, KEY)
        (self._queue / FILE).write_bytes(encode_state(closed_gate()))
        (self._queue / FILE).chmod(0o600)
        self.outcomes: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        """Begin as the observer does, from what is on the disk."""
        self.gate = Gate(self._queue, clock=self._clock, log=NoLog())
        assert not self.gate.problem, self.gate.problem
        assert self.gate.pinned
        registration = Registration(
            self._home, draw=random.randbytes, clock=self._clock, log=NoLog()
        )
        assert registration.read()
        self.uploader = Uploader(
            self._queue,
            gate_of_node=self.gate,
            destination=lambda: Destination(self._plane.url, registration.key(), "host"),
            clock=self._clock,
            log=NoLog(),
            agent="bench",
        )
        self.uploader.resume()
        self.heart = Heart(
            uploader=self.uploader,
            gate_of_node=self.gate,
            registration=registration,
            register=lambda: None,
            heard=lambda _answer: None,
            version="1",
            clock=self._clock,
            log=NoLog(),
        )

    def restart(self) -> None:
        """End it, and start it again."""
        self.uploader.close()
        self.start()

    def offer(self) -> None:
        """Offer content of each class to the one door out."""
        for content in CLASSES:
            self._offered += 10
            cursor = Cursor(content, "5" * 16, "a", 1, self._offered + 10, "", 0)
            envelope = Envelope(
                content=content,
                endpoint="events",
                stream="5" * 16,
                start=self._offered,
                event_ids=(Name(f"a-{self._offered}"),),
                body=json.dumps({"blob": CANARY}),
            )
            self.outcomes[self.uploader.send(envelope, cursor)] += 1


def measure(folder: Path, *, cases: int, seed: int, minutes: float) -> dict[str, Any]:
    """Run the campaign, no longer than some minutes; return what arrived."""
    ends = time.monotonic() + minutes * 60
    draws, statuses = random.Random(seed), Counter[int]()
    arrived, found, asked = 0, 0, Counter[str]()
    clock, plane = MovedClock(), RecordingPlane()
    given = [(HANG_UP, b"")]
    plane.fault = lambda path: given[0] if path == "/ingest/heartbeat" else None
    node = Node(folder, plane, clock)
    opened = restarts = 0

    def drain() -> None:
        nonlocal arrived, found
        with plane.lock:
            arrived += plane.socket_bytes
            found += sum(CANARY.encode() in raw for raw in plane.wire)
            asked.update(one.path.removeprefix("fault:") for one in plane.requests)
            plane.socket_bytes = 0
            plane.wire.clear()
            plane.requests.clear()

    try:
        for case in range(cases):
            if time.monotonic() >= ends:
                break
            given[0] = draw_answer(draws)
            statuses[given[0][0]] += 1
            node.heart.beat()
            opened += bool(node.gate.open_classes())
            if case % OFFER_EVERY == 0:
                node.offer()
            if case % MOVE_EVERY == 0:
                clock.ahead_ms = draws.randint(-MOVE_DAYS, MOVE_DAYS) * _DAY_MS
                drain()
            if case % RESTART_EVERY == RESTART_EVERY - 1:
                node.restart()
                restarts += 1
        node.uploader.close()
        plane.drain()
        drain()
    finally:
        plane.close()
    return {
        "answers": statuses.total(),
        "by status": dict(sorted(statuses.items())),
        "times anything was open": opened,
        "offers of content": dict(node.outcomes),
        "restarts": restarts,
        "bytes at the socket": arrived,
        "requests": dict(asked),
        "requests that are no question": sum(
            many for path, many in asked.items() if path not in QUESTIONS
        ),
        "reads with content": found,
    }


def main() -> None:
    """Measure and print; exit with 1 if anything left."""
    options = parser(__doc__)
    options.add_argument("--cases", type=int, default=CASES)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--minutes", type=float, default=120.0, help="then it ends where it is")
    asked = options.parse_args()
    with scratch_folder() as folder:  # in memory: the gate syncs what it keeps
        found = measure(folder, cases=asked.cases, seed=asked.seed, minutes=asked.minutes)
    tell("gate", found, as_json=asked.json)
    names = ("times anything was open", "requests that are no question", "reads with content")
    is_idle = found["requests"].get("/ingest/heartbeat", 0) < found["answers"]
    leaks = any(found[name] for name in names) or set(found["offers of content"]) != {"closed"}
    sys.exit(leaks or is_idle)


if __name__ == "__main__":
    main()
