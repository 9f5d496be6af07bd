"""Keys of browsers in memory: the twin for tests and the simulator."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from holdfast.content.records import BrowserKey, CopyObstacle, SealedKey
from holdfast.wire.limits import BROWSER_COPIES_MAX, BROWSER_KEYS_MAX


class MemoryBrowserKeys:
    """The part of the store of content that has keys of browsers."""

    def __init__(self) -> None:
        self._browsers: dict[tuple[str, str], BrowserKey] = {}
        self._copies: list[SealedKey] = []

    async def browsers(self, account: str | None, *, limit: int) -> Sequence[BrowserKey]:
        """Return keys of browsers of an account or of all, the newest first."""
        found = [key for key in self._browsers.values() if account in {None, key.account}]
        return sorted(found, key=lambda key: (-key.created_ms, key.id))[:limit]

    async def browsers_of_id(self, account: str | None, browser: str) -> Sequence[BrowserKey]:
        """Return the keys with an id, of an account or of all: one of each account at most."""
        found = [key for key in self._browsers.values() if key.id == browser]
        return [key for key in found if account in {None, key.account}]

    async def add_browser(self, key: BrowserKey) -> bool:
        """Add a key; return False where the account has no room or has had this one."""
        of_account = [one for one in self._browsers.values() if one.account == key.account]
        gone = sorted(
            (one for one in of_account if one.revoked_ms is not None),
            key=lambda one: (-(one.revoked_ms or 0), one.id),
        )
        for one in gone[BROWSER_KEYS_MAX:]:
            del self._browsers[one.account, one.id]
        live = [one for one in of_account if one.revoked_ms is None]
        if len(live) >= BROWSER_KEYS_MAX or (key.account, key.id) in self._browsers:
            return False
        self._browsers[key.account, key.id] = key
        return True

    async def revoke_browser(self, account: str, browser: str, now_ms: int) -> None:
        """Revoke a key, delete its copies and what it locks; the first time stays."""
        key = self._browsers.get((account, browser))
        if key is not None and key.revoked_ms is None:
            self._browsers[account, browser] = replace(key, revoked_ms=now_ms, locked="")
            self._copies = [
                one for one in self._copies if (one.account, one.browser) != (account, browser)
            ]

    async def sealed_keys(self, node: str, account: str) -> Sequence[SealedKey]:
        """Return what is sealed of a node's keys, the newest first."""
        found = [one for one in self._copies if (one.node, one.account) == (node, account)]
        return sorted(found, key=lambda one: (-one.at_ms, one.key_id))

    async def add_sealed_key(
        self, key: SealedKey, *, renews: bool, alone: bool = False
    ) -> CopyObstacle:
        """Add a copy; return why not, if not. See `BrowserKeyStore`."""
        browser = self._browsers.get((key.account, key.browser))
        if browser is None or browser.revoked_ms is not None:
            return "no_browser"
        of_node = [
            one for one in self._copies if (one.node, one.account) == (key.node, key.account)
        ]
        here = [one for one in of_node if one.browser == key.browser]
        if alone and len(here) < len(of_node):
            return "not_alone"
        own = [one for one in here if renews and one.by == key.by]
        kept = [one for one in here if one not in own]
        if any(one.key_id == key.key_id for one in kept):
            return "known"
        if len(kept) >= BROWSER_COPIES_MAX:
            return "full"
        mine = [key, *(one for one in own if one.key_id != key.key_id)]
        mine.sort(key=lambda one: (-one.at_ms, one.key_id))
        others = [one for one in self._copies if one not in here]
        self._copies = [*others, *kept, *mine[: BROWSER_COPIES_MAX - len(kept)]]
        return ""
