"""Keys of browsers and the copies that are sealed to them, in `content.db`."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
from msgspec.structs import asdict

from holdfast.content.records import BrowserKey, CopyObstacle, SealedKey
from holdfast.stores.sqlite.store import SqliteStore
from holdfast.wire.limits import BROWSER_COPIES_MAX, BROWSER_KEYS_MAX


class BrowserKeysSqlite(SqliteStore):
    """The part of the store of content that has keys of browsers."""

    async def browsers(self, account: str | None, *, limit: int) -> Sequence[BrowserKey]:
        """Return keys of browsers of an account or of all, the newest first."""
        rows = await self._read("browsers", account=account, limit=limit)
        names = BrowserKey.__struct_fields__
        return [BrowserKey(**dict(zip(names, row, strict=True))) for row in rows]

    async def browsers_of_id(self, account: str | None, browser: str) -> Sequence[BrowserKey]:
        """Return the keys with an id, of an account or of all: one of each account at most."""
        rows = await self._read("browsers_of_id", account=account, id=browser)
        names = BrowserKey.__struct_fields__
        return [BrowserKey(**dict(zip(names, row, strict=True))) for row in rows]

    async def add_browser(self, key: BrowserKey) -> bool:
        """Add a key; return False where the account has no room or has had this one."""
        values = {**asdict(key), "most": BROWSER_KEYS_MAX}

        def run(connection: apsw.Connection) -> bool:
            connection.execute(self._sql["drop_revoked_browsers"], values)
            return connection.execute(self._sql["add_browser"], values).get is not None

        return await self._writer.call(run)

    async def revoke_browser(self, account: str, browser: str, now_ms: int) -> None:
        """Revoke a key, delete its copies and what it locks; the first time stays."""
        await self._change("revoke_browser", account=account, id=browser, now_ms=now_ms)

    async def sealed_keys(self, node: str, account: str) -> Sequence[SealedKey]:
        """Return what is sealed of a node's keys, the newest first."""
        rows = await self._read("copies", node=node, account=account)
        names = SealedKey.__struct_fields__
        return [SealedKey(**dict(zip(names, row, strict=True))) for row in rows]

    async def add_sealed_key(
        self, key: SealedKey, *, renews: bool, alone: bool = False
    ) -> CopyObstacle:
        """Add a copy; return why not, if not. See `BrowserKeyStore`."""
        values = {**asdict(key), "renews": renews, "alone": alone, "most": BROWSER_COPIES_MAX}

        def run(connection: apsw.Connection) -> CopyObstacle:
            obstacle: CopyObstacle = connection.execute(self._sql["copy_obstacle"], values).get
            if not obstacle:
                connection.execute(self._sql["put_copy"], values)
                connection.execute(self._sql["drop_older_copies"], values)
            return obstacle

        return await self._writer.call(run)
