"""Tokens of attempts in the SQLite file of towns, by their hashes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import asdict

from holdfast.stores.sqlite.store import SqliteStore
from holdfast.towns.attempts import Grant


class GrantsTable(SqliteStore):
    """The part of a store that keeps them."""

    async def grants(self) -> Sequence[Grant]:
        """Return all grants."""
        return tuple(
            Grant(hash=hashed, town=town, agent=agent, attempt=attempt, issued_ms=issued_ms)
            for hashed, town, agent, attempt, issued_ms in await self._read("grants")
        )

    async def put_grant(self, grant: Grant) -> None:
        """Keep a grant in place of its agent's before."""
        await self._change("put_grant", **asdict(grant))

    async def drop_grants(self, hashes: Sequence[str]) -> None:
        """Delete grants by their hashes; unknown ones are skipped."""
        await self._change("drop_grants", hashes=msgspec.json.encode(hashes).decode())
