"""Every limit of pairing, by name.

Each number says where it comes from: a page of docs/compat, what was observed of OpenClaw, or a
reason.
"""

from __future__ import annotations

from typing import Final

CHANNEL_TTL_MS: Final = 3_600_000
"""How long a channel request is valid: the agent's own rule (compat/openclaw.md)."""

DEVICE_TTL_MS: Final = 300_000
"""How long a device request is valid: the agent's own rule (compat/openclaw.md)."""

PERIOD_MS: Final = 120_000
"""From one look to the next when nothing happens (compat/pairing.md)."""

PERIOD_ASKED_MS: Final = 2_000
"""The same where the agent's socket is asked because its store is not understood: the kernel then
tells of no change, and an answer costs a millisecond."""

BACKOFF_FIRST_MS: Final = 30_000
BACKOFF_MAX_MS: Final = 300_000
"""Waits after looks that failed, doubled each time (compat/pairing.md)."""

DEBOUNCE_MS: Final = 50
"""From what hints at a change to the look at a cheap source: one request is several writes."""

DEBOUNCE_COMMAND_MS: Final = 2_000
"""The same where a look is a command line of seconds (compat/pairing.md)."""

GRACE_MS: Final = 1_000
"""A file that was there and is gone is looked for again after this long before it is believed."""

FILE_BYTES_MAX: Final = 1_048_576
"""Bytes of a store or configuration file; three requests of a channel take less than 2 KiB."""

ROWS_MAX: Final = 256
"""Requests kept of one channel or of the devices; more are cut, newest first."""

STORE_TIMEOUT_S: Final = 3.0
"""How long one read of files or of the database may take; it takes about a millisecond."""

SQLITE_BUSY_S: Final = 0.25
"""How long a read waits for the database; it reads in a WAL and so waits for nobody in practice."""

FORCED_WAIT_S: Final = 25.0
"""How long an answer waits for a refresh that was asked for; a control plane gives up at 30 s."""

META_ITEMS_MAX: Final = 32
META_TEXT_MAX: Final = 256
META_DEPTH_MAX: Final = 3
"""What is kept of the fields that an agent adds of its own."""

VERDICTS_MAX: Final = 1_024
"""Approved and dismissed requests that are remembered; an hour of a busy machine has dozens."""

VERDICT_SLACK_MS: Final = 600_000
"""How much longer than a request a verdict about it is kept, for clocks that differ."""

CHANNELS_MAX: Final = 32
"""Channels of one agent that are looked at."""

COMMAND_TIMEOUT_S: Final = 180.0
"""How long a command line of the agent may take, for slow machines (compat/pairing.md)."""

TURN_S: Final = 40.0
"""How long a command waits until no other one runs; a control plane gives up on it at 50 s."""

OVERTAKEN_MAX: Final = 3
"""How often a look that made room for something urgent is run again before it has failed."""

RESTART_SEEN_S: Final = 1.0
"""How soon after a command changed the configuration a restart for it begins; OpenClaw 2026.7.35
began 0.1 s later."""

RESTARTED_S: Final = 8.0
"""How long that restart is waited for; it took 3 s."""

RESTARTED_LOOKS: Final = 3
RESTART_LOOK_S: Final = 0.1
"""An agent is back when it says so this often in a row, asked at this pace."""

COMMAND_BYTES_MAX: Final = 2_000_000_000
"""Memory of a command and what it starts; the worst that was seen, a first call, took 1.69 GB."""

COMMAND_OUTPUT_CHARS_MAX: Final = 1_048_576
"""Characters kept of a command's output; a list of requests takes a few thousand."""

COMMAND_ERROR_LINES: Final = 20
COMMAND_ERROR_CHARS: Final = 2_000
"""What is kept of the end of what a command complains, for the log."""

POLL_S: Final = 1.0
"""How often files are looked at where the system gives no news about them."""

RPC_TIMEOUT_S: Final = 5.0
"""How long one answer of the agent's socket may take; it takes a millisecond, 60 with a message."""

EFFECT_LOOK_S: Final = 0.05
"""From one look at whether an approval is in effect to the next; without a notice that waits, the
answer itself is there before the first."""

SOCKETS_MAX: Final = 8
"""Connections to the agent's socket: the standing one, and one for each device being approved."""

RPC_BYTES_MAX: Final = 4_194_304
"""Bytes of one frame; the greeting has 17 KB, and lists are short."""

REPAIR_S: Final = 10.0
"""How long repairing the record of devices may delay the start: five for the version, the rest for
two files, which take a millisecond where the disk is well."""

OWN_RETRY_S: Final = 30.0
"""How long the agent's own client waits for another try after a failure (compat/pairing.md)."""

CLOSE_S: Final = 1.0
"""How long a connection to the agent, or all that looks, may delay the end."""
