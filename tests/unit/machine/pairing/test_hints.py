"""Which lines of an agent hint at pairing: as the releases print them."""

from __future__ import annotations

import pytest

from holdfast.machine.controller.pairing.openclaw.by_command import is_hint


@pytest.mark.parametrize(
    "line",
    [
        "[ws] closed before connect conn=a1 remote=127.0.0.1 code=1008 reason=pairing required",
        "[ws] closed before connect conn=a1 remote=127.0.0.1 code=1006 reason=n/a",
        "[gateway] device pairing approved device=fb99 role=node",
        "[gateway] device pairing auto-approved device=fb99 role=node",
        "Device Request from somebody",
        "new PAIR REQUEST",
        "peer is paired now",
    ],
)
def test_what_hints(line: str) -> None:
    assert is_hint(line)


@pytest.mark.parametrize(
    "line",
    [
        "[ws] ⇄ res ✓ channels.pairing.list 58ms conn=a1",
        "[ws] ⇄ res ✗ device.pair.approve 12ms errorMessage=pairing approval denied",
        "[telegram] [diag] isolated polling worker update received updateId=1001 queued=1",
        "[heartbeat] started",
        "",
    ],
)
def test_what_does_not(line: str) -> None:
    assert not is_hint(line), "an answer to ourselves would make the next question"
