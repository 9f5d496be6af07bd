"""Every limit of the edge that nobody sets, by name; what settings and rows bound is not here."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import MINUTE_MS

HEAD_BYTES_MAX: Final = 65_536
"""Bytes of a request line with its headers; ours take less than 2 KiB, a browser's with cookies
rarely more than 8."""

HEAD_S: Final = 15.0
"""How long a caller may take to send them, in seconds, also the first after connecting."""

LEFT_BYTES_MAX: Final = 2 * 1_048_576
"""Bytes that are taken in and thrown away after an answer: whoever was refused before the body
was read shall read the refusal, and the largest body is half of this."""

BLANK_BYTES_MAX: Final = 8
"""Bytes of empty lines before a request (RFC 9112, 2.2): some callers end a body with one."""

BACKLOG: Final = 1_024
"""Connections that wait to be accepted; so many may be accepted before the first is looked at."""

CONNECTIONS_MAX: Final = 8_192
"""Connections of callers at once, agents' hosts included: a thousand machines hold two each."""

CONNECTIONS_EACH_MAX: Final = 1_024
"""Connections of one peer, unless it is on this machine or a trusted proxy: 500 machines behind one
address. Beyond it the peer's own longest-resting connection is closed for a new one."""

DESCRIPTORS_RESERVE: Final = 6_144
"""Descriptors that callers' connections leave: for what was accepted and is not yet looked at
(1,024), for both ends of 2,000 WebSockets, for connections to controllers (512), and for stores."""

DESCRIPTORS_SHARE: Final = 0.5
"""Share of the descriptors that callers get where the system gives fewer than twice the reserve."""

WRONG_PROOFS_BURST: Final = 50
"""Wrong tokens, keys or cookies of one peer that are looked up at once; more are refused unread."""

WRONG_PROOFS_PER_S: Final = 1.0
"""How many more of them a second."""

HELD_BACK_S: Final = 1.0
"""How long the refusal of a further one takes, in seconds: with one request at a time on each
connection, and the connection closed after it, a flood has to begin anew for each wrong proof."""

HELD_BACK_MAX: Final = 256
"""Such refusals that are under way at once; the rest is refused at once, so that none is held for
them."""

PROVEN_MAX: Final = 20_000
"""Right proofs that are remembered as such, so that a peer's neighbours are not refused with it."""

REFUSAL_LINES_EACH: Final = 10
"""Lines that the log has of one peer's refusals in a minute; the rest of them are counted."""

REFUSAL_WINDOW_MS: Final = MINUTE_MS
"""How long refusals are counted before the count is written."""

REFUSED_PEERS_MAX: Final = 1_000
"""Peers whose refusals are told apart in a minute; all further ones share one count."""
