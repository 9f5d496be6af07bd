"""Lines that the observer prints: redacted, one at a time, and never in its way."""

from __future__ import annotations

import json
import os

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import PIPE_BYTES
from holdfast.machine.observer.log import LineLog


def test_a_line_is_json_and_says_no_secret() -> None:
    reads, writes = os.pipe()
    log = LineLog(ManualClock(5), writes)
    log.warning("gate.refused", reason="key sk-" + "a1B2" * 9, api_key="cm_x", number=3)
    line = json.loads(os.read(reads, 4_096))
    assert line == {
        "at_ms": 5, "level": "warning", "event": "gate.refused", "reason": "key [hidden]",
        "api_key": "[hidden]", "number": 3,
    }  # fmt: skip
    os.close(reads)
    log.info("nobody.reads")
    os.close(writes)
    assert log.dropped == 1


def test_a_reader_that_stalls_holds_nothing_up() -> None:
    reads, writes = os.pipe()
    log = LineLog(ManualClock(5), writes)
    for number in range(2_000):
        log.info("line", number=number, text="x" * 200)
    assert log.dropped > 0
    os.close(reads)
    os.close(writes)


def test_a_line_that_is_too_long_for_a_pipe_is_cut_to_json() -> None:
    reads, writes = os.pipe()
    log = LineLog(ManualClock(5), writes)
    log.info("long.text", reason="\u20ac" * 9_000, number=3)
    raw = os.read(reads, 65_536)
    assert len(raw) <= PIPE_BYTES
    line = json.loads(raw)
    assert (line["event"], line["number"]) == ("long.text", 3)
    assert set(line["reason"]) == {"\u20ac"}
    log.info("long.list", found=["x" * 9_000])
    assert json.loads(os.read(reads, 65_536)) == {
        "at_ms": 5, "level": "info", "event": "long.list", "left_out": ["found"],
    }  # fmt: skip
    os.close(reads)
    os.close(writes)
