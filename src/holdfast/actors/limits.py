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

STATE_LOOP_BYTES_MAX: Final = 1_048_576
"""States up to this size are written and folded again on the serving loop, about 5 ms; a kind with
larger ones must do both in a worker first, and is warned of until it does."""

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

COMMITS_MAX: Final = 256
"""Actors whose commits are in flight side by side, so that a group commit has a group."""

SLICE_MS: Final = 3.0
"""How long the owner works before it lets the rest of the loop run; the house allows 5 ms."""

WAITING_PAGE: Final = 1_000
"""Actors with pending events that one look at the store brings."""

POLL_MS: Final = 5_000
"""How often the store is asked for events that another process accepted."""

CLAIM_TRIES_MAX: Final = 8
"""Lost claims in a row after which the actor rests before it goes on."""

STAMPED_KEPT: Final = 256
"""Stamped ids that an actor remembers, to know an acceptance that is told late."""

DOUBTED_KEPT: Final = 8
"""Unanswered commits that an actor remembers until it is known which of them was written."""

EFFECTS_PER_TICK: Final = 65_536
"""Room for the effects of one tick within the numbers that order a lane."""

ALARM_PAGE: Final = 10_000
"""Alarms that one look at the store brings into memory."""

ALARM_HORIZON_MS: Final = 600_000
"""How far ahead alarms are kept in memory."""

ALARM_GLANCE_MS: Final = 1_000
"""The longest the alarms sleep, so that a step of the clock is noticed."""

CLOCK_STEP_MS: Final = 2_000
"""How far the two clocks may part between two glances before it counts as a step."""

BUSY_TICKS_MAX: Final = 64
"""Ticks in a row that may leave their deadline in the past, as long as each does something."""

EFFECT_TIMEOUT_MS: Final = 60_000
"""How long one call to the outside may take unless its provider says otherwise."""

EFFECT_PAGE: Final = 1_000
"""Unfinished effects that one look at the store brings at start-up."""

PROBE_PAGE: Final = 5_000
"""Standing probes that one look at the store brings at start-up."""

PROBE_SPREAD_MS: Final = 60_000
"""Over how long the first look of every probe is spread after start-up."""

VIOLATIONS_MAX: Final = 100
"""Broken invariants that one rehearsal names."""

REHEARSED_TICKS_MAX: Final = 1_000
"""Ticks that one dry run goes forward."""

DIVERGENCES_MAX: Final = 20
"""Differences that one replay names with their paths; the rest are counted."""

REPLAY_PAGE: Final = 2_000
"""Log rows and tick records that a replay reads at a time."""

REHEARSAL_TIMEOUT_S: Final = 60.0
"""How long one rehearsal may take before its process is replaced."""

REHEARSAL_TURN_S: Final = 30.0
"""How long a rehearsal waits for those before it; it is refused then, not left to wait."""

REHEARSAL_IDLE_S: Final = 300.0
"""After how long without a rehearsal its process is let go."""
