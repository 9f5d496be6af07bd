"""Every bound of a town, by name; the figures that rules decide by are in `policy.py`."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

BEAD_KEPT_MS: Final = 7 * DAY_MS
"""How long a bead that ended stays in the state; its view row stays after that."""

AGENT_KEPT_MS: Final = 24 * HOUR_MS
"""How long an idle agent without a hook is kept."""

KEPT_ROUND_MS: Final = HOUR_MS
"""Ends of retention are rounded up to this, so that many fall due together."""


def kept_until(now_ms: int, for_ms: int) -> int:
    """Return when what is kept for a time from now may go."""
    return -(-(now_ms + for_ms) // KEPT_ROUND_MS) * KEPT_ROUND_MS


RECENT_MAX: Final = 64
"""Ends of attempts that a breaker looks back on."""

ATTEMPTS_MAX: Final = 50
"""Attempts of one bead that may have started, of any kind, after which it fails."""

CONVOY_BEADS_MAX: Final = 100
"""Beads of one convoy: they are one event."""

BLOCKERS_MAX: Final = 32
"""Beads that one bead may wait for."""

WAITERS_MAX: Final = 250
"""Beads that may wait for one bead: its end is one event, which frees them all (5 ms)."""

FREED_MAX: Final = 200
"""Beads that wait for failed ones no longer, in one tick, after the town was set so."""

GATES_MAX: Final = 16
"""Gates of one rig."""

BEADS_MAX: Final = 50_000
"""Beads of one town that have not left its state: what begins new work is refused at it.

What goes on (requests of work that is done, work on requests, landings) is not refused, and is
bounded by the work.
"""

AGENTS_MAX: Final = 1_000
"""Agents of one town; more are refused, and rules make no more."""

RIGS_MAX: Final = 100
"""Rigs of one town; more are refused, and those that are gone without work make room."""

NUDGES_MAX: Final = 1_000
"""Nudges that wait for delivery; more are refused."""

MAIL_MAX: Final = 2_000
"""Messages that wait for delivery; more are refused."""

UNREADABLE_MS: Final = 10 * MINUTE_MS
"""How long a pull request may not be readable before its merge request is given up."""

NUDGE_KEPT_MS: Final = HOUR_MS
"""How long a nudge is tried."""

RETIRED_MAX: Final = 100
"""What leaves the state in one tick."""

ENDED_MAX: Final = 64
"""Beads of a closed town that end in one tick."""

ENDED_EVERY_MS: Final = 25
"""Between two such ticks, so that others have their turns."""

DAILY_MS: Final = DAY_MS
"""A town in which nothing is due looks at itself this often."""

START_VALID_MS: Final = 60 * SECOND_MS
STOP_VALID_MS: Final = 5 * MINUTE_MS
GATES_VALID_MS: Final = 5 * MINUTE_MS
LAND_VALID_MS: Final = 5 * MINUTE_MS
SEND_VALID_MS: Final = MINUTE_MS
"""How long an effect may wait in its lane before it is given up."""
