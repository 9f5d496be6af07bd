"""Every limit of the controller, by name.

Each number names its source: a page of docs/compat, or a reason.
"""

from __future__ import annotations

from typing import Final

FIRST_REQUEST_BYTES_MAX: Final = 8_192
"""Head of a request to the first listener; beyond it the connection is closed."""

FIRST_CALLERS_MAX: Final = 256
"""Connections of the first listener at once; a further one is closed."""

FIRST_HEAD_S: Final = 5.0
"""How long a caller of the first listener may take for its request."""

DESCRIPTORS_RESERVE: Final = 600
"""Descriptors that callers' connections leave: 256 connections to the agent, both ends of 100
WebSockets, what waits to be accepted (128), and files."""

CALLERS_MIN: Final = 64
"""Connections that are taken however few descriptors there are."""

BACKLOG: Final = 128
"""Connections waiting to be accepted, and accepted at a time; aiohttp's figure too."""

ACCEPT_RETRY_S: Final = 1.0
"""Pause in accepting after the system refused to; asyncio's own figure."""

BODY_BYTES_MAX: Final = 65_536
"""Body of a control request; no route needs more than a few bytes."""

LINE_BYTES_MAX: Final = 8_000
"""Target of a control request, and each header that its route reads; aiohttp's own figure is
8,190, and above it writes a traceback."""

LINE_CHARS_MAX: Final = 8_192
"""Characters of one line of the agent's output; the rest of a longer line is dropped."""

READ_BYTES: Final = 65_536
"""Bytes read from the agent's output at a time: the size of a pipe."""

DRAIN_BYTES_MAX: Final = 1_048_576
"""Bytes still read from the pipes of an agent that has ended."""

LOG_BUFFER_BYTES_MAX: Final = 262_144
"""Log bytes buffered while the log is not read; later lines are dropped and counted."""

PURGE_ROUNDS_MAX: Final = 8
"""Searches for processes left by an ended agent, in case they fork meanwhile."""

VERSION_TIMEOUT_S: Final = 5.0
"""Time limit of `--version` (compat/controller.md)."""

VERSION_WAIT_S: Final = 6.0
"""How long a report or a reader waits for the version.

`--version` itself and a short wait for the lock; after that the cached version is used.
"""

VERSION_TEXT_MAX: Final = 4_096
"""Bytes kept of what `--version` prints."""

VERSION_RETRY_MS: Final = 60_000
"""Time before a failed version query is repeated."""

REPAIR_TIMEOUT_S: Final = 120.0
"""Time limit of the agent's own repair: that of a doctor's run (compat/controller.md)."""

CHECKIN_FIRST_MS: Final = 120_000
"""First check-in after the start (compat/check-in.md)."""

CHECKIN_INTERVAL_MS: Final = 300_000
"""Time from one check-in to the next (compat/check-in.md)."""

CHECKIN_INTERVAL_MIN_MS: Final = 1_000
CHECKIN_INTERVAL_MAX_MS: Final = 3_600_000
"""Intervals that a directive may set; others are ignored."""

SLOW_PHASE_S: Final = 2.0
"""A phase of the start that takes longer is reported while it runs: the pace of change reports."""

CHECKIN_TIMEOUT_S: Final = 10.0
"""Time limit of a check-in (compat/check-in.md)."""

CHANGE_GAP_MS: Final = 1_000
"""Least time between check-ins on a change, except for the spare one."""

CHANGE_SOON_MS: Final = 250
"""Least time before the spare one.

A person sees a request within 2 s even right after another change (the figure for pairing), and
changes at the same time still share a report.
"""

CHANGE_SPARE_MS: Final = 30_000
"""Time in which one spare check-in is allowed.

With it a machine sends 31 in 30 s, which the plane's allowance of one a second, a tenth early and
three at once, never refuses.
"""

EARLIER_BOOTS_MAX: Final = 8
"""Earlier boots whose counts are kept until acknowledged, reported four at a time.

The plane remembers 16 boots: with more of them here it could forget one that is reported again, and
count it twice.
"""

ANSWERS_ENOUGH: Final = 4
"""Answered reports after which an earlier boot counts as acknowledged.

The plane writes received reports every second, and the first and the fourth of reports on a change
are two seconds apart even if one of them was the spare one: one crash of the plane cannot lose all.
"""

CHECKIN_JITTER: Final = 0.1
"""Random share of the interval, so that a fleet started at once spreads out."""

ANSWER_BYTES_MAX: Final = 65_536
"""Bytes read of the plane's answer; a directive takes less than 2 KiB."""

WAKE_SLACK_S: Final = 10.0
"""A long poll is given up this long after the plane should have answered."""

WAKE_GAP_MS: Final = 1_000
"""Least time between two long polls that returned nothing new."""

COMMANDS_REMEMBERED: Final = 256
"""Ids of executed commands that are kept, so that a repeated one is executed once."""

READY_POLL_MS: Final = 100
"""Time between two readiness probes while the agent starts."""

READY_DOUBT_MS: Final = 2_000
"""Time between two probes of an agent that is no longer ready."""

READY_WATCH_MS: Final = 5_000
"""Time between two readiness probes once it is ready."""

PROBE_TIMEOUT_S: Final = 2.0
"""Time limit of one readiness probe."""

PROBE_BYTES_MAX: Final = 65_536
"""Bytes read of a probe's answer."""

SHUTDOWN_SLACK_S: Final = 5.0
"""Time of the whole shutdown beyond the stop grace, before the process gives up."""

LAST_RESORT_SLACK_S: Final = 3.0
"""Time beyond the shutdown's own deadline after which the process is ended by force."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long open connections may delay the shutdown."""

SETTLED_LOAD: Final = 0.1
"""One-minute load below which a machine with shared CPUs is idle (compat/controller.md)."""

SOCKETS_MAX: Final = 100
"""WebSockets proxied at once (compat/controller.md)."""

SOCKET_IDLE_MS: Final = 600_000
"""A WebSocket without traffic for this long is closed (compat/controller.md)."""

HANDSHAKE_MS: Final = 5_000
"""Time limit for the agent to answer an upgrade (compat/controller.md)."""

OBSERVER_RETRY_FIRST_MS: Final = 1_000
OBSERVER_RETRY_MAX_MS: Final = 300_000
"""The first and the longest wait before an observer that ended is started again."""

OBSERVER_HEALTHY_S: Final = 60.0
"""A run of the observer that lasted so long makes its earlier failures count no more."""

OBSERVER_SILENT_S: Final = 180.0
"""Without a word for so long an observer counts as stalled: it says one after each heartbeat, a
minute apart, and a registration and an exchange that fail take 20 s more."""

OBSERVER_STOP_S: Final = 4.0
"""From SIGTERM to SIGKILL for the observer, whose own end takes 3 s at most."""

INTENT_TIMEOUT_S: Final = 10.0
"""The whole call by which the plane hears of its owner's wish to see the node."""
