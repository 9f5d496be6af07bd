"""The constant limits of the edge; limits of settings and of endpoint rows are not here."""

from __future__ import annotations

from typing import Final

HEAD_BYTES_MAX: Final = 65_536
"""Bytes of a request line with its headers; ours take less than 2 KiB, a browser's with cookies
rarely more than 8."""

HEAD_S: Final = 15.0
"""Seconds in which a caller must send a request head; for the first, since connecting."""

LEFT_BYTES_MAX: Final = 64 * 1_048_576
"""Bytes that are read and discarded after an answer, so that a caller who was refused before its
body was read can still read the refusal: most clients send the whole body before they read. A
connection that was closed earlier looks like a broken one, and its client sends the same again.
Four times the largest body that any route takes."""

BODY_BYTES_PER_S: Final = 262_144
"""How fast a large body must come, beside the time that each has: 2 Mbit/s, a slow line."""

LEFT_S: Final = 60.0
"""Seconds in which these bytes must arrive."""

NODE_BODIES_BYTES_MAX: Final = 134_217_728
"""Bytes of bodies of nodes above 64 KiB that are read, decoded or stored at once, 128 MiB: eight of
the largest. Decoding takes about as much again. The next one waits."""

NODE_BODIES_EACH_BYTES_MAX: Final = 33_554_432
"""Bytes of these of one key, 32 MiB: a slow sender holds no more than a quarter."""

BLANK_BYTES_MAX: Final = 8
"""Bytes of empty lines before a request (RFC 9112, 2.2): some callers end a body with one."""

BACKLOG: Final = 1_024
"""Connections that wait to be accepted; as many may be accepted before the first is handled."""

CONNECTIONS_MAX: Final = 32_768
"""Open connections of callers, agents' hosts included, where descriptors and memory allow it: a
node holds one for its long poll, a machine two. 15,000 polls were held (docs/performance.md)."""

CONNECTIONS_FEW: Final = 8_192
"""As many may be open whatever memory there is, if there are descriptors for them."""

HEADS_PART: Final = 4
"""Heads of requests may take one part in so many of the host's memory, if all are the longest."""

OTHERS_MIN: Final = 512
"""Connections of callers that long polls of nodes leave to others: pages, machines, uploads. Those
that rest make room for one another. Half of all where there are not twice as many."""

CONNECTIONS_EACH_MAX: Final = 1_024
"""Open connections of one peer, unless it is on this machine or a trusted proxy: 500 machines
behind one address. Above it, a new connection closes the one of the same peer that is idle
longest."""

DESCRIPTORS_RESERVE: Final = 4_304
"""File descriptors kept free of callers' connections: for connections accepted and not yet handled
(1,024), the agents' ends of 2,000 WebSockets and of 512 requests, calls to controllers (512), and
256 for stores, logs and pipes; a plane without callers has about 60."""

CALLERS_PART: Final = 2
"""Callers have one part in so many of the descriptors, if the reserve would leave them less."""
