"""Authentication: principals of tokens and sessions, with a short-lived cache.

A result, positive or negative, is cached for CACHE_LIFE_MS, so a busy client costs no look-up per
call; a revocation in another process takes effect within that time, one in this process at once.
Keys are hashes; no secret is kept.
"""

from __future__ import annotations

from holdfast.accounts import rules
from holdfast.accounts.limits import CACHE_ITEMS_MAX, CACHE_LIFE_MS, TOKEN_USE_GRAIN_MS
from holdfast.accounts.ports import AccountsStore
from holdfast.kernel.clock import Clock
from holdfast.wire.api.call import Principal


class Access:
    """Looks up principals and caches the results."""

    def __init__(self, store: AccountsStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[Principal | None, int]] = {}
        self._generation = 0
        self._uses: dict[str, int] = {}

    async def by_token(self, text: str) -> Principal | None:
        """Return the principal of an API token; None where it is unknown, revoked or expired."""
        if not rules.looks_right(text, rules.TOKEN_PREFIX):
            return None
        hashed, now_ms = rules.secret_hash(text), self._clock.now_ms()
        held = self._known.get(hashed)
        if held is None or held[1] <= now_ms:
            held = await self._look_up_token(hashed, now_ms)
        principal = held[0]
        if principal is not None:
            self._uses[principal.token_id] = now_ms
        return principal

    async def by_session(self, text: str) -> Principal | None:
        """Return the principal of a session; its `token_id` is the session's hash."""
        if not rules.looks_right(text, rules.SESSION_PREFIX):
            return None
        return await self.by_session_hash(rules.secret_hash(text))

    async def by_session_hash(self, hashed: str) -> Principal | None:
        """Return the principal of the session with this hash."""
        now_ms = self._clock.now_ms()
        held = self._known.get(hashed)
        if held is None or held[1] <= now_ms:
            held = await self._look_up_session(hashed, now_ms)
        return held[0]

    def forget(self) -> None:
        """Empty the cache: a token was revoked or created, or a session ended."""
        self._generation += 1
        self._known.clear()

    async def flush(self) -> int:
        """Store when tokens were last used; return how many. Called about once a minute."""
        uses, self._uses = self._uses, {}
        if uses:
            await self._store.note_uses(
                {key: at_ms - at_ms % TOKEN_USE_GRAIN_MS for key, at_ms in uses.items()}
            )
        return len(uses)

    async def _look_up_token(self, hashed: str, now_ms: int) -> tuple[Principal | None, int]:
        """Look a token up in the store."""
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

    async def _look_up_session(self, hashed: str, now_ms: int) -> tuple[Principal | None, int]:
        """Look a session up in the store."""
        generation, until_ms = self._generation, now_ms + CACHE_LIFE_MS
        found = await self._store.session(hashed, now_ms)
        principal = None
        if found is not None:
            session, person = found
            until_ms = min(until_ms, session.expires_at_ms)
            principal = Principal(
                name=person.name,
                scope=person.scope,
                account=person.account,
                kind="session",
                token_id=hashed,
            )
        return self._remember(hashed, principal, until_ms, generation)

    def _remember(
        self, hashed: str, principal: Principal | None, until_ms: int, generation: int
    ) -> tuple[Principal | None, int]:
        """Cache a result, unless `forget` was called while it was read."""
        if generation == self._generation:
            while len(self._known) >= CACHE_ITEMS_MAX:
                del self._known[next(iter(self._known))]
            self._known[hashed] = (principal, until_ms)
        return principal, until_ms
