"""Makes towns: their kind of actor, who carries out their effects, and handlers."""

from __future__ import annotations

from typing import Final, Protocol

from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, make_kind
from holdfast.actors.limiter import Limiter
from holdfast.actors.probing import Lookout
from holdfast.kernel.clock import MINUTE_MS
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.plane.wiring.accounts import account_names
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part
from holdfast.towns import events, ports
from holdfast.towns.actions import FORGES, HOSTS, NOTICES
from holdfast.towns.definition import KIND, TOWN, arrival
from holdfast.towns.effects import TownCalls
from holdfast.towns.handlers import Deps, handlers
from holdfast.towns.policy import Policy
from holdfast.towns.state import PullRequest
from holdfast.towns.views import TOWN_VIEW

CALLS_MAX: Final = 32
CALLS_PER_S: Final = 200.0
"""Effects of towns that are carried out concurrently, and per second, of each provider."""
GATES_TIMEOUT_MS: Final = 30 * MINUTE_MS
_PAGE: Final = 1_000

NO_HOST: Final = Permanent("no_host", "this plane has nowhere to run the agents of towns")
NO_FORGE: Final = Permanent("no_forge", "this plane has no forge for towns")


class TownOutside(ports.Hosts, ports.Forges, ports.Notices, Protocol):
    """Everything that towns ask of the outside."""


class NoOutside:
    """A plane without hosts and forges: starts are refused, and nobody is told but the log."""

    def __init__(self, core: Core) -> None:
        self._log = core.log

    async def start(self, town: str, call: ports.StartCall) -> Outcome[ports.Begun]:
        """Refuse."""
        del town, call
        return NO_HOST

    async def stop(self, town: str, call: ports.StopCall) -> Outcome[ports.Ended]:
        """Agree: nothing runs."""
        del town, call
        return Ok(ports.Ended())

    async def nudge(self, town: str, call: ports.NudgeCall) -> Outcome[ports.Delivered]:
        """Refuse."""
        del town, call
        return NO_HOST

    async def mail(self, town: str, call: ports.MailCall) -> Outcome[ports.Delivered]:
        """Refuse."""
        del town, call
        return NO_HOST

    async def gates(self, town: str, call: ports.GatesCall) -> Outcome[ports.GatesRan]:
        """Refuse."""
        del town, call
        return NO_FORGE

    async def land(self, town: str, call: ports.LandCall) -> Outcome[ports.Merged]:
        """Refuse."""
        del town, call
        return NO_FORGE

    async def merge(self, town: str, call: ports.MergeCall) -> Outcome[ports.Merged]:
        """Refuse."""
        del town, call
        return NO_FORGE

    async def poll(
        self, town: str, call: ports.PollCall
    ) -> Outcome[PullRequest | ports.Unreadable]:
        """Say that it cannot be read."""
        del town, call
        return Ok(ports.Unreadable(code=NO_FORGE.code))

    async def notice(self, town: str, call: ports.NoticeCall) -> Outcome[ports.Delivered]:
        """Write it into the log."""
        self._log.warning("town.notice", town=town, code=call.code, about=call.about)
        return Ok(ports.Delivered())


def town_kind(policy: Policy) -> Kind:
    """Return the kind of actor."""
    return make_kind(TOWN, policy)


def towns_part(core: Core, outside: TownOutside, *, account: str) -> Part:
    """Return towns as a part; `account` is an operator's where none is asked for."""
    made = TownCalls(outside, outside, outside)
    names = account_names(core)

    async def account_exists(asked: str) -> bool:
        return asked in await names()

    async def resume() -> None:
        await tell_resumed(core)

    def provider(timeout_ms: int = MINUTE_MS) -> Provider:
        gate = Limiter(core.clock, concurrency=CALLS_MAX, rate_per_s=CALLS_PER_S)
        return Provider(execute=made.execute, gate=gate, timeout_ms=timeout_ms)

    forges = provider(GATES_TIMEOUT_MS)
    return Part(
        name="towns",
        kinds=(town_kind(Policy()),),
        providers={HOSTS: provider(), FORGES: forges, NOTICES: provider()},
        lookouts={FORGES: Lookout(look=made.look, gate=forges.gate)},
        handlers=handlers(
            Deps(
                mailboxes=core.mailbox,
                reader=core.stores.reader,
                chance=core.chance,
                account=account,
                account_exists=account_exists,
            )
        ),
        start=resume,
    )


async def tell_resumed(core: Core) -> None:
    """Tell every town that the loop runs again, so that ages count from now."""
    after = ""
    while page := await core.stores.reader.views(TOWN_VIEW, account=None, after=after, limit=_PAGE):
        dedupe = f"resumed:{core.chance.uuid()}"
        row = arrival(events.LoopResumed(), dedupe=dedupe, source="engine")
        await core.mailbox.tell([(address(KIND, key), row) for key, _body, _seq in page])
        after = page[-1][0]
