"""Texts and settings of towns in memory: the twin for tests and the simulator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec.structs import replace

from holdfast.stores.memory.town_attempts import MemoryGrants
from holdfast.towns.records import NOTICES_KEPT, Notice, RigSettings, Text


class MemoryTownRecords(MemoryGrants):
    """Rows of each town by their ids."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: defaultdict[str, dict[str, Text]] = defaultdict(dict)
        self._rigs: defaultdict[str, dict[str, RigSettings]] = defaultdict(dict)
        self._notices: defaultdict[str, dict[tuple[str, str], Notice]] = defaultdict(dict)

    async def put_text(self, town: str, text: Text) -> None:
        """Keep a text; one with the same id stays as it is."""
        self._texts[town].setdefault(text.id, text)

    async def text(self, town: str, text: str) -> Text | None:
        """Return a text, None where it is unknown or was erased."""
        return self._texts[town].get(text)

    async def texts(self, town: str, ids: tuple[str, ...]) -> Mapping[str, Text]:
        """Return those of some texts that are there, by id."""
        rows = self._texts[town]
        return {one: rows[one] for one in ids if one in rows}

    async def drop_text(self, town: str, text: str) -> None:
        """Erase a text; one that is not there is erased."""
        self._texts[town].pop(text, None)

    async def put_rig(self, town: str, settings: RigSettings) -> None:
        """Keep the settings of a rig in place of those before."""
        self._rigs[town][settings.rig] = settings

    async def rig(self, town: str, rig: str) -> RigSettings | None:
        """Return the settings of a rig."""
        return self._rigs[town].get(rig)

    async def rigs(self, town: str) -> tuple[RigSettings, ...]:
        """Return the settings of all rigs of a town, by name."""
        return tuple(self._rigs[town][name] for name in sorted(self._rigs[town]))

    async def drop_rig(self, town: str, rig: str) -> None:
        """Erase the settings of a rig; ones that are not there are erased."""
        self._rigs[town].pop(rig, None)

    async def sealed(self) -> tuple[tuple[str, RigSettings], ...]:
        """Return the settings of all rigs that have a credential, each with its town."""
        return tuple(
            (town, rigs[name])
            for town, rigs in sorted(self._rigs.items())
            for name in sorted(rigs)
            if rigs[name].token
        )

    async def reseal(self, town: str, rig: str, old: str, new: str) -> bool:
        """Put a credential in place of one; return False where that is another by now."""
        known = self._rigs[town].get(rig)
        if known is None or known.token != old:
            return False
        self._rigs[town][rig] = replace(known, token=new)
        return True

    async def put_notice(self, town: str, notice: Notice) -> None:
        """Keep a notice in place of the one before with its code about the same entity."""
        rows = self._notices[town]
        rows[(notice.code, notice.about)] = notice
        for old in self._sorted(town)[NOTICES_KEPT:]:
            del rows[(old.code, old.about)]

    async def notices(self, town: str) -> tuple[Notice, ...]:
        """Return the notices of a town, the newest first."""
        return tuple(self._sorted(town))

    def _sorted(self, town: str) -> list[Notice]:
        rows = self._notices[town].values()
        return sorted(rows, key=lambda one: (-one.at_ms, one.code, one.about))

    async def erase(self, town: str) -> int:
        """Erase all texts, settings and notices of a town; return how many rows there were."""
        tables = (self._texts, self._rigs, self._notices)
        return sum(len(table.pop(town, {})) for table in tables)
