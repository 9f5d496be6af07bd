"""Texts and settings of towns in a SQLite file of their own, `towns.db`.

One thread writes with group commit and answers after the commit; another reads. What is erased is
overwritten, and the WAL is emptied after it, so that no copy of it stays in the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast, get_args

import apsw
import msgspec
from msgspec.structs import asdict

from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.database import open_reader, open_store
from holdfast.stores.sqlite.town_attempts import GrantsTable
from holdfast.towns.records import NOTICES_KEPT, Notice, RigSettings, Text, TextKind

CHECKPOINT_PAGES: Final = 1_024
"""Pages of 4 KiB in the WAL at which a commit checkpoints it."""

_SETTINGS: Final = msgspec.json.Decoder(RigSettings)
_encode: Final = msgspec.json.Encoder().encode


class TownsSqlite(GrantsTable):
    """The store of texts, settings and tokens, in a file."""

    def __init__(
        self, writer: apsw.Connection, reader: apsw.Connection, queries: dict[str, str]
    ) -> None:
        """Use `open_towns` instead."""
        self._file = writer
        self._erased = False
        super().__init__(writer, reader, queries, name="towns", tidy=self._empty_wal)

    async def put_text(self, town: str, text: Text) -> None:
        """Keep a text; one with the same id stays as it is."""
        await self._change("put_text", town=town, **asdict(text))

    async def text(self, town: str, text: str) -> Text | None:
        """Return a text, None where it is unknown or was erased."""
        return (await self.texts(town, (text,))).get(text)

    async def texts(self, town: str, ids: tuple[str, ...]) -> Mapping[str, Text]:
        """Return those of some texts that are there, by id."""
        rows = await self._read("texts", town=town, ids=_encode(ids).decode())
        return {
            one: Text(id=one, kind=_kind(kind), title=title, body=body, made_ms=made_ms)
            for one, kind, title, body, made_ms in rows
        }

    async def drop_text(self, town: str, text: str) -> None:
        """Erase a text; one that is not there is erased."""
        await self._erase(("drop_text",), town=town, id=text)

    async def put_rig(self, town: str, settings: RigSettings) -> None:
        """Keep the settings of a rig in place of those before; they are overwritten."""
        body = _encode(settings).decode()
        await self._erase(("put_rig",), town=town, name=settings.rig, body=body)

    async def rig(self, town: str, rig: str) -> RigSettings | None:
        """Return the settings of a rig; damaged ones are none."""
        rows = await self._read("rig", town=town, name=rig)
        return _settings(rows[0][0]) if rows else None

    async def rigs(self, town: str) -> tuple[RigSettings, ...]:
        """Return the settings of all rigs of a town, by name, without damaged ones."""
        found = (_settings(body) for (body,) in await self._read("rigs", town=town))
        return tuple(one for one in found if one is not None)

    async def drop_rig(self, town: str, rig: str) -> None:
        """Erase the settings of a rig; ones that are not there are erased."""
        await self._erase(("drop_rig",), town=town, name=rig)

    async def sealed(self) -> tuple[tuple[str, RigSettings], ...]:
        """Return the settings of all rigs that have a credential, without damaged ones."""
        found = ((town, _settings(body)) for town, body in await self._read("all_rigs"))
        return tuple((town, one) for town, one in found if one is not None and one.token)

    async def reseal(self, town: str, rig: str, old: str, new: str) -> bool:
        """Put a credential in place of one; return False where that is another by now."""
        return await self._erase(("reseal",), town=town, name=rig, old=old, new=new) > 0

    async def put_notice(self, town: str, notice: Notice) -> None:
        """Keep a notice in place of the one before with its code about the same entity."""
        values = {"town": town, **asdict(notice), "most": NOTICES_KEPT}

        def run(connection: apsw.Connection) -> None:
            connection.execute(self._sql["put_notice"], values)
            connection.execute(self._sql["drop_older_notices"], values)

        await self._writer.call(run)

    async def notices(self, town: str) -> tuple[Notice, ...]:
        """Return the notices of a town, the newest first."""
        rows = await self._read("notices", town=town)
        return tuple(
            Notice(code=code, about=about, severity=severity, at_ms=at_ms)
            for code, about, severity, at_ms in rows
        )

    async def erase(self, town: str) -> int:
        """Erase all texts, settings and notices of a town; return how many rows there were."""
        return await self._erase(("erase_texts", "erase_rigs", "erase_notices"), town=town)

    async def _erase(self, queries: tuple[str, ...], **values: str) -> int:
        """Run statements that delete or replace, in one commit; return how many rows they did."""

        def run(connection: apsw.Connection) -> int:
            rows = 0
            for query in queries:
                connection.execute(self._sql[query], values)
                rows += connection.changes()
            self._erased = self._erased or rows > 0
            return rows

        return await self._writer.call(run)

    def _empty_wal(self, _idle: bool) -> None:  # noqa: FBT001  a callback of the thread, no switch
        """Empty the WAL after a deletion; a reader in the middle of one puts it off."""
        if not self._erased:
            return
        self._file.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._erased = False


def _kind(said: str) -> TextKind:
    """Return a stored kind; an unknown one, of newer code or damage, is shown as a bead's."""
    return cast("TextKind", said) if said in get_args(TextKind) else "bead"


def _settings(body: str) -> RigSettings | None:
    try:
        return _SETTINGS.decode(body)
    except ValueError:  # msgspec's are ValueErrors too
        return None


def open_towns(path: Path, *, now_ms: int) -> TownsSqlite:
    """Open the file, created and migrated if needed; raise MigrationError for a newer one."""
    writer = open_store(path, "towns", now_ms=now_ms, checkpoint_pages=CHECKPOINT_PAGES)
    writer.execute("PRAGMA secure_delete = ON")
    return TownsSqlite(writer, open_reader(path), load_queries(SQL / "towns"))
