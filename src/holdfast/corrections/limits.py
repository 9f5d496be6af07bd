"""Every bound of corrections in one place, and where each figure comes from."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

# How much one brain may send.
CORRECTIONS_PER_MINUTE: Final = 600
"""Corrections of one brain in any 60 s."""
ROWS_PER_MINUTE: Final = 6_000
"""Lessons and events of one brain in any 60 s: the gradata SDK sends a whole log of events at
once, 500 a request."""
WINDOW_MS: Final = MINUTE_MS
WINDOW_GRAIN_MS: Final = SECOND_MS
"""What was sent in one second leaves the window together, so that a brain costs 61 numbers."""

# How much may wait for the disk.
GROUP_ROWS_MAX: Final = 8_192
"""Rows of one commit. Beyond it a commit only takes longer, and whoever came first waits."""
WAITING_ROWS_MAX: Final = 60_000
"""Rows in memory that wait for their commit; beyond it senders are told to come again."""
GROUPS_AT_ONCE: Final = 2
"""Groups on their way to the writer: one is written while the next is handed over."""

# What a row may hold; see wire/limits.py for what crosses the network.
CATEGORY_MAX: Final = 64
SEVERITY_MAX: Final = 32
SESSION_MAX: Final = 128
SUMMARY_MAX: Final = 512
CLASSIFICATIONS_MAX: Final = 32
LESSON_TEXT_MAX: Final = 4_096
EVENT_TEXT_MAX: Final = 65_536
"""Characters of an event's data, as JSON; a longer one is kept without its data."""
COUNT_MAX: Final = 1_000_000_000
AHEAD_MS_MAX: Final = DAY_MS
"""A row made later than this after now was made under a wrong clock: when it came counts."""

GRADATA_CUT: Final = 2_000
"""The gradata SDK cuts each text of an event here, and of a correction to a connected cloud."""
GRADATA_SINGLE_CUT: Final = 8_000
"""The gradata SDK cuts each text here when it sends a single correction."""
EVENT_IDS_KEPT: Final = 100
"""Ids of one correction; those of later repeats are told by their numbers alone."""

# What is kept.
BRAINS_PER_ACCOUNT: Final = 10_000
ALIASES_PER_BRAIN: Final = 16
KEYS_PER_ACCOUNT: Final = 10_000
SOURCES_PER_BRAIN: Final = 256
"""Senders of one brain whose numbers are kept; what further ones send counts as unnumbered."""
VERSIONS_PER_BRAIN: Final = 64
"""SDK versions of one brain that are counted apart; further ones are counted together."""
LIST_DEFAULT: Final = 100
PURGE_ROWS: Final = 2_000
"""Rows forgotten in one commit, so that no sender waits for a purge."""

# What is wrong with a brain.
BACKLOG_ALERT_ROWS: Final = 1_000
"""Rows that wait at a brain's senders; the SDK's own doctor warns at the same number."""
SILENCE_ALERT_MS: Final = 2 * MINUTE_MS
"""Four times the 30 s after which a sender with rows waiting tries again."""
REFUSALS_ALERT_ROWS: Final = 10
"""Refused rows in an hour below which nothing is said."""
REFUSALS_ALERT_FACTOR: Final = 2
"""Refusals rise when an hour has so many times those of the hour before."""
REFUSALS_SPAN_MS: Final = HOUR_MS
WATCH_S: Final = 5.0
"""Between looks at what is wrong, in seconds."""
