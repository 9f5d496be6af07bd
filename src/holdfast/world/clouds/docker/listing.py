"""The engine's listing of a plane's containers."""

from __future__ import annotations

import json
from typing import Any

from aiodocker import Docker

from holdfast.kernel.outcome import Outcome
from holdfast.world.clouds.docker.answers import Listed
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.shape import LABEL_OWNER


async def list_ours(
    engine: Engine, owner: str, *labels: str, **filters: list[str]
) -> Outcome[list[Listed]]:
    """Return this plane's containers that carry all these labels, each `name=value`."""
    given = {"label": [f"{LABEL_OWNER}={owner}", *labels], **filters}
    return await engine.read(list[Listed], lambda docker: list_containers(docker, given))


async def list_containers(docker: Docker, filters: dict[str, list[str]]) -> Any:
    """Return the engine's listing of containers, running or not."""
    return await docker._query_json(  # noqa: SLF001  its own list() makes objects without types
        "containers/json", params={"all": "true", "filters": json.dumps(filters)}
    )
