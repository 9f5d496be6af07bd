"""Authentication: principals of tokens and sessions, with a short-lived cache.

A result, positive or negative, is cached for CACHE_LIFE_MS, so a busy client costs no look-up per
call; a revocation in another process takes effect within that time, one in this process at once.
Keys are hashes; no secret is kept.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.accounts import rules
from holdfast.accounts.limits import (
    CACHE_ITEMS_MAX,
    CACHE_LIFE_MS,
    SESSION_IDLE_MS,
    SESSION_USE_GRAIN_MS,
    TOKEN_USE_GRAIN_MS,
)
from holdfast.accounts.ports import AccountsStore
from holdfast.kernel.clock import Clock
from holdfast.wire.api.call import Principal


class _Known(NamedTuple):
    """A cached look-up, valid until `until_ms`; `bound` is that of a session."""

    principal: Principal | None
    until_ms: int
    bound: str = ""


_NOBODY: Final = _Known(None, 0)


class Access:
    """Looks up principals and caches the results."""

    def __init__(
        self, store: AccountsStore, *, clock: Clock, session_idle_ms: int = SESSION_IDLE_MS
    ) -> None:
        """End sessions that were not used for `session_idle_ms`."""
        self._store = store
        self._clock = clock
        self._idle_ms = session_idle_ms
        self._known: dict[str, _Known] = {}
        self._generation = 0
        self._uses: dict[str, int] = {}
        self._session_uses: dict[str, int] = {}

    async def by_token(self, text: str) -> Principal | None:
        """Return the principal of an API token; None where it is unknown, revoked or expired."""
        if not rules.looks_right(text, rules.TOKEN_PREFIX):
            return None
        hashed, now_ms = rules.secret_hash(text), self._clock.now_ms()
        held = self._known.get(hashed, _NOBODY)
        if held.until_ms <= now_ms:
            held = await self._look_up_token(hashed, now_ms)
        principal = held.principal
        if principal is not None:
            self._uses[principal.token_id] = now_ms
        return principal

    async def by_session(self, text: str, bound: str) -> Principal | None:
        """Return the principal of a session; its `token_id` is the session's hash.

        None if `bound` is not the value with which the session began.
        """
        if not rules.looks_right(text, rules.SESSION_PREFIX):
            return None
        return await self._by_session(rules.secret_hash(text), bound)

    async def by_session_hash(self, hashed: str) -> Principal | None:
        """Return the principal of the session with this hash, for a caller that got it from one."""
        return await self._by_session(hashed, None)

    async def _by_session(self, hashed: str, bound: str | None) -> Principal | None:
        """Return the principal of the session with this hash, and record its use."""
        now_ms = self._clock.now_ms()
        held = self._known.get(hashed, _NOBODY)
        if held.until_ms <= now_ms:
            held = await self._look_up_session(hashed, now_ms)
        if held.principal is None or bound not in {None, held.bound}:
            return None
        self._session_uses[hashed] = now_ms
        return held.principal

    def forget(self) -> None:
        """Empty the cache: a token was revoked or created, or a session ended."""
        self._generation += 1
        self._known.clear()

    async def flush(self) -> int:
        """Store the times of last use; return their number. Call it about once a minute."""
        uses, self._uses = self._uses, {}
        if uses:
            await self._store.note_uses(
                {key: at_ms - at_ms % TOKEN_USE_GRAIN_MS for key, at_ms in uses.items()}
            )
        sessions = dict(self._session_uses)
        if sessions:
            await self._store.note_session_uses(
                {key: at_ms - at_ms % SESSION_USE_GRAIN_MS for key, at_ms in sessions.items()}
            )
        for key, at_ms in sessions.items():  # only now: before the write only memory has these
            if self._session_uses.get(key) == at_ms:
                del self._session_uses[key]
        return len(uses) + len(sessions)

    async def _look_up_token(self, hashed: str, now_ms: int) -> _Known:
        """Ask the store for a token."""
        generation, until_ms = self._generation, now_ms + CACHE_LIFE_MS
        token = await self._store.token(hashed)
        principal = None
        if token is not None and token.revoked_at_ms is None:
            until_ms = min(until_ms, token.expires_at_ms or until_ms)
            if until_ms > now_ms:
                principal = Principal(
                    name=token.name,
                    scope=token.scope,
                    account=token.account,
                    kind="token",
                    token_id=token.id,
                    expires_at_ms=token.expires_at_ms,
                )
        return self._remember(hashed, principal, until_ms, generation)

    async def _look_up_session(self, hashed: str, now_ms: int) -> _Known:
        """Ask the store for a session."""
        generation, until_ms = self._generation, now_ms + CACHE_LIFE_MS
        found = await self._store.session(hashed, now_ms)
        principal, bound = None, ""
        if found is not None:
            session, person = found
            used_ms = max(session.used_at_ms, self._session_uses.get(hashed, 0))
            until_ms = min(until_ms, session.expires_at_ms)
            if used_ms + self._idle_ms > now_ms:
                bound = session.bound
                principal = Principal(
                    name=person.name,
                    scope=person.scope,
                    account=person.account,
                    kind="session",
                    token_id=hashed,
                )
        return self._remember(hashed, principal, until_ms, generation, bound)

    def _remember(
        self,
        hashed: str,
        principal: Principal | None,
        until_ms: int,
        generation: int,
        bound: str = "",
    ) -> _Known:
        """Cache a look-up, unless something was revoked while it was under way."""
        known = _Known(principal, until_ms, bound)
        if generation == self._generation:
            while len(self._known) >= CACHE_ITEMS_MAX:
                del self._known[next(iter(self._known))]
            self._known[hashed] = known
        return known
