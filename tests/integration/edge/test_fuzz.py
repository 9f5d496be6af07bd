"""A slice of the fuzzing campaign: the same seeds each time, each in a process of its own.

The controller ends every child of its process that it does not know, so it is never run in ours.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.fuzz.generator import make
from tests.fuzz.servers import AGENTS_DOOR, PLANE_DOOR
from tests.support.patience import patience
from tests.support.slices import slice_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("what", "cases"),
    [("plane", slice_of(1_800, here=900)), ("controller", slice_of(1_200, here=600))],
)
async def test_no_request_makes_a_500_a_traceback_or_a_hang(
    what: str, cases: int, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fuzz", what, "--cases", str(cases),
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(patience(40)):
        said, _ = await process.communicate()
    told = said.decode("utf-8", "replace")
    assert process.returncode == 0, told[-8_000:]
    assert f"{cases} cases in" in told


def test_a_seed_is_the_same_request_each_time() -> None:
    doors = (PLANE_DOOR, AGENTS_DOOR)
    first = [make(seed, doors) for seed in range(300)]
    assert [make(seed, doors) for seed in range(300)] == first
    assert len({case.row for case in first}) > 60
    assert {bend for case in first for bend in case.bent} >= {
        "bend_path", "bend_query", "bend_header", "drop_header", "bend_cookie", "bend_method",
        "bend_field", "bend_body", "bend_bytes", "send_form", "bend_line",
    }  # fmt: skip
