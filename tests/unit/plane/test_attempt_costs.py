"""What OpenClaw says that its turn cost, as it is written by 2026.9.6."""

from __future__ import annotations

import json

import pytest

from holdfast.plane.attempt_costs import cost_of, reports

SAID = {
    "ok": True, "status": "ok", "final": "Done.", "payloads": [{"text": "Done."}],
    "usage": {"input": 120, "output": 8, "total": 128}, "costUsd": 0.0021, "assistantTurns": 2,
    "model": "m-1", "provider": "mine", "sessionId": "019",
}  # fmt: skip


def written(**changes: object) -> bytes:
    """Return an output as the program writes it, between diagnostics."""
    said = {name: value for name, value in {**SAID, **changes}.items() if value is not None}
    return f"[agent] started\n{json.dumps(said, indent=2)}\n[agent] {{bye}}\n".encode()


def test_the_cost_of_a_turn_is_read_among_diagnostics() -> None:
    assert cost_of(written()) == 2_100
    assert cost_of(written().removeprefix(b"[agent] started\n")) == 2_100
    assert cost_of(written(ok=False, status="error", costUsd=1)) == 1_000_000
    inner = json.dumps({"ok": True, "costUsd": 9}, indent=2)
    assert cost_of(inner.encode() + b"\n" + written(final=f"x\n{inner}")) == 2_100
    assert cost_of(written(costUsd=0)) == 0


@pytest.mark.parametrize("cost", [None, -1, True, "1", float("nan"), float("inf"), 1_001, 1e300])
def test_what_is_no_cost_is_none(cost: object) -> None:
    assert cost_of(written(costUsd=cost)) is None


@pytest.mark.parametrize(
    "output", [b"", b"no", b'\n{\n  "ok": ', b'{\n  "ok": true', written()[:-60], b'{"costUsd": 1}']
)
def test_what_is_cut_off_or_another_output_is_none(output: bytes) -> None:
    assert cost_of(output) is None


def test_only_the_command_that_writes_it_is_read() -> None:
    exec_json = ("openclaw", "agent", "exec", "--message-file", "{prompt}", "--json")
    assert reports(exec_json)
    assert reports(("/opt/bin/openclaw", *exec_json[1:]))
    for other in ((), exec_json[:-1], ("claude", *exec_json[1:]), ("openclaw", "agent", "--json")):
        assert not reports(other)
