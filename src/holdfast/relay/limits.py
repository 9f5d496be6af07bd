"""Every limit of the relay that nobody sets, by name; times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one relay allows. The figures are the controller's; the plane has some of its own."""

    head_bytes: int = 65_536
    """Head of a request or an answer; a browser's with cookies rarely takes more than 8 KiB."""

    head_s: float = 15.0
    """How long a caller may take to send a head, also the first after connecting."""

    blank_lines: int = 4
    """Empty lines before a request: some callers end a body with a line too many."""

    rest_s: float = 75.0
    """How long a connection of a caller may rest between two requests."""

    connect_s: float = 5.0
    """How long the server may take to accept."""

    answer_s: float = 300.0
    """How long the server may take to begin its answer: some work on it for minutes."""

    silence_s: float = 600.0
    """How long either side may be silent in the middle of a message: as for a WebSocket."""

    answer_heads: int = 32
    """Heads that one request is answered with, those below 200 included: few ever are needed."""

    body_bytes: int = 2**30
    """Body of one request; nothing of it is kept, but somebody has to pay for it."""

    left_bytes: int = 1_048_576
    """Bytes of a request's body that are still taken in, and thrown away, after its answer."""

    left_s: float = 5.0
    """How long that may take, and how long a caller may take to read the rest of an answer."""

    ahead_bytes: int = 65_536
    """Bytes that a caller may send ahead of what is being answered; it is not read further then."""

    callers: int = 512
    """Connections of callers at once; a machine has one owner."""

    callers_each: int = 384
    """Of these from one address: the rest is for the plane, where it is another."""

    upstreams: int = 256
    """Connections to one server at once, without WebSockets; more are answered with 503."""

    spare: int = 16
    """Connections to one server that are kept for the next request."""

    spare_s: float = 4.0
    """How long they are: Node closes its own after 5 s."""

    sweep_s: float = 1.0
    """Between two looks for what is overdue."""
