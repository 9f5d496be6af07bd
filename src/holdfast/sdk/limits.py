"""Every bound of the SDK, with the source of each figure."""

from __future__ import annotations

from typing import Final

# Sizes of a correction.
TEXTS_CHARS_MAX: Final = 100_000
"""Draft and final together; beyond it `correct` raises ValueError."""
TEXT_CHARS_KEPT: Final = 20_000
"""Of each text: two of them fit the outbox's 256 KiB, even if JSON writes six bytes a letter."""
CONTEXT_CHARS_MAX: Final = 2_000
SUMMARY_CHARS_MAX: Final = 300
NAME_CHARS_MAX: Final = 64
"""Names of sessions, sources, types, tags and brains."""
TAGS_MAX: Final = 20
DATA_BYTES_MAX: Final = 200_000
"""JSON text of an event's data; with its tags it fits what the outbox takes."""

# Severity of a change: the share of the text that changed, below which...
AS_IS_BELOW: Final = 0.02
MINOR_BELOW: Final = 0.10
MODERATE_BELOW: Final = 0.30
MAJOR_BELOW: Final = 0.80

# Work of a comparison.
ALIGN_STEPS_PER_WORD: Final = 40
ALIGN_STEPS_LEAST: Final = 20_000
ALIGN_WHOLE_MAX: Final = 32
"""Words of both sides up to which a section is aligned without splitting it (some 0.1 ms)."""

ALIGN_EDITS_MAX: Final = 48
"""A section without unique words is aligned exactly up to so many edits; beyond, it is counted."""
HUNKS_KEPT: Final = 200
HUNK_CHARS_MAX: Final = 200
LETTERS_ALIGNED_MAX: Final = 64
"""Changed words up to this length are compared letter by letter."""

# When a repeat of the same correction is sent to the plane.
REPEATS_SENT_EACH: Final = 9

# Lessons.
LESSON_START: Final = 0.60
PATTERN_FROM: Final = 0.60
RULE_FROM: Final = 0.90
PATTERN_CORRECTIONS: Final = 3
RULE_CORRECTIONS: Final = 5
CONTRADICTED_BY: Final = 0.20
ARCHIVED_BELOW: Final = 0.20
PATTERNS_PER_CORRECTION: Final = 3
PATTERN_WORDS_MAX: Final = 8
RULES_SHOWN: Final = 10
RULE_CHARS_MAX: Final = 300

# Verdicts of the dashboard.
VERDICTS_EVERY_MS: Final = 30_000
"""Interval of requests by a folder that got no news of verdicts otherwise."""
VERDICTS_OPEN_MS: Final = 2_000
"""A program that opens a folder requests them, unless one has within this time."""
VERDICTS_REFUSED_MS: Final = 300_000
"""Pause after the plane refused the request."""
VERDICTS_AFTER_MAX_MS: Final = 3_600_000
VERDICTS_MAX: Final = 1_000
"""Maximum taken from one answer; a plane sends 100."""
LESSON_ID_CHARS_MAX: Final = 128

# The folder.
LOG_PAGE_ROWS: Final = 500
LOG_TAIL_BYTES: Final = 262_144
"""Bytes read back from the end of the log to find its state; beyond it the whole is read."""
LOG_QUIET_S: Final = 0.2
"""Lines of the log are written together once in this time."""
RESEND_ROWS: Final = 1_000
SYNC_LOOK_S: Final = 5.0
DISK_WARN_MB: Final = 100
PENDING_WARN: Final = 1_000
"""Queued rows from which a doctor warns."""
