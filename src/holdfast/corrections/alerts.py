"""Alerts of a brain: long queue, silence with rows waiting, rising refusals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from holdfast.corrections import limits
from holdfast.corrections.records import Standing
from holdfast.wire.api.brains import AlertCode


class Wrong(NamedTuple):
    """One alert; `value` is the figure that caused it."""

    code: AlertCode
    value: int
    message: str
    fix: str


def find_wrong(
    standings: Iterable[Standing], refused: Mapping[int, int], now_ms: int
) -> list[Wrong]:
    """Return the alerts of a brain, given its senders and its refused rows by hour."""
    found = []
    senders = list(standings)
    pending = sum(one.depth for one in senders)
    if pending > limits.BACKLOG_ALERT_ROWS:
        found.append(
            Wrong(
                "backlog",
                pending,
                f"{pending} rows wait at its senders, more than {limits.BACKLOG_ALERT_ROWS}",
                "run `holdfast brain doctor` there; it shows why they are not sent",
            )
        )
    silent = [
        now_ms - one.heard_ms
        for one in senders
        if one.depth and now_ms - one.heard_ms > limits.SILENCE_ALERT_MS
    ]
    if silent:
        seconds = max(silent) // 1_000
        found.append(
            Wrong(
                "silent",
                seconds,
                f"a sender had rows waiting and had no contact for {seconds} s",
                "see whether its program runs and reaches this plane",
            )
        )
    hour = now_ms // limits.REFUSALS_SPAN_MS
    # The current hour is incomplete: it is added to the one before it.
    latest = refused.get(hour, 0) + refused.get(hour - 1, 0)
    before = refused.get(hour - 2, 0)
    is_rise = latest >= max(1, before) * limits.REFUSALS_ALERT_FACTOR
    if latest >= limits.REFUSALS_ALERT_ROWS and is_rise:
        found.append(
            Wrong(
                "refusals",
                latest,
                f"{latest} rows were refused since the last full hour began, {before} in the one"
                " before",
                "run `holdfast brain dead-letters` there; each row has its reason",
            )
        )
    return found
