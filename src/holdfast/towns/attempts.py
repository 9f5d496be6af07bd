"""Tokens of attempts: issued at the start, kept as hashes, good while theirs is the present one.

A start is asked for at least once, so its token must be the same each time: it is derived from the
plane's key and the attempt, and no earlier one is made useless by a repetition. Whether an attempt
is the present one is read from its town as it was committed last (`LiveTowns`), and never from a
copy that something would have to keep up to date.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from holdfast.actors.committed_tick import CommittedTick
from holdfast.kernel.clock import Clock
from holdfast.towns.definition import KIND
from holdfast.towns.state import Agent, State, found
from holdfast.wire.api.call import Principal, Refusal

TOKEN_PREFIX: Final = "hfa_"  # noqa: S105  a prefix, so that scanners of leaked secrets know ours
_TOKEN: Final = re.compile(r"hfa_[A-Za-z0-9_-]{43}")
ENDED_KEPT: Final = 10_000
"""Hashes of tokens that ended which are remembered, so that their holders are told so."""


class Grant(Struct, frozen=True, kw_only=True, gc=False):
    """A token by its hash, and whose it is."""

    hash: str
    town: str
    agent: str
    attempt: str
    issued_ms: int


class AttemptStore(Protocol):
    """The store of grants: at most one for each agent of a town."""

    async def grants(self) -> Sequence[Grant]:
        """Return all grants."""
        ...

    async def put_grant(self, grant: Grant) -> None:
        """Keep a grant in place of its agent's before; return once that is durable."""
        ...

    async def drop_grants(self, hashes: Sequence[str]) -> None:
        """Delete grants by their hashes; unknown ones are skipped."""
        ...


def token_hash(token: str) -> str:
    """Return the hash that is stored. A token has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_present(state: State, grant: Grant) -> bool:
    """Return whether an attempt is its agent's present one, or may still say that it is done."""
    agent = state.agents.get(grant.agent)
    if agent is None or state.town.closed_ms:
        return False
    if agent.attempt == grant.attempt:
        return True
    (bead, *_) = (*found(state, "attempt", grant.attempt), "")
    return bool(bead) and state.beads[bead].assignee == grant.agent


class LiveTowns:
    """States of towns as they were committed last, of those in which somebody works.

    They share their parts with what the engine holds. A town that was not ticked since the start is
    not known; each is, because it is told that the loop resumed.
    """

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def get(self, town: str) -> State | None:
        """Return a town, or None where it is not known."""
        return self._states.get(town)

    def put(self, state: State, *, kept: bool) -> None:
        """Keep a town, or drop it."""
        if kept:
            self._states[state.town.id] = state
        else:
            self._states.pop(state.town.id, None)


class Attempts:
    """The grants in memory, as they are in the store."""

    def __init__(self, store: AttemptStore, *, key: bytes, towns: LiveTowns, clock: Clock) -> None:
        """Begin empty; `key` is what tokens are derived from."""
        self._store = store
        self._key = key
        self.towns = towns
        self._clock = clock
        self._by_hash: dict[str, Grant] = {}
        self._of_town: dict[str, dict[str, Grant]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    async def load(self) -> None:
        """Read the store."""
        for grant in await self._store.grants():
            self._keep(grant)

    def token_of(self, town: str, agent: str, attempt: str) -> str:
        """Return the token of an attempt, the same each time."""
        whose = f"{town}\0{agent}\0{attempt}"  # ids hold no NUL
        raw = hmac.new(self._key, whose.encode(), hashlib.sha256).digest()
        return TOKEN_PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    async def issue(self, town: str, agent: str, attempt: str) -> str:
        """Return the token of an attempt once it is durable; the agent's one before ends."""
        token = self.token_of(town, agent, attempt)
        grant = Grant(
            hash=token_hash(token),
            town=town,
            agent=agent,
            attempt=attempt,
            issued_ms=self._clock.now_ms(),
        )
        if grant.hash not in self._by_hash:
            await self._store.put_grant(grant)
            self._keep(grant)
        return token

    async def revoke(self, town: str, agent: str, attempt: str) -> None:
        """End the token of an attempt; of one that is not known nothing is left to end."""
        grant = self._of_town.get(town, {}).get(agent)
        if grant is not None and grant.attempt == attempt:
            await self.forget((grant,))

    async def forget(self, grants: Iterable[Grant]) -> None:
        """End tokens: in memory first, so that none works while a disk is slow."""
        ended = [grant for grant in grants if self._by_hash.get(grant.hash) is grant]
        for grant in ended:
            self._drop(grant)
        if ended:
            await self._store.drop_grants([grant.hash for grant in ended])

    def ended_in(self, state: State, agents: Iterable[str] | None = None) -> list[Grant]:
        """Return grants of a town, or of some of its agents, that are not good any more."""
        known = self._of_town.get(state.town.id, {})
        asked = known if agents is None else agents
        grants = (known[one] for one in asked if one in known)
        return [grant for grant in grants if not is_present(state, grant)]

    def has_any(self, town: str) -> bool:
        """Return whether a town has grants."""
        return town in self._of_town

    def grant(self, principal: Principal) -> Grant:
        """Return the grant of a caller; refuse (401) one that has ended since it was admitted."""
        grant = self._by_hash.get(principal.token_id)
        if grant is None:
            raise ended()
        return grant

    def owner(self, token: str) -> Principal | None:
        """Return the principal of a token, None for an unknown one; refuse (401) one that ended."""
        if _TOKEN.fullmatch(token) is None:
            return None
        hashed = token_hash(token)
        grant = self._by_hash.get(hashed)
        if grant is None:
            if hashed in self._ended:
                raise ended()
            return None
        state = self.towns.get(grant.town)
        if state is not None and not is_present(state, grant):
            raise ended()
        # An empty account is nobody's; none at all would be an operator's.
        account = "" if state is None else state.town.account
        name = f"{grant.agent}@{grant.town}"
        return Principal(name, "attempt", account, "key", token_id=hashed)

    def _keep(self, grant: Grant) -> None:
        of_town = self._of_town.setdefault(grant.town, {})
        before = of_town.get(grant.agent)
        if before is not None and before.hash != grant.hash:
            self._drop(before)
        self._of_town.setdefault(grant.town, {})[grant.agent] = grant
        self._by_hash[grant.hash] = grant
        self._ended.pop(grant.hash, None)

    def _drop(self, grant: Grant) -> None:
        del self._by_hash[grant.hash]
        of_town = self._of_town[grant.town]
        if of_town.get(grant.agent) is grant:
            del of_town[grant.agent]
        if not of_town:
            del self._of_town[grant.town]
        self._ended[grant.hash] = None
        if len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)


def ended() -> Refusal:
    """Return the refusal (401) of a token whose attempt is not the present one any more."""
    return Refusal(
        401, "attempt_ended", "this attempt has ended: its agent works on something else, or rests",
        fix="end the program; what it reported before is kept, and its bead goes on without it",
    )  # fmt: skip


def town_of(committed: CommittedTick) -> State | None:
    """Return the town of a tick that is over; None for other kinds of actor."""
    if committed.kind.definition.kind != KIND:
        return None
    state: State = committed.tick.after.state
    return state


def works(agent: Agent) -> bool:
    """Return whether an agent has a run that sends heartbeats."""
    return agent.status != "idle" and bool(agent.attempt)
