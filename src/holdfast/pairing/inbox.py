"""Waiting requests of the whole fleet, in memory, read from machines that report changes.

Nothing here is durable: a new process reads the lists again. One read of a machine is in flight at
a time and shared by all callers; a change reported meanwhile causes one more. A list is stored with
the basis of before it was read. A request that matches a rule is sent to the pairing actor, whose
fold alone decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from holdfast.actors.ports import Mailboxes
from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import address
from holdfast.kernel.log import Log
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent
from holdfast.letters.topics import PAIRING, Publish
from holdfast.pairing import events
from holdfast.pairing.definition import KIND, arrival
from holdfast.pairing.limits import CACHE_MS, LOOKS_MAX, RETRY_CAP_MS, RETRY_FIRST_MS
from holdfast.pairing.policy import judge
from holdfast.pairing.ports import NOT_RUNNING, Listing, Machines, Place, Places, basis
from holdfast.pairing.requests import Waiting
from holdfast.pairing.state import Pairing
from holdfast.pairing.visibility import Known, Shown, forget_at, is_usable, shown

_BACKOFF: Final = Backoff(first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS)
_MOVED: Final = Permanent("moved", "the machine changed during the read; try again")
_READS_MAX: Final = 3
"""Reads in a row of a machine that changes during each."""


class Entry:
    """The cache for one instance's machine."""

    __slots__ = ("again", "failures", "known", "look", "timer", "trouble", "trouble_ms")

    def __init__(self) -> None:
        self.known: Known | None = None
        self.trouble: Failure | None = None
        self.trouble_ms = 0
        self.look: asyncio.Task[Outcome[Known]] | None = None
        self.again = False
        self.failures = 0
        self.timer: asyncio.TimerHandle | None = None


