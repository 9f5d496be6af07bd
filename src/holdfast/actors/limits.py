"""Every limit of the engine, by name."""

from __future__ import annotations

from typing import Final

TICK_EVENTS_MAX: Final = 64
"""Pending events that one tick takes; the rest wait for the next."""

TICK_ACTIONS_MAX: Final = 256
"""Actions that one tick carries out; the rest are suppressed until the next."""

EVENT_BYTES_MAX: Final = 65_536
"""The encoded body of one event."""

STATE_INLINE_BYTES_MAX: Final = 16_384
"""States up to this size are written with each commit; larger ones by snapshot."""

MAILBOX_PENDING_MAX: Final = 1_024
"""Events that may wait for one actor; more are refused with 429 at the edge."""

LETTER_HOPS_MAX: Final = 8
"""How often one letter may lead to another before it is returned."""

LANE_RETRY_MS_MAX: Final = 30_000
"""How long an effect is retried in its lane before its outcome is handed to the rules."""

ANSWER_WAIT_MS: Final = 2_000
"""How long a call waits for its event to be stamped before it is answered with 202."""

FAULT_RETRY_MS: Final = 60_000
"""When an actor whose rules raised is ticked again, in milliseconds."""

RESIDENT_MAX: Final = 20_000
"""Actors kept in memory; the least recently used are passivated."""

REASON_CHARS_MAX: Final = 400
"""Characters of an exception's text that are written down."""
