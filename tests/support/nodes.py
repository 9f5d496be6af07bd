"""Nodes in the data folder of a plane that does not run: no client is there to register one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import make_plane
from tests.support.logs import Lines


async def register_nodes(home: Path, names: Sequence[str], *, account: str = "local") -> list[str]:
    """Have nodes register as programs do, and return their ids."""
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True
    )
    plane = await make_plane(chosen, clock=SystemClock(), log=Lines(), url="http://plane.test")
    try:
        await plane.start()
        return [
            await plane.subjects.consent.nodes.register(
                account, name, instance="", source="auto", by="observer",
                credential="observer:cm_1",
            )
            for name in names
        ]  # fmt: skip
    finally:
        await plane.stop()
