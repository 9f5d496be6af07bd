"""Every limit of pairing in the plane, by name."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

CHANNEL_LIFE_MS: Final = HOUR_MS
"""Validity of a channel request since it was made (compat/pairing.md)."""

DEVICE_LIFE_MS: Final = 5 * MINUTE_MS
"""Validity of a device request since it was made (compat/pairing.md)."""

FORGET_SLACK_MS: Final = 10 * MINUTE_MS
"""How much longer than its request a decision is kept, since machines' clocks differ."""

FORGET_UNTIMED_MS: Final = DAY_MS
"""How long a decision is kept whose request has no expiry."""

FAILURE_SHOWN_MS: Final = 10 * MINUTE_MS
"""How long a decision that failed is shown with its request."""

DECISIONS_MAX: Final = 64
"""Decisions that are kept at a time. More are refused rather than one dropped too early;
OpenClaw keeps 3 requests of an account and an hour, so that this is far more than people make."""

OPEN_MAX: Final = 16
"""Decisions of one instance in flight to its machine."""

RULES_BYTES_MAX: Final = 4_096
"""Rules of one instance as JSON, so that its state fits in 16 KiB."""

SEND_MS: Final = 5 * MINUTE_MS
"""How long a decision may wait in its lane; OpenClaw's own command takes up to 7 s each."""

ANSWER_MS: Final = 10 * MINUTE_MS
"""How long a sent decision may have no outcome before the list is checked instead."""

RESOLVE_FIRST_MS: Final = 5 * SECOND_MS
RESOLVE_CAP_MS: Final = 5 * MINUTE_MS
"""Waits between checks of a decision of unknown outcome; a running gateway answers an order within
5 s."""

ORDER_RUNS_MS: Final = 3 * MINUTE_MS
"""How long an order whose answer was lost may still be carried out: a controller's bound for the
agent's command line. Until then a request that still waits proves nothing."""

LIST_TIMEOUT_MS: Final = 30 * SECOND_MS
"""Timeout of a list: immediate from a controller, or with `refresh` after reading its agent."""

APPROVE_TIMEOUT_MS: Final = 190 * SECOND_MS
"""Above the 180 s that a controller lets the agent's command line run, its last resort: a shorter
timeout would report a decision as failed that is still carried out."""

EXEC_TIMEOUT_MS: Final = 60 * SECOND_MS
"""Timeout of one command in a machine (compat/pairing.md)."""

EFFECT_MS: Final = 260 * SECOND_MS
"""Timeout of one decision: capabilities, an order, and a list if the answer was lost."""

CACHE_MS: Final = 2 * MINUTE_MS
"""How long a list of a command is reused without `refresh`."""

ANSWER_WAIT_MS: Final = 15 * SECOND_MS
"""How long a call waits for a decision to be carried out before it is answered with 202."""

LIST_WAIT_MS: Final = 25 * SECOND_MS
"""How long a call waits for a list; the read goes on and its result is cached."""

RETRY_FIRST_MS: Final = SECOND_MS
RETRY_CAP_MS: Final = MINUTE_MS
"""Waits between reads of a machine that reported a change and could not be read."""

LOOKS_MAX: Final = 16
"""Concurrent reads of machines when many report changes."""

OUTPUT_ITEMS_MAX: Final = 256
"""Requests read of one answer; the list is incomplete if there are more."""