class Inbox:
    """The cached lists of all machines."""

    def __init__(
        self,
        machines: Machines,
        places: Places,
        mailboxes: Mailboxes,
        *,
        clock: Clock,
        publish: Publish,
        log: Log,
    ) -> None:
        """Read from `machines`; call `publish` when an instance's waiting requests change."""
        self._machines = machines
        self._places = places
        self._mailboxes = mailboxes
        self._clock = clock
        self._publish = publish
        self._log = log
        self._entries: dict[str, Entry] = {}
        self._notable: dict[str, None] = {}
        self._reads = asyncio.Semaphore(LOOKS_MAX)
        self._halted = False

    def __len__(self) -> int:
        """Return the number of instances in the cache."""
        return len(self._entries)

    # -- reading

    def waiting(self, place: Place) -> tuple[Shown, ...]:
        """Return the cached waiting requests of an instance; none where it does not run.

        A list of an older basis is shown until a newer one is read, without decided requests and
        never that of another machine.
        """
        entry = self._entries.get(place.instance)
        if entry is None or entry.known is None or not place.running:
            return ()
        if entry.known.basis.machine_id != place.machine_id:
            return ()
        state = self._places.pairing(place.instance)
        return shown(entry.known.listing.requests, state, self._clock.now_ms())

    def instances(self) -> Iterable[str]:
        """Return the instances with requests or trouble, in the order in which they had some.

        Every page needs them; in a large fleet they are few.
        """
        return tuple(self._notable)

    def _note(self, instance: str, entry: Entry) -> None:
        """Note whether an instance has requests or trouble."""
        known = entry.known
        listed = known is not None and (known.listing.requests or not known.listing.complete)
        if listed or entry.trouble is not None:
            self._notable.setdefault(instance)
        else:
            self._notable.pop(instance, None)

    def trouble(self, instance: str) -> tuple[str, int] | None:
        """Return why an instance's list is incomplete and since when (ms), or None."""
        entry = self._entries.get(instance)
        if entry is None:
            return None
        if entry.trouble is not None:
            return entry.trouble.message, entry.trouble_ms
        if entry.known is not None and not entry.known.listing.complete:
            return entry.known.listing.error or "the list is not complete", entry.known.fetched_ms
        return None

    # -- fetching

    async def fetch(self, place: Place, *, refresh: bool) -> Outcome[Known]:
        """Return the list of a running instance's machine.

        Without `refresh`, a recent list of a command is reused, and so is a read in flight.
        """
        if self._halted:
            return _MOVED
        entry = self._entries.setdefault(place.instance, Entry())
        present = basis(place, self._places.pairing(place.instance))
        known = entry.known
        by_command = known is not None and known.listing.via == "exec"
        if not refresh and by_command and is_usable(known, present, self._clock.now_ms(), CACHE_MS):
            assert known is not None
            return Ok(known)
        running = entry.look
        if running is not None and not refresh:
            return await asyncio.shield(running)
        if running is not None:
            await asyncio.wait([running])
            if self._entries.get(place.instance) is not entry:
                return _MOVED
        return await asyncio.shield(self._begin(place.instance, entry, refresh=refresh))

    def notice(self, instance: str) -> None:
        """Read a machine's list soon: it has changed, or a request of it was decided."""
        if self._halted:
            return
        entry = self._entries.setdefault(instance, Entry())
        if entry.look is not None:
            entry.again = True
            return
        self._begin(instance, entry, refresh=False)

    def row_changed(self, instance: str) -> None:
        """Handle a change of an instance's committed rows."""
        entry = self._entries.get(instance)
        if entry is None:
            return
        place = self._places.of(instance)
        if place is None:
            self._drop(instance, entry)
        elif not place.running:
            entry.known, entry.trouble = None, None
            self._note(instance, entry)
        elif (
            # A command costs seconds: its list is invalidated by the basis, not read anew at once.
            entry.known is not None
            and entry.known.listing.via == "controller"
            and entry.known.basis != basis(place, self._places.pairing(instance))
        ):
            self.notice(instance)

    def _drop(self, instance: str, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        del self._entries[instance]
        self._notable.pop(instance, None)

    def halt(self) -> list[asyncio.Task[Outcome[Known]]]:
        """Begin no further read and clear the cache; return the cancelled reads."""
        self._halted = True
        looks = []
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()
            if entry.look is not None:
                entry.look.cancel()
                looks.append(entry.look)
        self._entries.clear()
        self._notable.clear()
        return looks

    async def close(self) -> None:
        """Halt, and wait until every read has ended."""
        await asyncio.gather(*self.halt(), return_exceptions=True)

    # -- reading a machine

    def _begin(self, instance: str, entry: Entry, *, refresh: bool) -> asyncio.Task[Outcome[Known]]:
        if entry.look is not None and not entry.look.done():
            return entry.look
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        look = asyncio.get_running_loop().create_task(
            self._look(instance, entry, refresh=refresh), name=f"pairing look {instance}"
        )
        entry.look = look
        look.add_done_callback(lambda done: self._over(instance, entry, done))
        return look

    def _over(self, instance: str, entry: Entry, look: asyncio.Task[Outcome[Known]]) -> None:
        """Read again, at once after a change meanwhile, later after a failure."""
        if entry.look is not look:
            return  # another read began before this callback
        entry.look = None
        if look.cancelled() or self._entries.get(instance) is not entry:
            return
        error = look.exception()
        failed = error is not None or not isinstance(look.result(), Ok)
        gone = (
            error is None
            and isinstance(entry.trouble, Permanent)
            and (entry.trouble.code == NOT_RUNNING)
        )
        if error is not None:
            self._log.error("pairing.look_failed", instance=instance, exc_info=error)
        if entry.again:
            entry.again = False
            self._begin(instance, entry, refresh=False)
        elif failed and not gone:
            entry.failures += 1
            delay_ms = _BACKOFF.delay_ms(entry.failures, instance)
            entry.timer = asyncio.get_running_loop().call_later(
                delay_ms / 1_000, self.notice, instance
            )
        else:
            entry.failures = 0

    async def _look(self, instance: str, entry: Entry, *, refresh: bool) -> Outcome[Known]:
        """Read the machine's list, store it, publish a change, and evaluate the rules."""
        outcome: Outcome[Known] = _MOVED
        place = self._places.of(instance)
        for _ in range(_READS_MAX):
            if place is None or not place.running:
                outcome = Permanent(NOT_RUNNING, "the instance is not running")
                break
            before = basis(place, self._places.pairing(instance))
            async with self._reads:
                listed = await self._machines.listing(place, refresh=refresh)
            now_ms = self._clock.now_ms()
            place = self._places.of(instance)
            if place is None or (place.machine_id, place.epoch) != (
                before.machine_id, before.machine_epoch
            ):  # fmt: skip
                continue
            outcome = (
                Ok(Known(basis=before, listing=listed.value, fetched_ms=now_ms))
                if isinstance(listed, Ok)
                else listed
            )
            break
        self._keep(instance, entry, outcome)
        if place is not None:
            self._publish(PAIRING, instance, place.account)
            if isinstance(outcome, Ok):
                await self._apply_rules(place, outcome.value.listing)
        return outcome

    def _keep(self, instance: str, entry: Entry, outcome: Outcome[Known]) -> None:
        if self._entries.get(instance) is not entry:
            return
        if isinstance(outcome, Ok):
            entry.known, entry.trouble = outcome.value, None
        else:
            entry.trouble, entry.trouble_ms = outcome, self._clock.now_ms()
            if outcome.code == NOT_RUNNING:
                entry.known = None
        self._note(instance, entry)

    async def _apply_rules(self, place: Place, listing: Listing) -> None:
        """Send each waiting request that a rule would approve to the pairing actor.

        The dedupe key has the policy's version: a request is sent again only under another policy.
        """
        state = self._places.pairing(place.instance)
        if state.mode != "rules":
            return
        now_ms = self._clock.now_ms()
        for one in shown(listing.requests, state, now_ms):
            if one.decision is None and judge(state.rules, one.request, now_ms) is not None:
                await self._send(place, state, one.request, now_ms)

    async def _send(self, place: Place, state: Pairing, request: Waiting, now_ms: int) -> None:
        event = events.PairingSeen(
            account=place.account, request=request, forget_ms=forget_at(request, now_ms)
        )
        dedupe = f"rule:{state.policy_version}:{'.'.join(request.marks)}"
        row = arrival(event, dedupe=dedupe, source="contact", by="rules")
        await self._mailboxes.tell([(address(KIND, place.instance), row)])
