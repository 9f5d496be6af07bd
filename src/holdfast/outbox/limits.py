"""Every bound of the outbox: sizes, waits, and the source of each figure."""

from __future__ import annotations

from typing import Final

KINDS: Final = ("correction", "lesson", "event")
"""Kinds of items; the table's own CHECK lists the same."""

# Sizes of one item and one request.
EVENT_ID_CHARS_MAX: Final = 128
PAYLOAD_BYTES_MAX: Final = 256 * 1024
BATCH_ROWS_MAX: Final = 200
BATCH_BYTES_MAX: Final = 512 * 1024
"""Payload bytes in one request; half of what the smallest known intake accepts is left over."""
BATCH_BYTES_MIN: Final = 1_024
"""However often an intake answers 413, a batch is not made smaller than this (one item may be)."""
BATCH_BYTES_TRUST_MS: Final = 3_600_000
"""After an hour without a 413 a learned bound is doubled: the intake may have been changed."""

# Sizes of the folder.
PENDING_ROWS_MAX: Final = 100_000
PENDING_BYTES_MAX: Final = 256 * 1024 * 1024
DEAD_ROWS_MAX: Final = 10_000
"""Dead letters kept; beyond it a refused row stays pending and deferred, so none is lost."""
DELIVERED_ROWS_KEPT: Final = 1_000
DELIVERED_PURGE_EVERY: Final = 200
DELIVERED_AGE_KEPT_S: Final = 86_400.0
QUARANTINED_KEPT: Final = 3
ERROR_CHARS_MAX: Final = 500

# Length of the write-ahead log.
WAL_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""The lease holder checkpoints from here on."""
WAL_CALLER_BYTES: Final = 16 * 1024 * 1024
"""Without a holder of the lease, the writer that passes this bound checkpoints itself."""
WAL_IDLE_MS: Final = 30_000
"""The holder of a quiet folder checkpoints what is left after this time."""

# When to send.
BATCH_WINDOW_MS: Final = 1_000
TIMER_MS: Final = 30_000
POLL_MS: Final = 250
STANDBY_MS: Final = 1_000
RATE_ROWS: Final = 4_800
RATE_WINDOW_MS: Final = 61_000
"""An intake accepts as many a minute; one second is added for requests the network delays. A burst
of 2,000 corrections has up to 2,000 rows of lessons with it, and room for more."""

# When to try again.
RETRY_FIRST_MS: Final = 500
RETRY_CAP_MS: Final = 4_000
"""Short on purpose: the backlog must arrive within five seconds of the other side's return."""
LONG_OUTAGE_MS: Final = 600_000
RETRY_LONG_CAP_MS: Final = 30_000
"""After ten minutes of outage the tries are made rarer."""
RETRY_AFTER_MAX_MS: Final = 3_600_000
HOLD_LOOK_MS: Final = 1_000
"""Interval of checks for a changed key, or an opened gate."""
HOLD_RETRY_MS: Final = 300_000
"""An unchanged key is tried again after this time: it may have been made valid meanwhile."""
DEFER_FIRST_MS: Final = 30_000
DEFER_CAP_MS: Final = 3_600_000
UNWRITTEN_ROWS_MAX: Final = 10_000
"""Answers that a full disk prevented from being stored; beyond it nothing more is sent."""

# Durations.
SEND_TIMEOUT_S: Final = 30.0
SEND_GRACE_S: Final = 5.0
LOCK_TIMEOUT_S: Final = 2.0
"""Wait of a call for another process's write; then it drops and counts."""
THREADS_QUEUE_S: Final = 30.0
"""Wait of a call for this process's own threads.

They move on, only slowly if a busy loop holds the interpreter.
"""
GROUP_MAX: Final = 256
"""Calls of one process that share a transaction: a quarter of a second's at 1,000 a second."""
SQLITE_BUSY_S: Final = 2.0
FLUSH_DEADLINE_S: Final = 5.0
FETCH_CLOSE_S: Final = 0.5
"""Closing waits this long for a running fetch."""
REOPEN_MS: Final = 1_000
STALL_MS: Final = 60_000
"""A drain, or the holder of a lease with rows pending, that has not moved for so long hangs."""
OLD_ROW_MS: Final = 600_000
"""A row that waits for longer is worth a warning: a retry comes after 30 s at most."""
NOTICE_EVERY_MS: Final = 3_600_000

# The lease.
LEASE_BEAT_MS: Final = 1_000
LEASE_EXPIRY_MS: Final = 5_000
"""A beat unseen for so long, with rows pending, lets another process take over."""
LEASE_ABANDONED_MS: Final = 500
"""The same if the holder's socket has no listener any more."""
VAIN_MAX: Final = 2 * BATCH_ROWS_MAX
"""Requests in a row that may fail while poison is isolated, before it counts as an outage."""
