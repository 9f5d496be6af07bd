"""Limits of observed nodes and their content, each with the source of its figure."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS

REGISTRATIONS_PER_HOUR: Final = 10
"""Registrations without a credential from one address in an hour (compat/clawmetry.md)."""
REGISTRATION_WINDOW_MS: Final = HOUR_MS
PEERS_MAX: Final = 10_000
"""Addresses whose registrations are counted; the one counted longest ago is dropped."""

KEYS_PER_ACCOUNT: Final = 100_000
KEYS_PER_INSTANCE: Final = 4
"""Keys in force of one instance: its machine asks for another after it lost one, and the oldest is
deleted then."""
NODES_PER_KEY: Final = 1_000
"""Nodes that one key may speak for; a registered key speaks for one."""
NAME_TRIES: Final = 8
"""How often a free name is looked for, each with 24 random bits."""

ONLINE_MS: Final = 150_000
"""Silence after which a node is not online: the daemon's heartbeats are up to 75 s apart, and one
may be lost (compat/clawmetry.md)."""
REGISTER_AGAIN_MS: Final = MINUTE_MS
"""Between two tries to tell consent of a node that it does not know."""
FLUSH_S: Final = 5.0
"""Between two writes of contacts and refused counts, in seconds: what a crash loses of them."""
FLUSH_NODES: Final = 500
"""Nodes of one write, which the event loop prepares in about 3 ms."""

SENDERS_MAX: Final = 4
"""Senders of one node that are known; who was heard longest ago is forgotten."""
SENDER_KEPT_MS: Final = 7 * 86_400 * SECOND_MS
"""How long a sender that is not heard is known, while others come."""
SENDER_LAST_MS: Final = MINUTE_MS
"""How long requests that were under way may come with the key from before a registration."""

VIEWER_MS: Final = MINUTE_MS
"""How long somebody counts as looking at a node after a page asked for it."""
VIEWED_MAX: Final = 10_000
"""Nodes whose looks are remembered before those that ended are dropped."""

OLD_PREFIX: Final = "0.12."
OLD_BELOW: Final = 200
"""The daemon's versions 0.12.x with an x below this keep what is refused with 403 and send it
again; later ones give it up after 150 s. 0.12.170 and 0.12.937 were seen; the boundary is between
them."""

GAP_BEFORE_MS: Final = HOUR_MS
"""Sessions that changed so long before the first refusal count as touched by it: clocks differ."""
GAP_OPEN_MS: Final = 15 * MINUTE_MS
"""How long sessions are taken as parts of a gap after consent was given: a client names its 30
newest in each cycle of 15 s."""
GAP_SESSIONS_MAX: Final = 500
GAP_AGAIN_MS: Final = 2 * MINUTE_MS
"""When an unanswered question is asked again."""
GAP_TRIES: Final = 3

ROWS_IN_PART: Final = 50
"""Rows decoded before yielding to the event loop."""
PART_BYTES: Final = 131_072
"""Bytes of rows decoded before yielding: JSON of many small values takes about 3 ms."""
NODES_IN_PART: Final = 2_000
"""Nodes whose names are compared before yielding, which takes about 1 ms."""
LINE_JSON_MAX: Final = 131_072
"""Bytes of a log line whose JSON is read, for its level and its words; of a larger one the text is
shown and searched."""
ROW_BYTES_MAX: Final = 4_194_304
"""Bytes of one row in the clear; a tool's output in a transcript may be large."""
META_BYTES_MAX: Final = 65_536
"""Bytes of one row of metadata."""
AHEAD_MS_MAX: Final = 86_400 * SECOND_MS
"""A row dated further in the future than this gets the time of its arrival instead."""

SAMPLES_MS: Final = MINUTE_MS
"""How long samples of a preview are carried, in memory alone, after they came."""
SAMPLES_MAX: Final = 64
"""Samples of an account's nodes carried at once, 4 MiB; more are refused until the minute of one
ends."""

PURGE_ROWS: Final = 2_000
"""Rows purged in one commit, so that no sender waits for a purge."""
PAGE_BYTES_MAX: Final = 4_194_304
"""Bytes of stored bodies in one page; at least one row is in it."""
SHOWN_MAX: Final = 200_000
"""Characters of one text in a page; an export has all of it."""
EXPORT_ROWS: Final = 200
SEARCH_ROWS: Final = 5_000
"""Log lines that one search looks at; it goes on with `next`."""
SEARCH_PAGES: Final = 10
"""Pages of the store that one search reads: fewer lines where they are long."""

USAGE_MODELS_MAX: Final = 200
"""Models of one node and day that are told apart; the rest is one sum. Our observer sends 100."""
USAGE_MAX: Final = 2**36
"""Tokens of one node, model and day at most: a thousand times what 1,000 tokens a second come to.

134 million such rows can be summed before SQLite's integers end.
"""
COST_DAYS_MAX: Final = 400
"""Days of one question about costs: a year, and a month to compare it with."""
COST_DAYS: Final = 30
"""Days of a question that names none."""
PROJECTION_DAYS: Final = 14
"""Days before today whose mean a projection goes on with: two weeks, as weekdays differ."""
PROJECTION_DAYS_MIN: Final = 3
"""Days with numbers below which there is no projection."""
