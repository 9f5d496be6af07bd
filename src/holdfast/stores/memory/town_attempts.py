"""Grants of attempts in memory: the twin for tests and the simulator."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.towns.attempts import Grant


class MemoryGrants:
    """Grants by town and agent."""

    def __init__(self) -> None:
        self._grants: dict[tuple[str, str], Grant] = {}

    async def grants(self) -> Sequence[Grant]:
        """Return all grants."""
        return tuple(self._grants[key] for key in sorted(self._grants))

    async def put_grant(self, grant: Grant) -> None:
        """Keep a grant in place of its agent's before."""
        self._grants[grant.town, grant.agent] = grant

    async def drop_grants(self, hashes: Sequence[str]) -> None:
        """Delete grants by their hashes; unknown ones are skipped."""
        gone = set(hashes)
        self._grants = {key: one for key, one in self._grants.items() if one.hash not in gone}
