"""Figure: the key that signs consent replaced under 10,000 nodes with something granted.

    python -m tests.bench.bench_rotation [--nodes 10000] [--json]

A whole plane in this process with its real stores and key. From the rotation's answer until every
grant in force is signed with the new key, while owners decide about other nodes, one after another.
It is stopped once in the middle and started again: what was left is all that is done then.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from holdfast.consent import events
from holdfast.consent.definition import KIND, arrival
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import address
from holdfast.plane.consent_key import rotate_consent_key
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.wire.consent import CLASSES, node_of_name
from tests.bench.figures import parser, percentiles, tell
from tests.support.logs import Lines
from tests.support.patience import patience

NODES: Final = 10_000
OTHERS: Final = 300
GROUP: Final = 200
OWNER: Final[dict[str, Any]] = {"by": "ann", "credential": "session:ann"}
DECISION_MS_MAX: Final = 1_000.0


async def opened(home: Path) -> Plane:
    """Return a plane that serves nobody."""
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True
    )
    plane = await make_plane(chosen, clock=SystemClock(), log=Lines(), url="http://plane.test")
    await plane.start()
    return plane


async def grant(plane: Plane, nodes: list[str]) -> None:
    """Have nodes register and be granted everything, signed."""
    index = plane.subjects.consent.index
    for first in range(0, len(nodes), GROUP):
        names = nodes[first : first + GROUP]
        rows = []
        for name in names:
            actor = address(KIND, node_of_name("local", name))
            made = events.NodeRegistered(account="local", name=name, **OWNER)
            yes = events.ConsentGranted(classes=CLASSES, **OWNER)
            rows.append((actor, arrival(made, dedupe="made", source="api")))
            rows.append((actor, arrival(yes, dedupe="yes", source="api")))
        await plane.core.mailbox.tell(rows)
        async with asyncio.timeout(patience(60)):
            while not all(_is_signed(plane, name) for name in names):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert index.counts(None)["granted"] >= len(nodes)


def _is_signed(plane: Plane, name: str) -> bool:
    state = plane.subjects.consent.index.of(node_of_name("local", name))
    return state is not None and state.grant is not None and not state.unsigned


async def decide(plane: Plane, names: list[str], spent: list[float], stop: asyncio.Event) -> None:
    """Revoke for one node after another; keep the ms until each is in force."""
    for name in names:
        row = arrival(events.ConsentRevoked(classes=("logs",), **OWNER), dedupe="no", source="api")
        began = time.perf_counter()
        actor = address(KIND, node_of_name("local", name))
        answer = await plane.core.mailbox.ask(actor, row, wait_ms=60_000)
        assert answer.stamp is not None
        assert answer.stamp.outcome == "applied", answer.stamp
        spent.append((time.perf_counter() - began) * 1_000)
        if stop.is_set():
            return
        await asyncio.sleep(0.05)


async def renew(plane: Plane, others: list[str]) -> dict[str, Any]:
    """Return what it takes to renew what is outdated, and what decisions beside it take."""
    consent, key = plane.subjects.consent, plane.core.consent_key
    left = consent.index.signed_with_others(key.key_id)
    spent, stop = list[float](), asyncio.Event()
    deciding = asyncio.create_task(decide(plane, others, spent, stop))
    began = time.perf_counter()
    await consent.renewal.run()
    took_s = time.perf_counter() - began
    stop.set()
    await deciding
    return {"left": left, "s": took_s, "ms": spent,
            "after": consent.index.signed_with_others(key.key_id)}  # fmt: skip


async def measure(home: Path, nodes: int) -> dict[str, Any]:
    """Rotate under all, stop in the middle, and go on."""
    names = [f"node-{number}" for number in range(nodes)]
    others = [f"other-{number}" for number in range(OTHERS)]
    plane = await opened(home)
    began = time.perf_counter()
    await grant(plane, names)
    await grant(plane, others)
    granting_s = time.perf_counter() - began
    folder = plane.core.settings.keys_folder
    before = (home / "journal.db").stat().st_size
    plane.core.consent_key.follow(rotate_consent_key(folder, now_ms=1))
    quiet = await renew(plane, others[: OTHERS // 2])
    plane.core.consent_key.follow(rotate_consent_key(folder, now_ms=2))
    running = asyncio.create_task(plane.subjects.consent.renewal.run())
    index, key = plane.subjects.consent.index, plane.core.consent_key.key_id
    while index.signed_with_others(key) > nodes // 2:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await plane.stop()
    plane = await opened(home)
    try:
        again = await renew(plane, others[OTHERS // 2 :])
    finally:
        await plane.stop()
    return {
        "nodes": nodes,
        "granted and signed, s": round(granting_s, 1),
        "renewed": quiet["left"] - quiet["after"],
        "renewed, s": round(quiet["s"], 1),
        "nodes a second": round(quiet["left"] / quiet["s"]),
        "a revocation meanwhile, ms": percentiles(quiet["ms"], digits=1),
        "left after a stop in the middle": again["left"],
        "of these renewed after the start, s": round(again["s"], 1),
        "not renewed in the end": quiet["after"] + again["after"],
        "journal, bytes a node and rotation": round(
            ((home / "journal.db").stat().st_size - before) / nodes / 2
        ),
    }


def main() -> None:
    """Measure and print; exit with 1 if a figure was missed."""
    options = parser(__doc__)
    options.add_argument("--nodes", type=int, default=NODES)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder) / "home", asked.nodes))
    tell("rotation", found, as_json=asked.json)
    slow = found["a revocation meanwhile, ms"]["p99"] > DECISION_MS_MAX
    sys.exit(bool(found["not renewed in the end"]) or slow)


if __name__ == "__main__":
    main()
