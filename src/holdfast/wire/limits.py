"""Every limit on what crosses the network, by name."""

from __future__ import annotations

from typing import Final

BODY_BYTES_MAX: Final = 65_536
"""A request body, unless its endpoint says otherwise."""

CHECKIN_BODY_BYTES_MAX: Final = 16_384
"""A check-in; a real one takes less than 1 KiB."""

TEXT_MAX: Final = 128
"""Characters of a name, version or id in a message."""

REASON_MAX: Final = 512
"""Characters of a reason or an error text in a message."""

COUNTER_MAX: Final = 2**53 - 1
"""The largest counter that every JSON reader keeps exactly."""

BOOTS_MAX: Final = 4
"""Earlier boots whose last counters a check-in repeats."""

INCIDENTS_MAX: Final = 20
"""Outages kept of an instance: 4 KB of its state at most."""

INCIDENT_REPAIRS_MAX: Final = 8
"""Repairs named of one outage."""

CLIMBS_MAX: Final = 5
"""The last rungs of the recovery that a check-in names: one for each there is."""

UNREAD_MAX: Final = 8
"""Reasons for which files of an agent cannot be read that an observer reports: with texts of
CLIMB_TEXT_MAX the report still fits one line of a pipe (4 KiB)."""
CLIMB_TEXT_MAX: Final = 240
"""Characters of why a rung was taken, and of what came of it, in a check-in."""

PHASES_MAX: Final = 16
"""Phases of a controller's start; it has six."""

COMMANDS_MAX: Final = 16
"""Commands in one directive."""

OUTCOMES_MAX: Final = 16
"""Outcomes of commands in one check-in."""

WAKE_WAIT_S_MAX: Final = 30
"""How long the plane holds a long poll open, in seconds."""

TIME_TEXT_MAX: Final = 32
"""Characters of a time in ISO 8601."""

ENV_NAME_MAX: Final = 128
"""Characters of the name of an environment variable."""

ENV_VALUE_MAX: Final = 8_192
"""Characters of the value of an environment variable; Linux itself stops at 128 KiB."""

CPUS_MAX: Final = 64
"""CPUs of one machine."""
MEMORY_MB_MIN: Final = 256
"""Memory of one machine, in mebibytes: the least that Fly offers."""
MEMORY_MB_MAX: Final = 1_048_576
"""Memory of one machine, in mebibytes: a tebibyte."""

ENV_VARIABLES_MAX: Final = 200
"""Environment variables of one instance, plain or secret."""

INSTANCE_BODY_BYTES_MAX: Final = 1_048_576
"""A request that carries environment variables."""

PAGE_ITEMS_MAX: Final = 500
"""Items in one page of a list."""

BULK_ITEMS_MAX: Final = 500
"""Instances in one bulk request."""

VERDICTS_MAX: Final = 100
"""Decisions about lessons in one answer to a brain, which repeats the call for newer ones."""

LOG_LINES_MAX: Final = 1_000
"""Lines of one answer of a log tail."""

LOG_LINE_MAX: Final = 8_192
"""Characters of one log line; a longer one is cut by the machine."""

CHART_POINTS_MAX: Final = 2_000
"""Points of one series of a chart."""

UPGRADE_STEPS_MAX: Final = 16
"""Steps of an order for another version."""
VERSIONS_SHOWN_MAX: Final = 64
"""Versions of an agent that a preview offers, the newest ones."""
STEPS_MAX: Final = 1_000
"""Steps in the story of one operation, facts of an explanation, actions of a rehearsed tick."""

REHEARSAL_TICKS_MAX: Final = 1_000
"""Ticks in the answer of one rehearsal."""

REHEARSAL_EVENTS_MAX: Final = 64
"""Invented events in one rehearsal; what one tick takes."""

PASSWORD_MIN: Final = 12
"""Characters of a password; NIST SP 800-63B requires 8 at least, 15 where it is the only factor."""

PASSWORD_MAX: Final = 256
"""Characters of a password, so that hashing it has a greatest cost."""

SECRET_TEXT_MAX: Final = 128
"""Characters of a token, session or sign-in link; ours take less than 64."""

IDEMPOTENCY_KEY_MAX: Final = 128
"""Characters of an `Idempotency-Key`."""

PAIRING_PENDING_MAX: Final = 1_000
"""Pairing requests of one instance in one list; OpenClaw itself keeps 3 for each account."""

