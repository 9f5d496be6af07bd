"""Every limit of the proxy that nobody sets, by name; times in seconds.

Those of WebSockets may be set, and stand beside the controller's other settings.
"""

from __future__ import annotations

from typing import Final

HEAD_BYTES_MAX: Final = 65_536
"""Head of a request or an answer; a browser's with cookies rarely takes more than 8 KiB."""

HEAD_S: Final = 15.0
"""How long a caller may take to send a head, also the first after connecting."""

REST_S: Final = 75.0
"""How long a connection of a caller may rest between two requests."""

CONNECT_S: Final = 5.0
"""How long the agent's port may take to accept; it is on loopback."""

ANSWER_S: Final = 300.0
"""How long the agent may take to begin its answer: some work on it for minutes."""

SILENCE_S: Final = 600.0
"""How long either side may be silent in the middle of a message: as for a WebSocket."""

BODY_BYTES_MAX: Final = 2**30
"""Body of one request to the agent; nothing of it is kept, but somebody has to pay for it."""

LEFT_BYTES_MAX: Final = 1_048_576
"""Bytes of a request's body that are still taken in, and thrown away, after its answer."""

AHEAD_BYTES_MAX: Final = 65_536
"""Bytes that a caller may send ahead of what is being answered; it is not read further then."""

CALLERS_MAX: Final = 512
"""Connections of callers at once; a machine has one owner."""

AGENT_CONNECTIONS_MAX: Final = 256
"""Connections to the agent at once, without WebSockets; more are answered with 503."""

SPARE_MAX: Final = 16
"""Connections to the agent that are kept for the next request."""

SPARE_S: Final = 4.0
"""How long they are: Node closes its own after 5 s."""

SWEEP_S: Final = 1.0
"""Between two looks for what is overdue."""
