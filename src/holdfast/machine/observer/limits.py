"""Every bound of the observer, by name, with its reason."""

from __future__ import annotations

from typing import Final

HEARTBEAT_MS: Final = 60_000
"""Time between two heartbeats (compat/clawmetry-daemon.md)."""

HEARTBEAT_VIEWED_MS: Final = 3_000
"""The same while somebody looks at the node (compat/clawmetry-daemon.md)."""

WORD_MS: Final = 300_000
"""How long a server's `sync_allowed` counts after its last heartbeat answer: five heartbeats.

Where heartbeats are no longer answered a revocation could not arrive, so nothing is sent.
"""

WAKE_MUTED_MS: Final = 600_000
"""Time without long polls after a server said that it has none (compat/clawmetry-daemon.md)."""

WAKE_RETRY_MS: Final = 15_000
"""Time between two long polls that failed, or returned at once."""

WAKE_GAP_MS: Final = 1_000
"""Least time between a long poll that was answered and the next."""

WAKE_SLACK_S: Final = 10.0
"""A long poll is given up so long after the server should have answered."""

EXCHANGE_TIMEOUT_S: Final = 10.0
"""Each wait for the other side, in a heartbeat or an upload."""

CARRY_BUDGET_S: Final = 18.0
"""No further upload of a batch is begun after this time: the queue waits 35 s for a batch."""

REGISTER_TIMEOUT_S: Final = 8.0
"""The whole registration (compat/controller.md)."""

REGISTER_RETRY_MS: Final = 15_000
"""Time between two tries to register."""

ANSWER_BYTES_MAX: Final = 65_536
"""Bytes of an answer that are read as JSON; a heartbeat's answer takes less than 8 KiB, and
less than 32 KiB with as many successors of the signing key as a plane can have."""

KEYS_MAX: Final = 16
"""Keys kept in a gate: the pinned one, the one that signed its grant, and the newest ones."""

GATE_BYTES_MAX: Final = 65_536
"""Bytes of the gate's file; it takes less than 12 KiB."""

CONFIG_BYTES_MAX: Final = 65_536
"""Bytes of `config.json`; the five fields take less than 1 KiB."""

SCAN_MS: Final = 2_000
"""Time between two looks at the files while the gate is open."""

FULL_SCAN_MS: Final = 600_000
"""Every file is looked at after this time, whatever its change time says."""

CHANGE_MARGIN_MS: Final = 3_000
"""A file changed so shortly before the last look is looked at again: change times are coarse."""

BLOCK_BYTES: Final = 176_000
"""Bytes read of a file at a time: what one upload takes."""

BLOCK_LINES_MAX: Final = 200
"""Lines in one upload (compat/clawmetry-daemon.md)."""

BLOCKS_A_TURN: Final = 4
"""Blocks of one file before the next file has its turn."""

LINE_BYTES_MAX: Final = 1_048_576
"""A longer line is delivered as a note of its size; reading it whole would take the memory."""

BODY_BYTES_MAX: Final = 180_000
"""Bytes of a plain upload: sealed, in base64 and with its names it takes less than the queue's
256 KiB a row, also with 8 KiB more of fields beside its lines."""

BODY_ROOM_BYTES: Final = 1_024
"""Bytes of a body that its lines or rows leave to the fields beside them."""

LABEL_CHARS_MAX: Final = 200
"""Characters of a title, a name or a model: texts that the agent writes, of any length."""

JOB_FIELDS_MAX: Final = 32
"""Numbers and words of a cron job's state: more than any release of OpenClaw writes."""

MODELS_MAX: Final = 100
"""Models in the numbers of a day; those of further ones are added up."""

TEXTS_CUT_TO: Final = (65_536, 8_192, 1_024, 128)
"""Characters that each text of a line is cut to, in turn, until the line fits an upload."""

HEAD_BYTES: Final = 256
"""Bytes at the start of a file that tell it from another in its place."""

TAIL_BYTES: Final = 64
"""Bytes before the cursor that tell a file that grew from one that was written anew."""

DOCUMENT_CHARS_MAX: Final = 100_000
"""Characters of a memory file in an upload (compat/clawmetry-daemon.md)."""

WORKSPACE_FILES_MAX: Final = 200
"""Files of the workspace that are followed beside those of memory, the first by their path."""

WORKSPACE_ENTRIES_MAX: Final = 2_000
"""Names in the workspace that are looked at in one scan, so that a checkout in it costs little."""

WORKSPACE_DEPTH_MAX: Final = 4
"""Folders below the workspace that are looked into."""

WORKSPACE_FILE_BYTES_MAX: Final = 65_536
"""A larger file of the workspace is not sent: it is data, and no text that an agent works with."""

DOCUMENT_BYTES_MAX: Final = 1_048_576
"""Bytes of a memory file or an index that are read; the rest of a larger one is not."""

SETTLED_MS: Final = 1_000
"""A whole file is read once it has not changed for so long: it may be half written."""

QUEUE_ROWS_MAX: Final = 200
QUEUE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Reading pauses while more than this waits in the queue: the files keep the rest.

The queue takes all of it into memory when it looks for what to send.
"""

LOG_FILES_MAX: Final = 5
"""Log files that are followed, the newest ones (compat/clawmetry-daemon.md)."""

GZIP_BYTES_MIN: Final = 4_096
"""Smaller texts are not compressed before sealing (compat/clawmetry-daemon.md)."""

SAMPLES_S: Final = 20.0
"""How long files are read for the samples of a preview, which has a minute: of gigabytes the rest
is not counted, and the page says so."""

SAMPLES_MAX: Final = 3
"""Samples of a class that a preview prints."""

SAMPLE_CHARS_MAX: Final = 240
"""Characters of one sample."""

CLOSE_S: Final = 3.0
"""Time for what is being sent when the observer is told to end."""

QUERY_S: Final = 30
"""Seconds that one read of a database may take: what takes longer is a pipe, or a disk that does
not answer. With 36 programs for two cores, reads of a small database took up to 10 s."""

QUERY_CPU_S: Final = 10
"""Seconds of a processor that it may take. A group over 1,000,000 events takes 0.5 s; what takes
longer is a view without end."""

QUERY_RETRY_FIRST_MS: Final = 10_000
QUERY_RETRY_MAX_MS: Final = 600_000
"""The first and the longest time without a read of a database that ended its reader."""

QUERY_FAILURES_KEPT: Final = 1_000
"""Databases of which that is remembered, the latest ones."""

QUERY_ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of an answer: a line of 1 MiB beyond an upload's worth, with every character escaped."""

SESSIONS_MAX: Final = 20_000
SESSION_CHARS_MAX: Final = 4_096
"""Sessions of one database that are read, the first by their names, and characters of such a name.
OpenClaw's have 36 characters."""

STUCK_MS: Final = 120_000
"""Time without a step of reading after which it is said to hang: a database may take QUERY_S."""

SWEEP_MS: Final = 3_600_000
"""Time between two looks for cursors of files that are gone."""

GONE_KEPT_MS: Final = 30 * 86_400_000
GONE_MAX: Final = 10_000
"""How long, and of how many files of a class, cursors are kept after a file is gone: one that comes
back later, from an archive say, is sent again. A cursor takes 0.3 kB."""
