"""The engine put together: one journal, its owner, and everything that hears of its ticks.

It exists so that the plane and the simulator start the parts in the one order that loses
nothing: first the lease, then what waits in the store, then the owner, then whoever accepts.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.actors.alarms import Alarms
from holdfast.actors.dispatch import Dispatch, Provider
from holdfast.actors.kinds import Kinds
from holdfast.actors.lease import Lease
from holdfast.actors.limits import POLL_MS, RESIDENT_MAX
from holdfast.actors.mailbox import Mailbox
from holdfast.actors.owner import Listener, Owner
from holdfast.actors.ports import Journal, Log, Meter
from holdfast.actors.probing import Lookout, Prober
from holdfast.kernel.clock import Clock


class Engine:
    """The live half of the actors of one process; `mailbox` is what handlers are given."""

    def __init__(
        self,
        journal: Journal,
        kinds: Kinds,
        *,
        holder: str,
        clock: Clock,
        log: Log,
        meter: Meter,
        providers: Mapping[str, Provider],
        lookouts: Mapping[str, Lookout],
        code: str = "",
        resident_max: int = RESIDENT_MAX,
        poll_ms: int = POLL_MS,
    ) -> None:
        """Put the parts together; nothing runs before `start`.

        `holder` names this process in the lease, `code` the version of the code in tick records.
        """
        self._journal = journal
        self._kinds = kinds
        self.lease = Lease(journal, holder=holder, log=log)
        self.owner = Owner(
            journal,
            kinds,
            lease=self.lease,
            clock=clock,
            log=log,
            meter=meter,
            code=code,
            resident_max=resident_max,
        )
        self.mailbox = Mailbox(journal, self.owner, clock=clock, log=log, poll_ms=poll_ms)
        self.alarms = Alarms(journal, self.owner.wake, clock=clock, log=log, meter=meter)
        self.dispatch = Dispatch(
            journal,
            kinds,
            providers,
            state_of=self.owner.state,
            told=self.mailbox.told,
            clock=clock,
            log=log,
            meter=meter,
        )
        self.prober = Prober(
            journal,
            kinds,
            lookouts,
            told=self.mailbox.told,
            clock=clock,
            log=log,
            meter=meter,
        )
        for hear in (self.alarms.hear, self.dispatch.hear, self.prober.hear):
            self.owner.listen(hear)

    def listen(self, listener: Listener) -> None:
        """Have `listener` told of every tick that is over, after the engine's own parts."""
        self.owner.listen(listener)

    async def start(self) -> None:
        """Take the lease, keep the policies, take up what waits, and begin to tick."""
        await self.lease.take()
        for kind in self._kinds.values():
            await self._journal.keep_policy(kind.policy_hash, kind.policy_body)
        self.owner.start()
        await self.dispatch.start()
        await self.prober.start()
        await self.alarms.start()
        await self.mailbox.start()

    async def stop(self) -> None:
        """Stop in the reverse order; commits in flight land, calls in flight are abandoned."""
        await self.mailbox.stop()
        await self.alarms.stop()
        await self.prober.stop()
        await self.dispatch.stop()
        await self.owner.stop()
