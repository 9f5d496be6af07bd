"""Limits of corrections, each with the source of its figure."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

# How much one brain may send.
CORRECTIONS_PER_MINUTE: Final = 4_800
"""Corrections of one brain in any 60 s: as many as our outbox sends rows. A burst of 2,000 by
either SDK is then shown within a minute."""
ROWS_PER_MINUTE: Final = 6_000
"""Lessons and events of one brain in any 60 s: the gradata SDK sends a whole log of events at
once, 500 a request."""
WINDOW_MS: Final = MINUTE_MS
WINDOW_GRAIN_MS: Final = SECOND_MS
"""Rows of one second leave the window together, so that a brain costs 61 numbers."""

# How much may wait for the disk.
GROUP_ROWS_MAX: Final = 8_192
"""Rows of one commit. Larger commits only take longer, which delays the first requests."""
WAITING_ROWS_MAX: Final = 60_000
"""Rows in memory that wait for their commit; beyond it senders get 503."""
GROUPS_AT_ONCE: Final = 2
"""Groups submitted to the writer: one is written while the next is queued."""

# Sizes of a row; those of requests are in wire/limits.py.
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
"""A row dated further in the future than this gets the time of its arrival instead."""

GRADATA_CUT: Final = 2_000
"""The gradata SDK cuts each text of an event here, and of a correction to a connected cloud."""
GRADATA_SINGLE_CUT: Final = 8_000
"""The gradata SDK cuts each text here when it sends a single correction."""
EVENT_IDS_KEPT: Final = 100
"""Ids kept of one correction; later repeats are recognised by their numbers alone."""

# What is kept.
BRAINS_PER_ACCOUNT: Final = 10_000
ALIASES_PER_BRAIN: Final = 16
KEYS_PER_ACCOUNT: Final = 10_000
SOURCES_PER_BRAIN: Final = 256
"""Senders of one brain whose numbers are kept; rows of further ones count as unnumbered."""
VERSIONS_PER_BRAIN: Final = 64
"""SDK versions of one brain that are counted separately; further ones are counted together."""
PURGE_ROWS: Final = 2_000
"""Rows purged in one commit, so that no sender waits for a purge."""

# Alerts.
BACKLOG_ALERT_ROWS: Final = 1_000
"""Rows that wait at a brain's senders; the SDK's own doctor warns at the same number."""
SILENCE_ALERT_MS: Final = 2 * MINUTE_MS
"""Four times the 30 s after which a sender with rows waiting tries again."""
REFUSALS_ALERT_ROWS: Final = 10
"""Refused rows in an hour below which there is no alert."""
REFUSALS_ALERT_FACTOR: Final = 2
"""Refusals rise when an hour has this many times those of the hour before."""
REFUSALS_SPAN_MS: Final = HOUR_MS
WATCH_S: Final = 5.0
"""Between two checks for alerts, in seconds."""