PAIRING_RULES_MAX: Final = 50
"""Rules of one instance's pairing policy."""

PAIRING_SCOPES_MAX: Final = 32
"""Scopes of a pairing request or rule."""

PAIRING_SOURCES_MAX: Final = 64
"""Sources of one list of pairing requests: channels, and the devices."""

CONFIG_PATH_MAX: Final = 128
"""Characters of a path into an agent's configuration."""

SECRET_FIELDS_MAX: Final = 64
"""Fields, and groups of them, in the catalogue of secrets."""

INSTANCES_MAX: Final = 100_000
"""Instances that one answer counts something for."""

INGEST_BODY_BYTES_MAX: Final = 1_048_576
"""A batch of corrections: a sender bounds its payloads at half of this."""

INGEST_ROWS_MAX: Final = 500
"""Rows in one batch, below what a brain may send in a minute, so that each batch can pass."""

SYNC_BODY_BYTES_MAX: Final = 16_777_216
"""A body of the gradata SDK, which sends 500 events at once, each with two texts of up to 2,000
characters: 12 MB where all are written as six bytes, as in Cyrillic. Its public server took 2 MB;
its client halves after a 413, but older ones go on with the same body."""

EVENT_ID_MAX: Final = 128
"""Characters of an event's id."""

SOURCE_MAX: Final = 128
"""Characters of the name of a source: one sender's folder."""

CONTENT_MAX: Final = 100_000
"""Characters of a draft and its final text together; what the SDK records at most."""

CONTEXT_MAX: Final = 16_384
"""Characters of a correction's context, as JSON."""

PREVIEW_MAX: Final = 2_000
"""Characters of a text in a list of corrections; the correction itself has all of it."""

EVENT_IDS_SHOWN_MAX: Final = 16
"""Event ids that are shown of one correction."""

GAPS_MAX: Final = 1_000
"""Ranges of missing numbers that are kept of one source."""

SEARCH_TEXT_MAX: Final = 200
"""Characters of a search."""

ROTATION_OVERLAP_S: Final = 86_400
"""Seconds that replaced secrets of an instance stay valid unless the request sets others."""

ROTATION_OVERLAP_S_MAX: Final = 604_800
"""Seconds that they may at the longest: a week."""

NODE_BODY_BYTES_MAX: Final = 16_777_216
"""A body of an observer: the snapshot of a busy node was seen above 700 kB, a heartbeat at 8 MB."""

NODE_NAME_MAX: Final = 128
"""Characters of the name that a node gives itself."""

NODE_WAIT_S: Final = 15
"""Seconds that a node's long poll is held where it names none: what the daemon asks for, which
gives up after 25."""
NODE_WAIT_S_MAX: Final = 25
"""Seconds that it is held at most, below common proxy limits of 30: what our observer gets. 15,000
polls are 600 a second then; at 15 s they were 1,000."""

PENDING_QUERIES_MAX: Final = 5
"""Questions to a node in one heartbeat's answer: its client answers them before it goes on."""

SUCCESSORS_MAX: Final = 64
"""Rotations of the key that signs consent, one a month for five years: each heartbeat's answer has
a successor of each, so that a node with any earlier key follows to the newest."""

RECEIPTS_MAX: Final = 256
"""Receipts of consent that are kept of a node, each about 700 bytes; the oldest goes. One export
has all of them."""

VIEW_STEP_MS: Final = 3_600_000
"""An hour: the moment of the last look at a node is kept, and told to the plane, to this precision,
so that looking costs few events."""

NODE_ROWS_MAX: Final = 100_000
"""Rows that one body of a node may have; clients send 200 at once."""

NODE_SESSION_MAX: Final = 512
"""Characters of the name of a session or job."""

NODE_PATH_MAX: Final = 1_024
"""Characters of the path of a memory file."""

BROWSER_KEYS_MAX: Final = 64
"""Keys of browsers of one account in force, recovery codes with them: a person has a few, a team
some dozens. As many are revoked ones that are still shown."""

SAMPLES_CHARS_MAX: Final = 65_536
"""Characters of the samples of one preview: of each class three of 240 characters, sealed twice."""

BROWSER_COPIES_MAX: Final = 4
"""Content keys of one node that are kept for one browser: an earlier one opens what it sealed."""
