"""Figures: from an owner's yes to the first content at the plane, and from a no to nothing sent.

    python -m tests.bench.bench_consent [--rounds 20] [--json]

A real machine with its real observer, whose agent writes a line of a session every 100 ms. Each
round grants transcripts, waits for stored content, revokes them, and waits until the observer says
that its gate is closed; what comes from when that is noticed (within 0.3 s) is counted. First with
nobody looking at the node (the list of nodes, which is asked here, is no look), then with somebody
who asks for it every 2 s.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from holdfast.cli.client import Client
from holdfast.wire.api.consent import ConsentGrant, ConsentRevoke
from holdfast.wire.consent import TEXT_VERSION
from tests.bench.figures import parser, percentiles, tell
from tests.support.observed import Observed
from tests.support.planes import plane_at, until

ROUNDS: Final = 20
WRITE_S: Final = 0.1
LOOK_S: Final = 2.0
AFTER_S: Final = 1.5
"""How long nothing more may come after a gate said that it is closed."""
LOOKING_S_MAX: Final = 5.0
OTHERWISE_S_MAX: Final = 75.0
NO_S_MAX: Final = 60.0


@contextmanager
def again_and_again(every_s: float, work: Any) -> Iterator[None]:
    """Do something on a thread until the end."""
    stop = threading.Event()

    def run() -> None:
        count = 0
        while not stop.wait(every_s):
            work(count)
            count += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Rounds:
    """Yes and no, again and again, to one node."""

    def __init__(self, observed: Observed, client: Client) -> None:
        self.observed = observed
        self.client = client
        self.node = observed.node.id
        self.yes: list[float] = []
        self.no: list[float] = []
        self.late_bytes = 0

    def _sizes(self) -> tuple[int, int]:
        items = self.client.call("content.nodes", query={"limit": "500"}).items
        found = next(one for one in items if one.id == self.node)
        return found.stored_bytes, found.refused_bytes

    def _closed(self) -> int:
        return len(self.observed.told("gate.closed"))

    def turn(self) -> None:
        """Grant, see content, revoke, and see the end of it."""
        before, closed = self._sizes()[0], self._closed()
        grant = ConsentGrant(
            classes=("transcripts",), backfill="everything", text_version=TEXT_VERSION
        )
        began = time.monotonic()
        self.client.call("consent.grant", path={"id": self.node}, body=grant)
        until("content is stored", lambda: self._sizes()[0] > before, seconds=90)
        self.yes.append(time.monotonic() - began)
        began_ms = time.time() * 1_000
        revoke = ConsentRevoke(classes=("transcripts",))
        self.client.call("consent.revoke", path={"id": self.node}, body=revoke)
        until("the gate is closed", lambda: self._closed() > closed, seconds=90)
        at_ms = self.observed.told("gate.closed")[-1]["at_ms"]
        self.no.append(max(0.0, at_ms - began_ms) / 1_000)
        stored, refused = self._sizes()
        time.sleep(AFTER_S)
        after = self._sizes()
        self.late_bytes += after[0] - stored + after[1] - refused


def measure(home: Path, rounds: int) -> dict[str, Any]:
    """Return the figures."""
    found: dict[str, Any] = {}
    with plane_at(home, HOLDFAST_OBSERVERS="true") as plane, plane.client() as client:
        observed = Observed.created(plane, "watched")
        with again_and_again(WRITE_S, lambda count: observed.say(f"line-{time.time_ns()}-{count}")):
            away = Rounds(observed, client)
            for _ in range(rounds):
                away.turn()
            with plane.client() as looking:

                def look(_count: int) -> None:
                    looking.call("content.node", path={"id": away.node})

                near = Rounds(observed, client)
                look(0)
                with again_and_again(LOOK_S, look):
                    for _ in range(rounds):
                        near.turn()
    for name, one in (("nobody looks", away), ("somebody looks", near)):
        found |= {
            f"yes to first content, {name}, s": percentiles(one.yes, digits=2),
            f"no to a closed gate, {name}, s": percentiles(one.no, digits=2),
            f"bytes sent after it closed, {name}": one.late_bytes,
        }
    return found


def main() -> None:
    """Measure and print; exit with 1 if a figure was missed."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "home", asked.rounds)
    tell("consent", found, as_json=asked.json)
    missed = found["yes to first content, somebody looks, s"]["max"] > LOOKING_S_MAX
    missed |= found["yes to first content, nobody looks, s"]["max"] > OTHERWISE_S_MAX
    for name in ("nobody looks", "somebody looks"):
        missed |= found[f"no to a closed gate, {name}, s"]["max"] > NO_S_MAX
        missed |= found[f"bytes sent after it closed, {name}"] > 0
    sys.exit(missed)


if __name__ == "__main__":
    main()
