"""Every limit of check-ins, contact and datapoints, by name.

Each number says where it comes from. Nothing here is a setting: what an operator may change is
handed to a constructor, with these as bounds or defaults.
"""

from __future__ import annotations

from typing import Final

BOOTS_KEPT: Final = 16
"""Boots of one machine whose counters are remembered. A sender names at most four earlier ones,
so a message may be overtaken by eleven reboots and still add nothing twice; a request is given up
after 10 s."""

RETURNS_DOUBLED: Final = 3
"""Returns of superseded boots that mean two machines; one late message makes two."""

STREAK_SINGLE: Final = 10
"""Messages in a row from one boot after which there is one machine again."""

INTERVAL_DEFAULT_MS: Final = 300_000
"""From one check-in to the next where the machine does not say (compat/check-in.md)."""

INTERVAL_MIN_MS: Final = 1_000
INTERVAL_MAX_MS: Final = 3_600_000
"""An interval outside these is not believed; a directive may not ask for one either."""

MISSED_INTERVALS: Final = 3
"""Missed check-ins after which contact counts as lost."""

GRACE_MS: Final = 5_000
"""Added to the missed intervals: the way over the network, and the wheel's own step."""

WHEEL_STEP_MS: Final = 500
"""How finely silence is measured."""

WHEEL_GAP_MAX_MS: Final = 2_000
"""A longer pause of the plane itself (stopped, starved) does not count as a machine's silence."""

CHECKIN_GAP_MS: Final = 30_000
"""Between check-ins on the cadence, unless the machine's interval is shorter: a tenth of the usual
interval."""

CHECKIN_BURST: Final = 2
"""Check-ins on the cadence that may come at once: one that was late, then one on time."""

PROMPT_GAP_MS: Final = 1_000
"""Between check-ins that a change caused; the controller keeps to the same figure."""

PROMPT_BURST: Final = 3
"""Check-ins on a change that may come at once: the network bunches what was sent apart."""

RATE_SLACK: Final = 0.1
"""Share of a gap by which a message may be early; senders draw up to a tenth of their interval."""

FLUSH_MS: Final = 1_000
"""Between two writes of last contact, and of datapoints: the loss window of a crash."""

BATCH_ROWS_MAX: Final = 500
"""Rows in one statement, so that encoding one never holds the interpreter for long."""

BUFFER_ROWS_MAX: Final = 100_000
"""Datapoints that wait for the analytics store; the oldest are dropped beyond it, and counted."""

RETRY_FIRST_MS: Final = 500
RETRY_CAP_MS: Final = 30_000
"""Between tries to write or to deliver, growing from the first to the cap."""

NOTIFIERS: Final = 4
"""Transitions that are delivered concurrently."""

NOTICE_TIMEOUT_S: Final = 10.0
"""How long an owner may take to accept a transition."""

OUTCOMES_KEPT: Final = 64
"""Outcomes of commands that wait for one instance's owner; a sender repeats none, so more than
this is refused by dropping the oldest, and counted."""

WAKE_WAIT_S: Final = 25
"""How long a long poll is held when it does not say: below common proxy limits of 30 s."""

WAITERS_MAX: Final = 20_000
"""Long polls held at once."""

WAITERS_PER_MACHINE: Final = 2
"""Long polls of one machine; a further one sends the oldest home."""

SETTLE_MIN_MS: Final = 5_000
"""The least time between two computations of the roll-up."""

SETTLE_SHARE: Final = 50
"""The roll-up rests for this many times as long as it took: 2 % of one core at most."""

PANEL_TIMEOUT_S: Final = 10.0
"""How long a chart may take before its call fails."""

POINTS_MAX: Final = 2_000
"""Points of one series; what a chart message may carry."""
