"""Fixed limits of the relay, by name; times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one relay. The defaults are the controller's; the plane sets some of its own."""

    head_bytes: int = 65_536
    """Head of a request or an answer; a browser's with cookies rarely takes more than 8 KiB."""

    head_s: float = 15.0
    """Time for a caller to send a head, also the first after connecting."""

    blank_lines: int = 4
    """Empty lines before a request: some callers end a body with an extra line."""

    rest_s: float = 75.0
    """Idle time of a caller's connection between two requests."""

    connect_s: float = 5.0
    """Time for the server to accept."""

    answer_s: float = 300.0
    """Time for the server to begin its answer: some work on it for minutes."""

    silence_s: float = 600.0
    """Idle time of either side within a message: as for a WebSocket."""

    answer_heads: int = 32
    """Heads in answer to one request, including those below 200: few are ever needed."""

    body_bytes: int = 2**30
    """Body of one request; it is streamed, but its traffic is not free."""

    left_bytes: int = 1_048_576
    """Bytes of a request's body still received, and discarded, after its answer."""

    left_s: float = 5.0
    """Time for that, and for a caller to read the rest of an answer."""

    ahead_bytes: int = 65_536
    """Bytes a caller may send ahead of the answer under way; then reading pauses."""

    callers: int = 512
    """Connections of callers at once; a machine has one owner."""

    callers_each: int = 384
    """Of these from one address: the rest is for the plane, where it is another."""

    upstreams: int = 256
    """Connections to one server at once, without WebSockets; more are answered with 503."""

    spare: int = 16
    """Connections to one server kept for the next request."""

    spare_s: float = 4.0
    """How long they are kept: Node closes its own after 5 s."""

    sweep_s: float = 1.0
    """Time between two checks for what is overdue."""
