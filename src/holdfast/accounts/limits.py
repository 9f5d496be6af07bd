"""Every limit of accounts, by name."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

SECRET_BYTES: Final = 32
"""Random bytes of a token, session or link: 256 bits."""

LINK_LIFE_MS: Final = 15 * MINUTE_MS
"""How long a one-time sign-in link works."""

SESSION_LIFE_MS: Final = 24 * HOUR_MS
"""Longest life of a session, used or not: NIST SP 800-63B-4, 2.2.3 (AAL2)."""

SESSION_IDLE_MS: Final = HOUR_MS
"""Longest time without use of a session: same source."""

SESSION_USE_GRAIN_MS: Final = 10 * SECOND_MS
"""Resolution of the time of a session's last use."""

CACHE_LIFE_MS: Final = 5 * SECOND_MS
"""How long a look-up is cached, so the longest that a revocation by another process takes to have
effect."""

CACHE_ITEMS_MAX: Final = 10_000
"""Cached look-ups, positive and negative."""

TOKEN_USE_GRAIN_MS: Final = MINUTE_MS
"""Resolution of a token's `last_used_at`."""

ATTEMPTS_FREE: Final = 5
"""Failed sign-ins before the first wait."""

ATTEMPT_FIRST_WAIT_MS: Final = 2 * SECOND_MS
"""The first wait; it doubles with every further failure."""

ATTEMPT_LONGEST_WAIT_MS: Final = 15 * MINUTE_MS
"""The longest wait: deliberate failures cannot lock a person out for longer, and a one-time link
is never delayed."""

ATTEMPTS_FORGOTTEN_MS: Final = DAY_MS
"""Failures are forgotten this long after the last one."""

TOKENS_MAX: Final = 1_000
"""Tokens of one account that are not revoked."""

LIST_ITEMS_MAX: Final = 500
"""Rows of a list."""

AUDIT_CHECK_ROWS: Final = 200
"""Rows of the audit checked at a time: about a millisecond."""

AUDIT_KEPT_MS: Final = 400 * DAY_MS
"""How long rows of the audit are kept: a year, and a month to review it."""

AUDIT_PURGE_ROWS: Final = 2_000
"""Rows of the audit purged in one commit, so that no call waits for a purge."""

PURGE_KEPT_MS: Final = 30 * DAY_MS
"""How long ended sessions, used links and old failures are kept."""
