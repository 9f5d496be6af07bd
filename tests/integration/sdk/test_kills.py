"""Programs that are killed at random while they record and send: nothing lost, nothing doubled.

HOLDFAST_SDK_KILLS sets how often; `HOLDFAST_SDK_KILLS=1000` is the campaign.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from holdfast.sdk import Brain
from tests.integration.outbox.intake import HttpIntake, Programs
from tests.integration.sdk.programs import start
from tests.support.patience import patience
from tests.support.slices import slice_of

KILLS = int(os.environ.get("HOLDFAST_SDK_KILLS", slice_of(15, here=8)))

# One interpreter that lets children live for a moment: starting one for each would take longer.
PARENT = """
import random
kills, told = int(sys.argv[3]), sys.argv[4]
rng = random.Random(5)
import holdfast.outbox.http_sender, holdfast.outbox.drain_worker, holdfast.outbox.drain
for life in range(kills):
    child = os.fork()
    if not child:
        done = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        b = brain()
        n = 0
        while True:
            n += 1
            made = b.correct(f"life {life} says {n}", f"life {life} meant {n}", session=str(life))
            if made.queued: os.write(done, f"{made.event_id}\\n".encode())
            time.sleep(0.08)
    time.sleep(rng.random() * 0.3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
say("done")
"""


@pytest.mark.timeout(3_600)
def test_killed_at_random_nothing_is_lost_and_nothing_doubled(
    programs: Programs, plane: HttpIntake, tmp_path: Path
) -> None:
    folder, told = tmp_path / "brain", tmp_path / "told"
    program = start(programs, PARENT, folder, plane.url, KILLS, told)
    out, errors = program.communicate()
    assert out == "done\n", errors
    promised = told.read_text().split()
    with Brain(folder, url=plane.url, api_key="k", notice=lambda _text: None) as brain:
        # No more than RATE_ROWS leave in a minute, so a long campaign takes its time to drain.
        ends = time.monotonic() + patience(30 + KILLS)
        while brain.flush(10).pending:
            assert time.monotonic() < ends, brain.stats()
        stats = brain.stats()
    assert (stats.dropped, stats.lost, stats.dead) == (0, 0, 0)
    # Everything that a call had acknowledged is there, in the order of acknowledgement per source.
    assert set(promised) <= plane.stored.keys()
    # A row may be sent again after a kill, and the plane recognises it: one stored row each.
    numbers = [(row_source, row["seq"]) for row_source, row in sources(plane)]
    assert len(numbers) == len(set(numbers)) == len(plane.stored)


def sources(plane: HttpIntake) -> list[tuple[str, dict[str, object]]]:
    """Return the rows that were stored, each once, with the source that numbered them."""
    seen: dict[str, tuple[str, dict[str, object]]] = {}
    for _, body in plane.requests:
        for row in body["rows"]:
            seen.setdefault(row["event_id"], (body["source"], row))
    return list(seen.values())
