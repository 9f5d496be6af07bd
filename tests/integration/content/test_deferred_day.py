"""What a day leaves of a node whose owner never says yes, through the real stores."""

from __future__ import annotations

from pathlib import Path

from tests.bench.bench_deferred_day import KEPT_BYTES_MAX, measure
from tests.support.slices import slice_of


async def test_a_day_without_consent_leaves_no_row_no_line_and_four_kib(tmp_path: Path) -> None:
    beats = slice_of(1_440, here=8)
    found = await measure(tmp_path, nodes=8, beats=beats)
    assert found["bodies refused"] >= 8 * beats * 4, "nothing was sent"
    assert found["rows of content"] == 0
    assert found["log lines of the day"] == 0, found["of which"]
    assert found["files with a canary"] == []
    assert found["bytes kept a node"] <= KEPT_BYTES_MAX, found
