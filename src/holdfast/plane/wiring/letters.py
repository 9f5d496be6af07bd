"""The table of letters: kind of sender, kind of receiver, letter.

`content` is a stream: its letters are accepted, as it has no commit that they could be rows of.

Each receiver's definition accepts exactly these and raises for anything else, which then goes back
to its sender; a test compares the two, and docs/architecture.md prints the table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from holdfast.letters.instances import InstanceDestroyed
from holdfast.letters.spend import SpendCrossed
from holdfast.letters.towns import AgentsHosted, HostSeen


class Route(NamedTuple):
    """A letter with the kinds of actor that send and receive it, and its effect."""

    sender: str
    letter: type[Struct]
    receiver: str
    effect: str


ROUTES: Final = (
    Route("instance", InstanceDestroyed, "pairing", "the pairing of that instance ends for good"),
    Route("instance", InstanceDestroyed, "node", "the instance's node is closed, all consent ends"),
    Route("town", AgentsHosted, "instance", "the instance tells the town whether it runs"),
    Route("instance", HostSeen, "town", "its agents there are given work, or none any more"),
    Route("content", SpendCrossed, "instance", "an alert of its budget, or the pause of its cap"),
)


def table() -> str:
    """Return the routes as a Markdown table."""
    rows = [f"| `{s}` | `{letter.__name__}` | `{r}` | {why} |" for s, letter, r, why in ROUTES]
    return "\n".join(("| sender | letter | receiver | effect |", "|---|---|---|---|", *rows))
