"""Every bound of the outbox in one place: sizes, waits, and where each figure comes from."""

from __future__ import annotations

from typing import Final

KINDS: Final = ("correction", "lesson", "event")
"""What may be queued; the table's own CHECK says the same."""

# What one item and one request may weigh.
EVENT_ID_CHARS_MAX: Final = 128
PAYLOAD_BYTES_MAX: Final = 256 * 1024
BATCH_ROWS_MAX: Final = 200
BATCH_BYTES_MAX: Final = 512 * 1024
"""Payload bytes in one request; half of what the smallest known intake takes is left over."""
BATCH_BYTES_MIN: Final = 1_024
"""However often an intake answers 413, a batch is not made smaller than this (one item may be)."""
BATCH_BYTES_TRUST_MS: Final = 3_600_000
"""After an hour without a 413 a learned bound is doubled: the intake may have been changed."""

# What the folder may hold.
PENDING_ROWS_MAX: Final = 100_000
PENDING_BYTES_MAX: Final = 256 * 1024 * 1024
DEAD_ROWS_MAX: Final = 10_000
"""Dead letters kept; beyond it a refused row stays pending and deferred, so none is lost."""
DELIVERED_ROWS_KEPT: Final = 1_000
DELIVERED_PURGE_EVERY: Final = 200
DELIVERED_AGE_KEPT_S: Final = 86_400.0
QUARANTINED_KEPT: Final = 3
ERROR_CHARS_MAX: Final = 500

# How the write-ahead log is kept short.
WAL_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""The lease holder checkpoints from here on."""
WAL_CALLER_BYTES: Final = 16 * 1024 * 1024
"""Where nobody holds the lease, the writer that passes this bound checkpoints itself."""
WAL_IDLE_MS: Final = 30_000
"""The holder of a quiet folder checkpoints what is left after this long."""

# When to send.
BATCH_WINDOW_MS: Final = 1_000
TIMER_MS: Final = 30_000
POLL_MS: Final = 250
STANDBY_MS: Final = 1_000
RATE_ROWS: Final = 600
RATE_WINDOW_MS: Final = 61_000
"""An intake takes 600 a minute; one second is added for what the network squeezes together."""

# When to try again.
RETRY_FIRST_MS: Final = 500
RETRY_CAP_MS: Final = 4_000
"""Short on purpose: what waited is to arrive within five seconds of the other side's return."""
LONG_OUTAGE_MS: Final = 600_000
RETRY_LONG_CAP_MS: Final = 30_000
"""After ten minutes of outage the tries are made rarer."""
RETRY_AFTER_MAX_MS: Final = 3_600_000
HOLD_LOOK_MS: Final = 1_000
"""How often a changed key, or an opened gate, is looked for."""
HOLD_RETRY_MS: Final = 300_000
"""An unchanged key is tried again after this long: it may have been made valid over there."""
DEFER_FIRST_MS: Final = 30_000
DEFER_CAP_MS: Final = 3_600_000
UNWRITTEN_ROWS_MAX: Final = 10_000
"""Answers that a full disk kept from being written; beyond it nothing more is sent."""

# How long anything may take.
SEND_TIMEOUT_S: Final = 30.0
SEND_GRACE_S: Final = 5.0
LOCK_TIMEOUT_S: Final = 2.0
"""A call waits this long for another process's write, then drops and counts."""
THREADS_QUEUE_S: Final = 30.0
"""A call waits this long for this process's own threads: they move on, only slowly where a busy
loop keeps the interpreter to itself."""
GROUP_MAX: Final = 256
"""Calls of one process that share a transaction: a quarter of a second's at 1,000 a second."""
SQLITE_BUSY_S: Final = 2.0
FLUSH_DEADLINE_S: Final = 5.0
ERRAND_CLOSE_S: Final = 0.5
"""Closing waits this long for what is being fetched beside the rows."""
REOPEN_MS: Final = 1_000
STALL_MS: Final = 60_000
NOTICE_EVERY_MS: Final = 3_600_000

# The lease.
LEASE_BEAT_MS: Final = 1_000
LEASE_EXPIRY_MS: Final = 5_000
"""A beat unseen for so long, with rows pending, lets another process take over."""
LEASE_ABANDONED_MS: Final = 500
"""The same where the holder's socket has nobody behind it any more."""
VAIN_MAX: Final = 2 * BATCH_ROWS_MAX
"""Requests in a row that may fail while poison is being found, before it is called an outage."""
