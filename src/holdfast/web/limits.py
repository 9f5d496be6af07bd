"""Every limit of the dashboard, by name. Durations end in `_s` (seconds) or `_ms`."""

from __future__ import annotations

from typing import Final

ROWS_PER_PAGE: Final = 100
"""Instances on one fleet page: what a person scans and a browser lays out at once."""

TIMELINE_ENTRIES: Final = 60
"""Entries of a timeline before "load more"."""

LOG_LINES: Final = 200
"""Lines of the log tail on an instance's page."""

LOG_PERIOD_S: Final = 1.0
"""How often an open instance page looks for new log lines."""

COALESCE_S: Final = 0.05
"""How long a stream waits for more changes before it draws them; a person sees 50 ms as at once."""

REDRAW_S: Final = 1.0
"""Seconds between two requests for a list whose members change, at least."""

LOOK_S: Final = 5.0
"""Seconds between two polls of an open page for figures and contacts, which are not published."""

FOLLOW_S: Final = 2.0
"""How often the page of an unfinished operation looks again."""

HEARTBEAT_S: Final = 15.0
"""Between comments on a quiet stream; proxies close what says nothing for 30 to 60 s."""

STREAM_LIFE_S: Final = 900.0
"""A stream ends after this long and the page connects anew, which proves its session again."""

QUEUE_KEYS_MAX: Final = 512
"""Keys waiting for one slow reader; beyond it the reader is shown everything afresh."""

SINGLE_ROWS_MAX: Final = 8
"""Rows of one batch that are asked for one by one; more of them are cheaper as one list."""

FRAGMENTS_MAX: Final = 4_096
"""Drawn rows kept for other readers of the same change."""

GZIP_BYTES_MIN: Final = 1_024
"""Files smaller than this are not worth packing."""

INBOX_ITEMS: Final = 100
"""Pairing requests on one page: more than anybody decides at a sitting."""

HISTORY_ENTRIES: Final = 20
"""Entries of an instance's history that are looked through for decisions to show."""

RECENT_KEYS_MAX: Final = 64
"""Instances whose pairing changed last that are remembered, of all accounts."""

RECENT_SHOWN: Final = 8
"""Instances whose latest decisions the inbox of one reader shows."""

NAMES_MAX: Final = 1_024
"""Names of instances that are remembered for the notes of decisions."""

FEED_ROWS: Final = 50
"""Corrections on one page; a live feed drops the oldest beyond it."""

LESSON_ROWS: Final = 10
"""Corrections and lessons on the page of one brain, before a link to all."""

BRAINS_LISTED: Final = 200
"""Brains on one page, and in the filter of the feed."""

NODES_LISTED: Final = 200
"""Nodes on one page."""

RECEIPTS_SHOWN: Final = 50
"""Receipts, and entries of the history, on the page of one node; the download has all."""

DIFFERENCES_MAX: Final = 1_024
"""Differences of texts that are kept: the newest are looked at most."""

VERSION_DIFFERENCES_MAX: Final = 16
"""Differences of versions of memory files that are kept, with their texts: 800 kB each at most."""

LIST_ITEMS: Final = 50
"""Orders and events on one page."""

AUDIT_ITEMS: Final = 100
"""Audited calls on one page."""

SESSION_ITEMS: Final = 50
"""Sessions of a node on one page."""

TURN_ITEMS: Final = 100
"""Events of a session on one page."""

LOG_ROWS: Final = 100
"""Log lines of a node on one page."""

MEMORY_FILES: Final = 200
"""Memory files of a node on one page."""

MEMORY_VERSIONS: Final = 20
"""Versions of one memory file on one page: they are read whole, 100 kB each."""

CRON_JOBS: Final = 100
"""Cron jobs of a node on one page."""

COST_ROWS: Final = 100
"""Agents, and models, on the page of costs."""

COSTS_LOOK_S: Final = 15.0
"""Seconds between two looks of an open page at costs, which change a few times a minute at most."""

TOWNS_LISTED: Final = 100
"""Towns on one page."""

LINES_SHOWN: Final = 40
"""Lines of a town's history before "load older"."""
