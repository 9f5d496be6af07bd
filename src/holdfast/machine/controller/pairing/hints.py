"""Lines of the agent's output that hint at a change of who waits: pure.

They are hints and nothing more: the words differ by release, and of a channel's request nothing is
printed at all. A reply that the agent was slow to give is printed too, with the name of what was
asked; taken for a hint, asking would make the next asking.
"""

from __future__ import annotations

from typing import Final

_WORDS: Final = ("pairing", "pair request", "device request", "approve", "paired")
_REPLY: Final = "⇄ res"


def is_hint(line: str) -> bool:
    """Return whether the line may mean that somebody asked or was decided about."""
    if _REPLY in line:
        return False
    lower = line.lower()
    return any(word in lower for word in _WORDS) or "closed before connect" in lower
