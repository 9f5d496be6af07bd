"""Asks a node for the sessions that changed while its transcripts were refused.

Newer clients do not send again what was discarded; their own store still has it. So after consent
each session that they name and that changed since the first refusal is asked for once, by a
question in the answer to a heartbeat. Questions are in memory: after a restart of the plane they
are asked again, and the answer of a session replaces the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from holdfast.content import limits
from holdfast.content.accept import digest
from holdfast.content.records import Node
from holdfast.wire.api.clawmetry import PendingQuery, TranscriptArgs
from holdfast.wire.limits import PENDING_QUERIES_MAX


class _Asked(Struct):
    session: str
    tries: int = 0
    asked_ms: int = 0
    done: bool = False


class _Gap(Struct):
    """`opened_ms` is when the first session was taken after the last refusal, 0 until then."""

    opened_ms: int = 0
    sessions: dict[str, _Asked] = field(default_factory=dict[str, _Asked])


class Gaps:
    """The open gaps of all nodes."""

    def __init__(self) -> None:
        self._open: dict[str, _Gap] = {}

    def note_refused(self, node: Node, now_ms: int) -> None:
        """Note that a transcript was refused which its client will not send again.

        Sessions that were answered before may lack it, so they are asked for anew.
        """
        node.gap_from_ms = node.gap_from_ms or now_ms
        gap = self._open.get(node.id)
        if gap is None:
            return
        gap.opened_ms = 0
        for one in gap.sessions.values():
            one.done, one.tries = False, 0

    @staticmethod
    def since_ms(node: Node) -> int:
        """Return the time from which sessions are parts of the node's gap; it has one."""
        return node.gap_from_ms - limits.GAP_BEFORE_MS

    def note_sessions(self, node: Node, sessions: Iterable[str], now_ms: int) -> None:
        """Take sessions as parts of the node's gap, up to a time after it was opened."""
        if not node.gap_from_ms:
            return
        gap = self._open.setdefault(node.id, _Gap())
        gap.opened_ms = gap.opened_ms or now_ms
        for session in sessions:
            if len(gap.sessions) < limits.GAP_SESSIONS_MAX:
                name = f"gap-{node.no}-{digest(b'session', session.encode()).hex()}"
                gap.sessions.setdefault(name, _Asked(session))
        if now_ms - gap.opened_ms > limits.GAP_OPEN_MS and not self.count_open(node, now_ms):
            node.gap_from_ms = 0
            del self._open[node.id]

    def count_open(self, node: Node, now_ms: int) -> int:
        """Return how many sessions are still to be answered."""
        gap = self._open.get(node.id)
        return 0 if gap is None else sum(_is_open(one, now_ms) for one in gap.sessions.values())

    def next_questions(self, node: Node, now_ms: int) -> tuple[PendingQuery, ...]:
        """Return the questions for a heartbeat's answer, and count them as asked."""
        gap = self._open.get(node.id)
        if gap is None:
            return ()
        due = [
            (name, one)
            for name, one in gap.sessions.items()
            if not one.done and one.tries < limits.GAP_TRIES and not _is_waiting(one, now_ms)
        ][:PENDING_QUERIES_MAX]
        for _, one in due:
            one.tries += 1
            one.asked_ms = now_ms
        return tuple(
            PendingQuery(
                id=name,
                cache_key=f"transcript:{one.session}",
                args=TranscriptArgs(session_id=one.session),
            )
            for name, one in due
        )

    def answered(self, node: Node, name: str) -> str | None:
        """Return the session that a question was about; None where it was not asked."""
        gap = self._open.get(node.id)
        one = None if gap is None else gap.sessions.get(name)
        return None if one is None or not one.asked_ms else one.session

    def close(self, node: Node, name: str) -> None:
        """Note that an answer is stored."""
        gap = self._open.get(node.id)
        if gap is not None and name in gap.sessions:
            gap.sessions[name].done = True


def _is_waiting(one: _Asked, now_ms: int) -> bool:
    """Return whether the answer to the last question about a session may still come."""
    return now_ms - one.asked_ms < limits.GAP_AGAIN_MS


def _is_open(one: _Asked, now_ms: int) -> bool:
    """Return whether a session is to be asked for, or its last answer may still come."""
    return not one.done and (one.tries < limits.GAP_TRIES or _is_waiting(one, now_ms))
