"""Figure: 27 brains restarted at once with 500 corrections pending each; ten have a legacy hook.

Run it: `make bench ARGS="fleet_of_brains"`. Each brain is a process of its own with the real
Brain and a key of its own; ten of them send the same corrections a second time, as the gradata
SDK's hook does: by /sync, 500 events in a request, under other ids, again after 10 s when they
were refused. All must arrive, once each, and no brain more than its limit in any minute.
A legacy hook uses up its brain's minute, which is why those ten take longer.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from holdfast.corrections.limits import CORRECTIONS_PER_MINUTE
from holdfast.sdk import Brain
from holdfast.wire.api.brains import BrainKeyCreate, CorrectionView
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess

BRAINS = 27
LEGACY = 10
PENDING = 500
PER_MINUTE = CORRECTIONS_PER_MINUTE
SESSION = "7"
DEADLINE_S = 300.0
HOOK_AGAIN_S = 10.0
_TOO_MANY = 429


def texts(brain: int, number: int) -> tuple[str, str]:
    """Return one correction, different from every other."""
    what = f"note {number} of brain {brain}"
    return f"We will utilize the plan for {what}.", f"We use the plan for {what}."


def fill(folder: str, brain: int) -> None:
    """Record what waits, with nowhere to send it."""
    with Brain(folder, url="", api_key="", notice=lambda _: None) as made:
        for number in range(PENDING):
            made.correct(*texts(brain, number), session=SESSION)
        made.close(0)


def sync_as_legacy(url: str, key: str, brain: int) -> int:
    """Send everything by /sync until it is taken; return how many were new there."""
    now = datetime.now(UTC).isoformat()
    events = [
        {
            "event_id": f"01LEGACY{brain:04d}{number:014d}",
            "type": "CORRECTION",
            "source": "brain.correct",
            "session": int(SESSION),
            "created_at": now,
            "data": dict(zip(("draft_text", "final_text"), texts(brain, number), strict=True)),
            "tags": [],
        }
        for number in range(PENDING)
    ]
    body = json.dumps({"brain_name": f"agent-{brain}", "manifest": {}, "events": events}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    while True:
        try:
            request = urllib.request.Request(f"{url}/api/v1/sync", body, headers)
            with urllib.request.urlopen(request, timeout=40) as answer:
                new: int = json.loads(answer.read())["ingested_count"]
                return new
        except urllib.error.HTTPError as error:
            if error.code != _TOO_MANY:
                raise
            time.sleep(HOOK_AGAIN_S)


def restart(brain: int, begin: Barrier, answers: Any, *, folder: str, url: str, key: str) -> None:
    """Be one agent: open the brain at the same moment as the others and let it send."""
    begin.wait()
    began = time.monotonic()
    new_by_hook = 0
    with Brain(folder, url=url, api_key=key) as made:
        if brain < LEGACY:
            new_by_hook = sync_as_legacy(url, key, brain)
        while made.flush(5.0).pending and time.monotonic() - began < DEADLINE_S:
            pass
        left = made.flush(0.1).pending
    answers.put((brain, time.monotonic() - began, left, new_by_hook))


def busiest_minute(rows: list[CorrectionView]) -> int:
    """Return the most corrections that were taken of one brain within 60 s."""
    window: deque[float] = deque()
    most = 0
    for row in rows:
        at_s = datetime.fromisoformat(row.received_at).timestamp()
        window.append(at_s)
        while window[0] <= at_s - 60:
            window.popleft()
        most = max(most, len(window))
    return most


def measure() -> dict[str, Any]:
    """Fill the folders, restart everybody, and look at what the plane has."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        folders = [str(Path(folder) / f"brain-{brain}") for brain in range(BRAINS)]
        with spawn.Pool(2) as pool:
            pool.starmap(fill, [(path, brain) for brain, path in enumerate(folders)])
        plane = PlaneProcess(Path(folder) / "home").start()
        try:
            with plane.client() as client:
                made = [
                    client.call(
                        "brain-key.create", body=BrainKeyCreate(name="a", brain=f"agent-{brain}")
                    )
                    for brain in range(BRAINS)
                ]
            begin, answers = spawn.Barrier(BRAINS), spawn.Queue()
            agents = [
                spawn.Process(
                    target=restart,
                    args=(brain, begin, answers),
                    kwargs={"folder": folders[brain], "url": plane.url, "key": made[brain].key},
                )
                for brain in range(BRAINS)
            ]
            for agent in agents:
                agent.start()
            told = [answers.get(timeout=DEADLINE_S + 60) for _ in agents]
            for agent in agents:
                agent.join(30)
            return judge(plane, [one.view.brain or "" for one in made], told)
        finally:
            plane.close()


def judge(
    plane: PlaneProcess, brains: list[str], told: list[tuple[int, float, int, int]]
) -> dict[str, Any]:
    """Return what arrived against what was recorded."""
    lost = doubled = foreign = busiest = both = 0
    for brain, named in enumerate(brains):
        rows = plane.corrections(named)[::-1]
        wanted = {texts(brain, number) for number in range(PENDING)}
        found = [(row.draft, row.final) for row in rows]
        lost += len(wanted - set(found))
        foreign += len(set(found) - wanted)
        doubled += len(found) - len(set(found)) + sum(row.count != 1 for row in rows)
        both += sum(len(row.routes) > 1 for row in rows)
        busiest = max(busiest, busiest_minute(rows))
    return {
        "brains": BRAINS,
        "pending_each": PENDING,
        "left_at_senders": sum(left for _, _, left, _ in told),
        "lost": lost,
        "doubled": doubled,
        "foreign": foreign,
        "came_by_both_ways": both,
        "busiest_minute_of_a_brain": busiest,
        "seconds_without_hook": percentiles([s for n, s, _, _ in told if n >= LEGACY], digits=1),
        "seconds_with_hook": percentiles([s for n, s, _, _ in told if n < LEGACY], digits=1),
    }


def main() -> None:
    """Measure, print, and exit with 1 where a figure is missed."""
    given = parser(__doc__).parse_args()
    found = measure()
    tell("27 brains restarted at once", found, as_json=given.json)
    missed = [name for name in ("left_at_senders", "lost", "doubled", "foreign") if found[name]]
    is_short = found["came_by_both_ways"] != LEGACY * PENDING
    sys.exit(1 if missed or is_short or found["busiest_minute_of_a_brain"] > PER_MINUTE else 0)


if __name__ == "__main__":
    main()
