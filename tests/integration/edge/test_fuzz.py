"""A slice of the fuzzing campaign: the same seeds each time, each in a process of its own.

The controller ends every child of its process that it does not know, so it is never run in ours.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.fuzz import agent
from tests.fuzz.connection import ask
from tests.fuzz.generator import make, relayed
from tests.fuzz.servers import AGENTS_DOOR, PLANE_DOOR
from tests.support.patience import patience
from tests.support.slices import slice_of

ROOT = Path(__file__).parents[3]


async def campaign(what: str, cases: int, folder: Path, *more: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fuzz", what, "--cases", str(cases), *more,
        cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(patience(40)):
        said, _ = await process.communicate()
    told = said.decode("utf-8", "replace")
    assert process.returncode == 0, told[-8_000:]
    assert f"{cases} cases in" in told
    return told


async def test_a_refused_request_leaves_nothing_in_memory(tmp_path: Path) -> None:
    told = await campaign("plane", slice_of(1_500, here=1_000), tmp_path, "--strangers")
    assert "blocks a case" in told


@pytest.mark.parametrize(
    ("what", "cases"),
    [("plane", slice_of(1_800, here=600)), ("controller", slice_of(1_200, here=400))],
)
async def test_no_request_makes_a_500_a_traceback_or_a_hang(
    what: str, cases: int, tmp_path: Path
) -> None:
    told = await campaign(what, cases, tmp_path)
    reached = re.search(r"answered (\d+) requests, (\d+) of them upgrades", told)
    assert reached is not None, told[-2_000:]
    assert int(reached[1]) > cases / 20, "requests are passed on to agents"
    assert int(reached[2]) > 0


def test_a_seed_is_the_same_request_each_time() -> None:
    doors = (PLANE_DOOR, replace(AGENTS_DOOR, finish=relayed))
    first = [make(seed, doors) for seed in range(300)]
    assert [make(seed, doors) for seed in range(300)] == first
    assert len({case.row for case in first}) > 60
    assert {bend for case in first for bend in case.bent} >= {
        "bend_path", "bend_query", "bend_header", "drop_header", "bend_cookie", "bend_method",
        "bend_field", "bend_body", "bend_bytes", "send_form", "bend_line",
    }  # fmt: skip


def test_a_hostile_agent_answers_each_draw_in_the_same_way_and_mostly_wrongly() -> None:
    def made(seed: int) -> bytes:
        draw = random.Random(seed)
        found = agent.answer(draw, upgrade=seed % 3 == 0, bare=seed % 7 == 0)
        return b"|".join([*found.pieces, found.end.encode()])

    answers = [made(seed) for seed in range(400)]
    assert answers == [made(seed) for seed in range(400)]
    assert len(set(answers)) > 250
    assert any(agent.SMUGGLED in one for one in answers)
    assert any(agent.PLANES_COOKIE in one for one in answers)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\ncontent-length: 0\n\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n%b: 1\r\n\r\n"
        % agent.SMUGGLED,
        b"HTTP/1.1 200 OK\r\nset-cookie: hf_session=%b\r\ncontent-length: 0\r\n\r\n"
        % agent.PLANES_COOKIE,
    ],
)
async def test_an_answer_that_no_server_may_give_is_a_finding(said: bytes) -> None:
    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            assert data
            self.transport.write(said)
            self.transport.close()

    outcome = await ask(
        Server, [b"GET / HTTP/1.1\r\n\r\n"], b"GET", may_wait=False, limit_s=patience(10),
        never=(agent.SMUGGLED, agent.PLANES_COOKIE),
    )  # fmt: skip
    assert outcome.fault


async def test_a_server_that_does_not_answer_is_a_finding_in_time() -> None:
    with pytest.raises(TimeoutError):
        await ask(
            asyncio.Protocol, [b"GET / HTTP/1.1\r\n\r\n"], b"GET", may_wait=False, limit_s=0.05
        )
