"""The log keeps its evidence: the first refusals of each peer, then their number."""

from __future__ import annotations

from holdfast.relay.refusal_lines import (
    REFUSAL_LINES_EACH,
    REFUSAL_WINDOW_MS,
    REFUSED_PEERS_MAX,
    RefusalLines,
)
from tests.support.logs import Lines


def test_the_first_of_each_peer_get_a_line_and_the_rest_a_count() -> None:
    log = Lines()
    lines = RefusalLines(log.warning)
    admitted = [lines.admit("a", "wrong", 0.0) for _ in range(1_000)]
    assert admitted == [True] * REFUSAL_LINES_EACH + [False] * (1_000 - REFUSAL_LINES_EACH)
    assert lines.admit("b", "wrong", 1.0), "another peer's evidence is kept"
    lines.tick(REFUSAL_WINDOW_MS - 1)
    assert not log.lines
    lines.tick(REFUSAL_WINDOW_MS)
    assert log.named("calls.refused") == [
        {"peer": "a", "without_a_line": 1_000 - REFUSAL_LINES_EACH, "codes": "wrong 1000"}
    ]
    assert lines.admit("a", "wrong", REFUSAL_WINDOW_MS), "the next minute begins anew"


def test_peers_without_number_share_one_count() -> None:
    log = Lines()
    lines = RefusalLines(log.warning)
    for number in range(5 * REFUSED_PEERS_MAX):
        lines.admit(f"peer-{number}", "wrong", 0.0)
    lines.flush()
    assert log.named("calls.refused") == [
        {
            "peer": "others",
            "without_a_line": 4 * REFUSED_PEERS_MAX - REFUSAL_LINES_EACH,
            "codes": f"wrong {4 * REFUSED_PEERS_MAX}",
        }
    ]
    lines.flush()
    assert len(log.lines) == 1
