"""Every limit of the engine, by name."""

from __future__ import annotations

from typing import Final

TICK_EVENTS_MAX: Final = 64
"""Pending events that one tick takes; the rest wait for the next."""

TICK_ACTIONS_MAX: Final = 256
"""Actions that one tick carries out; the rest are suppressed until the next."""

EVENT_BYTES_MAX: Final = 65_536
"""Bytes of the encoded body of one event."""

STATE_INLINE_BYTES_MAX: Final = 16_384
"""States up to this size are written with each commit; larger ones by snapshot."""

STATE_LOOP_BYTES_MAX: Final = 1_048_576
"""States up to this size, in bytes, are encoded and decoded on the event loop, about 5 ms. Larger
ones would need a worker process for both; until there is one, they are logged as a warning."""

MAILBOX_PENDING_MAX: Final = 1_024
"""Events that may wait for one actor; more are refused with 429 at the edge."""

LETTER_HOPS_MAX: Final = 8
"""Hops of a chain of letters before one is returned."""

LANE_RETRY_MS_MAX: Final = 30_000
"""How long an effect is retried in its lane before its outcome goes to the rules."""

ANSWER_WAIT_MS: Final = 2_000
"""How long a call waits for its event to be stamped before it is answered with 202."""

FAULT_RETRY_MS: Final = 60_000
"""When an actor whose rules raised is ticked again, in milliseconds."""

LOOP_RETRY_S: Final = 1.0
"""How long a loop of the engine rests after a bug of its own, in seconds."""

RESIDENT_MAX: Final = 20_000
"""Actors kept in memory; the least recently used are passivated."""

REASON_CHARS_MAX: Final = 400
"""Characters of an exception's text that are recorded."""

COMMITS_MAX: Final = 256
"""Concurrent commits of different actors, so that a group commit has a group."""

SLICE_MS: Final = 3.0
"""How long the owner runs before it yields to the event loop; the limit is 5 ms."""

WAITING_PAGE: Final = 1_000
"""Actors with pending events that one query of the store returns."""

POLL_MS: Final = 5_000
"""How often the store is polled for events that another process accepted."""

CLAIM_TRIES_MAX: Final = 8
"""Lost claims in a row after which the actor waits before the next tick."""

STAMPED_KEPT: Final = 256
"""Stamped ids that an actor keeps, to recognise an acceptance that is reported late."""

DOUBTED_KEPT: Final = 8
"""Commits with an unknown result that an actor keeps until the store is read."""

EFFECTS_PER_TICK: Final = 65_536
"""Room for the effects of one tick within the numbers that order a lane."""

ALARM_PAGE: Final = 2_000
"""Alarms that one read of the store brings, before others have their turn."""

ALARM_HORIZON_MS: Final = 600_000
"""How far ahead alarms are kept in memory."""

PROGRESS_MS: Final = 60_000
"""How long an actor that was to be ticked may stay without one, before health says so."""

ALARM_GLANCE_MS: Final = 1_000
"""The longest the alarms sleep, so that a step of the clock is noticed."""

CLOCK_STEP_MS: Final = 2_000
"""How far the two clocks may diverge between two checks before it counts as a step."""

BUSY_TICKS_MAX: Final = 64
"""Ticks in a row that may leave their deadline in the past, as long as each does something."""

EFFECT_TIMEOUT_MS: Final = 60_000
"""Timeout of one effect or probe unless its provider sets another."""

EFFECT_PAGE: Final = 1_000
"""Unfinished effects that one query of the store returns at start-up."""

PROBE_PAGE: Final = 5_000
"""Standing probes that one query of the store returns at start-up."""

PROBE_SPREAD_MS: Final = 60_000
"""Over how long the first calls of all probes are spread after start-up."""

VIOLATIONS_MAX: Final = 100
"""Broken invariants that one rehearsal names."""

REHEARSED_TICKS_MAX: Final = 1_000
"""Ticks that one dry run goes forward."""

DIVERGENCES_MAX: Final = 20
"""Differences that one replay names with their paths; the rest are counted."""

REPLAY_PAGE: Final = 2_000
"""Log rows and tick records that a replay reads at a time."""

REHEARSAL_TIMEOUT_S: Final = 60.0
"""Timeout of one rehearsal; its process is then replaced."""

REHEARSAL_START_S: Final = 300.0
"""How long the rehearsals' process may take to start, on a starved machine; then it is replaced."""

REHEARSAL_TURN_S: Final = 30.0
"""How long a rehearsal waits for those before it; it is refused then, not left to wait."""

REHEARSAL_IDLE_S: Final = 300.0
"""Idle time after which the rehearsal process is ended."""
