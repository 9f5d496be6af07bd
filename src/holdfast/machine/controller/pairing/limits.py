"""Every limit of pairing, by name.

Each number names its source: a page of docs/compat, an observation of OpenClaw, or a reason.
"""

from __future__ import annotations

from typing import Final

CHANNEL_TTL_MS: Final = 3_600_000
"""Validity of a channel request: the agent's own rule (compat/openclaw.md)."""

DEVICE_TTL_MS: Final = 300_000
"""Validity of a device request: the agent's own rule (compat/openclaw.md)."""

PERIOD_MS: Final = 120_000
"""Time between two reads without a change (compat/pairing.md)."""

PERIOD_QUERIED_MS: Final = 2_000
"""The same where the agent's socket is queried because its store is not understood.

The kernel then reports no change, and an answer costs a millisecond.
"""

BACKOFF_FIRST_MS: Final = 30_000
BACKOFF_MAX_MS: Final = 300_000
"""Waits after failed reads, doubled each time (compat/pairing.md)."""

DEBOUNCE_MS: Final = 50
"""Time from a hint of a change to the read of a cheap source: one request is several writes."""

DEBOUNCE_COMMAND_MS: Final = 2_000
"""The same if a read is a command line of seconds (compat/pairing.md)."""

GRACE_MS: Final = 1_000
"""A file that disappeared is looked for again after this long before that is accepted."""

FILE_BYTES_MAX: Final = 1_048_576
"""Bytes of a store or configuration file; three requests of a channel take less than 2 KiB."""

ROWS_MAX: Final = 256
"""Requests kept of one channel or of the devices; the newest are kept."""

STORE_TIMEOUT_S: Final = 3.0
"""Time limit of one read of files or of the database; it takes about a millisecond."""

SQLITE_BUSY_S: Final = 0.25
"""Wait of a read for the database lock; with a WAL there is no wait in practice."""

FORCED_WAIT_S: Final = 25.0
"""How long an answer waits for a requested refresh; a control plane gives up at 30 s."""

META_ITEMS_MAX: Final = 32
META_TEXT_MAX: Final = 256
META_DEPTH_MAX: Final = 3
"""Depth to which unknown fields of the agent are kept."""

VERDICTS_MAX: Final = 1_024
"""Approved and dismissed requests kept; an hour of a busy machine has dozens."""

VERDICT_SLACK_MS: Final = 600_000
"""How much longer than a request its verdict is kept, for clocks that differ."""

CHANNELS_MAX: Final = 32
"""Channels of one agent that are read."""

COMMAND_TIMEOUT_S: Final = 180.0
"""Time limit of a command line of the agent, for slow machines (compat/pairing.md)."""

LOCK_WAIT_S: Final = 40.0
"""How long a command waits for the lock; a control plane gives up on it at 50 s."""

OVERTAKEN_MAX: Final = 3
"""How often a read that made way for an urgent command is repeated before it fails."""

RESTART_SEEN_S: Final = 1.0
"""Time within which a restart begins after a command changed the configuration.

OpenClaw 2026.7.35 began 0.1 s later.
"""

RESTARTED_S: Final = 8.0
"""How long that restart is awaited; it took 3 s."""

RESTARTED_LOOKS: Final = 3
RESTART_LOOK_S: Final = 0.1
"""Pace of the probes after a restart, which must succeed this often in a row."""

COMMAND_BYTES_MAX: Final = 2_000_000_000
"""Memory of a command and its children; the worst seen, a first call, took 1.69 GB."""

COMMAND_OUTPUT_CHARS_MAX: Final = 1_048_576
"""Characters kept of a command's output; a list of requests takes a few thousand."""

COMMAND_ERROR_LINES: Final = 20
COMMAND_ERROR_CHARS: Final = 2_000
"""Characters kept of the end of a command's errors, for the log."""

POLL_S: Final = 1.0
"""Pace of polling files where the system reports no changes."""

RPC_TIMEOUT_S: Final = 5.0
"""Time limit of one answer of the agent's socket; it takes a millisecond, 60 with a message."""

EFFECT_LOOK_S: Final = 0.05
"""Time between two checks whether an approval is in effect.

Unless a message to the person is pending, the answer itself arrives before the first.
"""

SOCKETS_MAX: Final = 8
"""Connections to the agent's socket: the standing one, and one per device being approved."""

RPC_BYTES_MAX: Final = 4_194_304
"""Bytes of one frame; the greeting has 17 KB, and lists are short."""

REPAIR_S: Final = 10.0
"""How long repairing the record of devices may delay the start.

Five seconds for the version, the rest for two files, which take a millisecond on a healthy disk.
"""

OWN_RETRY_S: Final = 30.0
"""Wait before approving the agent's own client again after a failure (compat/pairing.md)."""

CLOSE_S: Final = 1.0
"""How long a connection to the agent, or a reader, may delay the shutdown."""
