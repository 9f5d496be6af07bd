"""Lines that the observer prints: redacted, one at a time, and never in its way."""

from __future__ import annotations

import json
import os

from holdfast.kernel.clock import ManualClock
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
