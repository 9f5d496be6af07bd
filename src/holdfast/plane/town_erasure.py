"""Erases what closed towns and removed rigs leave behind, as read from what was committed.

The orders that close and remove erase credentials too. A plane that was killed in between, and an
order that was taken later than it was answered, leave that to this.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.actors.ports import Reader
from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.towns.calls import readable
from holdfast.towns.records import TownRecords
from holdfast.towns.state import Town, decode_rig, decode_town
from holdfast.towns.views import RIG_VIEW, TOWN_VIEW, row_key

KEPT_MS: Final = 8 * DAY_MS
"""How long a closed town keeps texts and settings: a day longer than ended attempts are kept, whose
clones are deleted by the settings of their rig."""
EVERY_S: Final = 600.0
_PAGE: Final = 1_000


class _Held(NamedTuple):
    """A sealed credential, of a rig of a town."""

    town: str
    rig: str
    token: str


class TownErasure:
    """Erases credentials of what is over, and all rows beside a town long after its close."""

    def __init__(self, reader: Reader, records: TownRecords, clock: Clock) -> None:
        self._reader = reader
        self._records = records
        self._clock = clock
        self._over: frozenset[_Held] = frozenset()
        self._erased: set[str] = set()

    async def run(self) -> None:
        """Erase what is due.

        A credential is erased when two runs saw it without a live rig: settings are written before
        the event that adds their rig again.
        """
        sealed = [_Held(town, one.rig, one.token) for town, one in await self._records.sealed()]
        over = frozenset([one for one in sealed if await self._is_over(one)])
        for one in over & self._over:
            await self._records.reseal(one.town, one.rig, one.token, "")
        self._over = over
        await self._erase_closed()

    async def _is_over(self, held: _Held) -> bool:
        row = await self._reader.view(TOWN_VIEW, held.town)
        town = None if row is None else readable(row[0], decode_town)
        if town is None:
            return False  # nothing is known of it
        if town.closed_ms:
            return True
        row = await self._reader.view(RIG_VIEW, row_key(held.town, held.rig))
        if row is None:
            return True
        rig = readable(row[0], decode_rig)
        return rig is not None and rig.gone

    async def _erase_closed(self) -> None:
        after, before_ms = "", self._clock.now_ms() - KEPT_MS
        while page := await self._reader.views(TOWN_VIEW, account=None, after=after, limit=_PAGE):
            for key, body, _seq in page:
                town = readable(body, decode_town)
                if town is not None and key not in self._erased and _ended(town, before_ms):
                    await self._records.erase(key)
                    self._erased.add(key)
            after = page[-1][0]


def _ended(town: Town, before_ms: int) -> bool:
    return 0 < town.closed_ms < before_ms
