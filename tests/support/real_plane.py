"""A whole plane in this process, without a server: its application, its log, its tokens."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.relay.rate import Rate, Rates
from holdfast.relay.wrong_proofs import WrongProofs
from tests.support.asgi import call, json_headers
from tests.support.logs import Lines
from tests.support.planes import processes_of
from tests.support.walk import Tokens

PLENTY = Rate(burst=1e9, per_s=1e9)


class Log(Lines):
    """A log that keeps its lines, or only errors, with the levels that only the engine uses."""

    only_errors = False

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if level == "error" or not self.only_errors:
            super().write(level, event, fields)

    def debug(self, event: str, **fields: Any) -> None:
        self.write("debug", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))

    def exception(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


@dataclass
class Made:
    """A plane that decides and is not served."""

    plane: Plane
    log: Log
    tokens: Tokens
    instance: str


async def brain_key(plane: Plane, name: str) -> str:
    """Make a brain key of the account `local`."""
    made = await plane.subjects.brains.directory.make_key(
        name, account="local", brain=0, created_by="test"
    )
    return made[0]


async def node_key(plane: Plane) -> str:
    """Make a key of the account `local` for a node of the name that samples have."""
    directory = plane.subjects.content.observed.directory
    return (await directory.make_key("nodes", account="local", node="a1", created_by="test"))[0]


async def make(home: Path) -> Made:
    """Start a plane with a stopped instance of the account `local`."""
    clock, log = SystemClock(), Log()
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True
    )
    plane = await make_plane(chosen, clock=clock, log=log, url="http://plane.test")
    plane.app._rates = Rates(clock, calls=PLENTY, sign_ins=PLENTY)
    plane.app._wrong_proofs = WrongProofs(clock, PLENTY)
    plane.app._check_responses = True
    await plane.start()
    await plane.subjects.people.directory.make_account("other")
    make_token = partial(plane.subjects.people.directory.make_token, created_by="test")
    tokens = Tokens(
        owner=(await make_token("mine", scope="owner", account="local"))[0],
        other_owner=(await make_token("theirs", scope="owner", account="other"))[0],
        operator=(await make_token("all", scope="operator", account=None))[0],
        brain=await brain_key(plane, "agents"),
        node=await node_key(plane),
        # Of the town that samples have, which is not there: it is admitted until it is looked at.
        attempt=await plane.subjects.tools.attempts.issue("a1", "agent", "attempt"),
    )
    answer = await call(
        plane.app, "POST", "/api/instances", headers=json_headers(tokens.owner),
        body=b'{"name":"theirs","desired":"stopped"}',
    )  # fmt: skip
    assert answer.status == 201, answer.body
    return Made(plane, log, tokens, answer.json()["id"])


async def end(made: Made) -> None:
    """Stop the plane, and kill the machines that the routes have started."""
    await made.plane.stop()
    while left := processes_of(made.plane.core.home):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.sleep(0.02)
