"""Brains, keys and senders, cached in memory as they are in the file.

A batch needs its key, its brain and its sender; reading each from the file would cost more than
writing the batch. Changes go to the file first. A name made by a sender refers to a brain of its
key's account only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from holdfast.corrections import keys, limits
from holdfast.corrections.ports import CorrectionsStore, Entropy
from holdfast.corrections.records import Arrival, Brain, BrainKey, Counts, Standing, Written
from holdfast.kernel.clock import HOUR_MS, Clock
from holdfast.wire.api.call import Principal, Refusal
from holdfast.wire.controller.identity import key_hash
from holdfast.wire.limits import TEXT_MAX

REFUSED_HOURS: Final = 3
_ID_BYTES: Final = 8
DEFAULT_NAME: Final = "default"
OTHERS: Final = "others"
"""The sender and the SDK version under which anything beyond the bounds is counted."""
_GRAIN_MS: Final = 60_000


class Directory:
    """The cache, and every change of what it holds."""

    def __init__(self, store: CorrectionsStore, *, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._brains: dict[int, Brain] = {}
        self._by_id: dict[str, Brain] = {}
        self._by_name: dict[tuple[str, str], Brain] = {}
        self._in_order: list[Brain] = []
        self._aliases: dict[int, list[str]] = {}
        self._keys: dict[str, BrainKey] = {}
        self._by_hash: dict[str, BrainKey] = {}
        self._standings: dict[int, dict[str, Standing]] = {}
        self._counts: dict[int, dict[str, Counts]] = {}
        self._refused: dict[int, dict[int, int]] = {}
        self._uses: dict[str, int] = {}
        self._verdicts: dict[int, int] = {}
        self._taken: dict[int, int] = {}

    async def load(self) -> None:
        """Read the file."""
        hour = self._clock.now_ms() // HOUR_MS
        kept = await self._store.load(refused_since_hour=hour - REFUSED_HOURS)
        for brain in kept.brains:
            self._put_brain(brain)
        for account, alias, no in kept.aliases:
            self._by_name.setdefault((account, alias), self._brains[no])
            self._aliases.setdefault(no, []).append(alias)
        for key in kept.keys:
            self._put_key(key)
        for standing in kept.standings:
            self._standings.setdefault(standing.brain, {})[standing.source] = standing
        for counts in kept.counts:
            self._counts.setdefault(counts.brain, {})[counts.sdk] = counts
        for no, newest, taken in kept.verdicts:
            self._verdicts[no], self._taken[no] = newest, taken
        for no, at_hour, rows in kept.refused:
            self._refused.setdefault(no, {})[at_hour] = rows

    def _put_brain(self, brain: Brain) -> None:
        self._brains[brain.no] = self._by_id[brain.id] = brain
        self._by_name[brain.account, brain.name] = brain
        self._in_order = []

    def _put_key(self, key: BrainKey) -> None:
        self._keys[key.id] = self._by_hash[key.hash] = key

    # -- keys

    def owner(self, text: str) -> Principal | None:
        """Return the principal of a key; None where it is unknown or revoked."""
        if not keys.looks_right(text):
            return None
        key = self._by_hash.get(key_hash(text))
        if key is None or key.revoked_at_ms is not None:
            return None
        self._uses[key.id] = self._clock.now_ms()
        return Principal(key.name, "brain", key.account, "key", token_id=key.id)

    def key(self, key_id: str) -> BrainKey | None:
        """Return a key by its id."""
        return self._keys.get(key_id)

    def keys_of(self, account: str | None) -> list[BrainKey]:
        """Return an account's keys, or all, newest first."""
        found = [key for key in self._keys.values() if account in {None, key.account}]
        return sorted(found, key=lambda key: (-key.created_at_ms, key.id))

    async def make_key(
        self, name: str, *, account: str, brain: int, created_by: str
    ) -> tuple[str, BrainKey]:
        """Return a new key's secret and row; refuse (409) where the account has too many."""
        live = [key for key in self.keys_of(account) if key.revoked_at_ms is None]
        if len(live) >= limits.KEYS_PER_ACCOUNT:
            raise Refusal(
                409, "too_many_keys", f"this account has {limits.KEYS_PER_ACCOUNT} brain keys",
                fix="revoke those that are not used (see last_used_at)",
            )  # fmt: skip
        secret = keys.make_secret(self._entropy(keys.ENTROPY_BYTES))
        hashed = key_hash(secret)
        key = BrainKey(
            id=keys.id_of(hashed),
            hash=hashed,
            name=name,
            account=account,
            brain=brain,
            created_at_ms=self._clock.now_ms(),
            created_by=created_by,
        )
        await self._store.add_key(key)
        self._put_key(key)
        return secret, key

    async def revoke_key(self, key_id: str, *, account: str | None) -> BrainKey:
        """Revoke a key; refuse (404) one that is not visible to the account."""
        key = self._keys.get(key_id)
        if key is None or account not in {None, key.account}:
            raise Refusal(404, "no_such_key", "there is no such brain key", field="id")
        at_ms = key.revoked_at_ms
        if at_ms is None:
            at_ms = self._clock.now_ms()
            # In memory first: a revoked key must not work while a disk is slow.
            self._put_key(_with(key, revoked_at_ms=at_ms))
        # Also when it is revoked in memory already: if the first write failed, this one must
        # succeed, or the key would work again after a restart. The file keeps the first time.
        await self._store.revoke_key(key_id, at_ms)
        return self._keys[key_id]

    async def flush(self) -> None:
        """Store when keys were last used, to the minute; called about once a minute."""
        uses, self._uses = self._uses, {}
        if not uses:
            return
        rounded = {key_id: at_ms - at_ms % _GRAIN_MS for key_id, at_ms in uses.items()}
        await self._store.note_uses(rounded)
        for key_id, at_ms in rounded.items():
            self._put_key(_with(self._keys[key_id], last_used_at_ms=at_ms))

    # -- brains

    def brain(self, no: int) -> Brain:
        """Return a brain by its number; raise KeyError if there is none."""
        return self._brains[no]

    def shown(self, no: int) -> Brain:
        """Return a brain by its number, for showing its rows: one that is lost has no name."""
        return self._brains.get(no) or Brain(no=no, id=f"lost-{no}", name="", account="")

    def find(self, named: str, account: str | None) -> Brain | None:
        """Return a brain visible to an account, by its id or, within the account, its name."""
        brain = self._by_id.get(named)
        if brain is None and account is not None:
            brain = self._by_name.get((account, named))
        return brain if brain is not None and account in {None, brain.account} else None

    def brains_of(self, account: str | None) -> list[Brain]:
        """Return an account's brains, or all, by name."""
        if not self._in_order:
            self._in_order = sorted(self._brains.values(), key=lambda one: (one.name, one.id))
        return [brain for brain in self._in_order if account in {None, brain.account}]

    def aliases_of(self, no: int) -> Sequence[str]:
        """Return a brain's aliases: the names that its senders use."""
        return self._aliases.get(no, ())

    async def make_brain(self, name: str, *, account: str, instance: str = "") -> Brain:
        """Return the account's brain of this name, created if needed; refuse (429) too many."""
        if (
            sum(one.account == account for one in self._brains.values())
            >= limits.BRAINS_PER_ACCOUNT
        ):
            # 429, not a permanent refusal: the sender keeps its rows until there is room.
            raise Refusal(
                429, "too_many_brains", f"this account has {limits.BRAINS_PER_ACCOUNT} brains",
                fix="use one name for each brain, or a key of its own", retry_after_s=3_600,
            )  # fmt: skip
        brain = await self._store.add_brain(
            Brain(
                no=0,
                id="brn_" + self._entropy(_ID_BYTES).hex(),
                name=name,
                account=account,
                instance=instance,
                created_at_ms=self._clock.now_ms(),
            )
        )
        self._put_brain(brain)
        return brain

    async def resolve(self, key: BrainKey, names: Iterable[str]) -> Brain:
        """Return the brain of a request; `names` are those that the sender uses, best first.

        A key of one brain means that one, whatever the names, and adds no alias: a program sends
        its folder's name, which may be the same on other machines. Any other key means the brain
        of its account that has one of the names; if none has, one is created by the last name,
        which a person chose where a program chose the others.
        """
        if key.brain:
            return self._brains[key.brain]
        given = [name[:TEXT_MAX] for name in names if name]
        known = (self.find(name, key.account) for name in given)
        brain = next((brain for brain in known if brain is not None), None)
        if brain is None:
            name = given[-1] if given else DEFAULT_NAME
            brain = await self.make_brain(name, account=key.account)
        for name in given:
            await self._note_alias(brain, name)
        return brain

    async def _note_alias(self, brain: Brain, name: str) -> None:
        """Store an alias of a brain, up to a number of them."""
        known = self._aliases.setdefault(brain.no, [])
        if name in {brain.id, brain.name} or (brain.account, name) in self._by_name:
            return
        if len(known) >= limits.ALIASES_PER_BRAIN:
            return
        known.append(name)
        self._by_name[brain.account, name] = brain
        await self._store.add_alias(brain.account, name, brain.no)

    # -- senders

    def note(self, arrival: Arrival, written: Written) -> None:
        """Apply the result of an arrival, once it is durable."""
        no = arrival.brain
        self._standings.setdefault(no, {})[arrival.source] = written.standing
        known = self._counts.setdefault(no, {})
        before = known.get(arrival.sdk) or Counts(
            no, arrival.sdk, 0, 0, 0, arrival.received_ms, arrival.received_ms
        )
        known[arrival.sdk] = Counts(
            no,
            arrival.sdk,
            before.accepted + written.accepted,
            before.deduplicated + written.deduplicated,
            before.refused + len(arrival.refused),
            before.first_ms,
            arrival.received_ms,
        )
        if arrival.refused:
            hours = self._refused.setdefault(no, {})
            hour = arrival.received_ms // HOUR_MS
            hours[hour] = hours.get(hour, 0) + len(arrival.refused)
            for old in [one for one in hours if one < hour - REFUSED_HOURS]:
                del hours[old]

    def has_room_for(self, no: int, source: str) -> bool:
        """Return whether the sender is known, or another one can be added."""
        known = self._standings.get(no, {})
        return source in known or len(known) < limits.SOURCES_PER_BRAIN

    def counted_as(self, no: int, sdk: str) -> str:
        """Return the name under which an SDK version of a brain is counted."""
        known = self._counts.get(no, {})
        is_fine = sdk in known or len(known) < limits.VERSIONS_PER_BRAIN
        return sdk if is_fine else OTHERS

    def forget_senders(self, before_ms: int) -> None:
        """Remove senders without contact since `before_ms`, as the file does."""
        for known in self._standings.values():
            for source in [one.source for one in known.values() if one.heard_ms < before_ms]:
                del known[source]

    # -- verdicts

    def revision(self, no: int) -> int:
        """Return the number of a brain's newest verdict, 0 before the first."""
        return self._verdicts.get(no, 0)

    def taken(self, no: int) -> int:
        """Return the number up to which a brain has taken verdicts."""
        return self._taken.get(no, 0)

    def note_decided(self, no: int, number: int) -> None:
        """Apply a verdict, once it is durable."""
        self._verdicts[no] = max(self.revision(no), number)

    async def note_taken(self, no: int, number: int) -> bool:
        """Store up to which number a brain has taken verdicts; return whether that changed."""
        if not self.taken(no) < number <= self.revision(no):
            return False
        await self._store.take_verdicts(no, number, self._clock.now_ms())
        self._taken[no] = max(self.taken(no), number)
        return True

    def known(self, key: BrainKey, name: str) -> Brain | None:
        """Return the brain of a request; None, without creating one, where it is new."""
        return self._brains[key.brain] if key.brain else self.find(name[:TEXT_MAX], key.account)

    def standings_of(self, no: int) -> list[Standing]:
        """Return a brain's senders, latest contact first."""
        found = self._standings.get(no, {}).values()
        return sorted(found, key=lambda one: (-one.heard_ms, one.source))

    def counts_of(self, no: int) -> list[Counts]:
        """Return a brain's counts by SDK version, the latest first."""
        return sorted(self._counts.get(no, {}).values(), key=lambda one: (-one.last_ms, one.sdk))

    def refused_of(self, no: int) -> dict[int, int]:
        """Return a brain's refused rows by hour, of the latest hours."""
        return self._refused.get(no, {})


def _with(key: BrainKey, **changes: int) -> BrainKey:
    """Return a key with other times."""
    values = {name: getattr(key, name) for name in key.__struct_fields__}
    return BrainKey(**{**values, **changes})
