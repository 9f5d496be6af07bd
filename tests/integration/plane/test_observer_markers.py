"""Through flips of consent and kills on both sides, each line is stored once, none before a yes.

A home is written to all the while. The suite runs a few flips; twenty with HOLDFAST_WHOLE=1.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.wire.api.consent import ConsentGrant, ConsentRevoke
from holdfast.wire.consent import TEXT_VERSION, ContentClass
from tests.support.observed import Observed
from tests.support.planes import plane_at, until
from tests.support.slices import slice_of

CLASSES: tuple[ContentClass, ...] = ("transcripts", "logs")
PAUSE_S = 0.05
"""Between two lines."""


class Writer:
    """Writes lines with a marker each to a session and to a log, until `stop`."""

    def __init__(self, one: Observed) -> None:
        self._one = one
        self._log = one.home / ".openclaw/logs/openclaw-2026-11-30.log"
        self._log.parent.mkdir(parents=True)
        self._stopped = threading.Event()
        self.written: list[str] = []
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            marker = f"MARKER-{len(self.written)}-"
            if len(self.written) % 3:
                self._one.say(marker)
            else:
                with self._log.open("a") as file:
                    file.write(json.dumps({"0": marker, "time": "2026-11-30T10:00:00Z"}) + "\n")
            self.written.append(marker)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def arrived(one: Observed) -> Counter[str]:
    """Return how often the plane has each marker."""
    return Counter(re.findall(r'"(?:text|0)": ?"(MARKER-\d+-)"', one.arrived()))


def flip(one: Observed, *, to: bool) -> None:
    """Grant or revoke; return once the observer has written down that it follows."""
    path = {"id": one.node.id}
    with one.plane.client() as client:
        if to:
            grant = ConsentGrant(classes=CLASSES, text_version=TEXT_VERSION, backfill="everything")
            client.call("consent.grant", path=path, body=grant)
        else:
            client.call("consent.revoke", path=path, body=ConsentRevoke(classes=CLASSES))
        client.call("content.node", path=path)  # somebody looks: the observer is woken

        def follows() -> bool:
            told = client.call("consent.get", path=path)
            gate = json.loads((one.folder / "state/observer/gate.json").read_text())
            return not told.unsigned and bool(gate["number"] == told.grant_number)

        until("the observer follows", follows, seconds=30)


def kill_observer(one: Observed) -> None:
    running = one.running()
    running.kill()
    until(
        "another observer runs",
        lambda: (found := one.observer()) and found.pid != running.pid,
        seconds=60,  # each end of a run shorter than a minute doubles the wait
    )


def kill_plane(one: Observed) -> None:
    one.plane.kill()
    one.plane.start()
    until("its node is heard again", one.online, seconds=90)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Observed]:
    with plane_at(tmp_path / "home", HOLDFAST_OBSERVERS="true") as plane:
        yield Observed.created(plane, "flipped")


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_each_line_is_stored_once_and_none_before_a_yes(one: Observed) -> None:
    flips = slice_of(20, here=4)
    writer = Writer(one)
    try:
        until("some lines are written", lambda: len(writer.written) > 20)
        assert one.sizes() == (0, 0), "nothing was stored, and nothing tried"
        closed: Counter[str] | None = Counter()
        for number in range(flips):
            if closed is not None:
                assert arrived(one) == closed, "nothing is stored while it is not allowed"
            flip(one, to=number % 2 == 0)
            # What the plane has once a revocation was answered is all that it gets.
            closed = arrived(one) if number % 2 else None
            if number % 8 in {1, 4, 5}:
                kill_plane(one)
            elif number % 8 in {2, 7}:
                kill_observer(one)
        if flips % 2 == 0:
            flip(one, to=True)
    finally:
        writer.stop()
    until(
        "every line is stored",
        lambda: len(arrived(one)) == len(writer.written),
        seconds=120,
    )
    assert arrived(one) == Counter(writer.written)
