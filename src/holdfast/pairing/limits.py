"""Every limit of pairing in the plane, by name."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

CHANNEL_LIFE_MS: Final = HOUR_MS
"""A channel request is good for so long after it was made (compat/pairing.md)."""

DEVICE_LIFE_MS: Final = 5 * MINUTE_MS
"""A device request is good for so long after it was made (compat/pairing.md)."""

FORGET_SLACK_MS: Final = 10 * MINUTE_MS
"""How much longer than its request a decision is remembered: clocks of machines differ."""

FORGET_UNTIMED_MS: Final = DAY_MS
"""How long a decision is remembered whose request does not say when it ends."""

FAILURE_SHOWN_MS: Final = 10 * MINUTE_MS
"""How long a decision that failed is shown with its request."""

DECISIONS_MAX: Final = 64
"""Decisions that are remembered at a time. More are refused rather than one forgotten too early;
OpenClaw keeps 3 requests of an account and an hour, so that this is far more than people make."""

OPEN_MAX: Final = 16
"""Decisions of one instance that may be on their way to its machine."""

RULES_BYTES_MAX: Final = 4_096
"""Rules of one instance as JSON, so that its state fits in 16 KiB."""

SEND_MS: Final = 5 * MINUTE_MS
"""How long a decision may wait for its turn; OpenClaw's own command takes up to 7 s each."""

ANSWER_MS: Final = 10 * MINUTE_MS
"""When nothing was heard of a sent decision for so long, it is looked for instead."""

RESOLVE_FIRST_MS: Final = 5 * SECOND_MS
RESOLVE_CAP_MS: Final = 5 * MINUTE_MS
"""Waits between looks whether a decision of unknown outcome was carried out; a running gateway
answers an order within 5 s."""

ORDER_RUNS_MS: Final = 3 * MINUTE_MS
"""How long an order whose answer was lost may still be carried out: a controller lets the agent's
command line run for so long. Until then a request that still waits proves nothing."""

LIST_TIMEOUT_MS: Final = 30 * SECOND_MS
"""A controller answers a list at once, or with `refresh` once its agent told it."""

APPROVE_TIMEOUT_MS: Final = 190 * SECOND_MS
"""A controller without a better way runs the agent's command line, and lets it run for 180 s; who
gives up earlier would call a decision failed that is still carried out."""

EXEC_TIMEOUT_MS: Final = 60 * SECOND_MS
"""One command in a machine (compat/pairing.md)."""

EFFECT_MS: Final = 260 * SECOND_MS
"""One decision with everything it may take: a version, an order, and a look when it was lost."""

CACHE_MS: Final = 2 * MINUTE_MS
"""How long what a command told is good enough for whoever does not want it afresh."""

ANSWER_WAIT_MS: Final = 15 * SECOND_MS
"""How long a call waits for a decision to be carried out before it is answered with 202."""

LIST_WAIT_MS: Final = 25 * SECOND_MS
"""How long a call waits for a list; the look goes on and its result is kept."""

RETRY_FIRST_MS: Final = SECOND_MS
RETRY_CAP_MS: Final = MINUTE_MS
"""Waits between looks at a machine that said it has something new and could not be asked."""

LOOKS_MAX: Final = 16
"""Machines that are looked at side by side when many have something new."""

OUTPUT_ITEMS_MAX: Final = 256
"""Requests that are read of one answer; the rest is left out and the list is not complete."""
