"""Credentials of rigs: sealed by the key ring for one rig of one town, opened only to be used."""

from __future__ import annotations

from contextlib import suppress

from holdfast.instances.ports import Context, UnsealError
from holdfast.kernel.secret import Secret
from holdfast.plane.secret_encryption import KeyRing, sealed_by
from holdfast.towns.records import RigSettings, TownRecords


class RigTokens:
    """Seals and opens the `token` of settings of rigs."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def seal(self, town: str, rig: str, token: str) -> str:
        """Return a credential sealed for this rig."""
        return self._ring.seal(token, _context(town, rig))

    def open(self, town: str, settings: RigSettings) -> Secret:
        """Return the credential of a rig, empty where it has none.

        Raise UnsealError, which names the rig, for one that does not open here.
        """
        if not settings.token:
            return Secret("")
        return Secret(self._ring.open(settings.token, _context(town, settings.rig)))


class SealedRigs:
    """The stored credentials of all rigs, as a rotation of the key sees them."""

    def __init__(self, records: TownRecords, ring: KeyRing) -> None:
        self._records = records
        self._ring = ring

    async def stale(self) -> list[tuple[str, RigSettings]]:
        """Return rigs whose credential an older key of the ring sealed, each with its town.

        What a lost key sealed can never be opened, and is not waited for.
        """
        older = tuple(map(sealed_by, self._ring.ids[:-1]))
        return [one for one in await self._records.sealed() if one[1].token.startswith(older)]

    async def reseal(self) -> int:
        """Seal with the newest key what older ones sealed; return how many.

        One that was set anew meanwhile is left, and one that does not open is left too.
        """
        tokens, done = RigTokens(self._ring), 0
        for town, settings in await self.stale():
            with suppress(UnsealError):
                new = tokens.seal(town, settings.rig, tokens.open(town, settings).reveal())
                done += await self._records.reseal(town, settings.rig, settings.token, new)
        return done


def _context(town: str, rig: str) -> Context:
    """Return what a credential is bound to: names of accounts are no part of it."""
    return Context("town", town, f"token of rig {rig}")
