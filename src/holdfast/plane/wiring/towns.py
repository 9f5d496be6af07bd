"""Makes towns: their kind of actor, who carries out their effects, and handlers."""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, make_kind
from holdfast.actors.limiter import Limiter
from holdfast.actors.probing import Lookout
from holdfast.instances.views import INSTANCE_VIEW, read_instance
from holdfast.kernel.clock import MINUTE_MS
from holdfast.kernel.ids import address
from holdfast.plane.rig_tokens import RigTokens
from holdfast.plane.town_erasure import EVERY_S, TownErasure
from holdfast.plane.wiring.accounts import account_names
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part, every
from holdfast.towns import events, ports
from holdfast.towns.calls import Deps
from holdfast.towns.definition import KIND, TOWN, arrival
from holdfast.towns.effects import TownCalls
from holdfast.towns.handlers import handlers
from holdfast.towns.outgoing import FORGES, GATES, HOSTS, NOTICES
from holdfast.towns.policy import Policy
from holdfast.towns.views import TOWN_VIEW

CALLS_MAX: Final = 32
CALLS_PER_S: Final = 200.0
"""Effects of towns that are carried out concurrently, and per second, of each provider."""
GATES_TIMEOUT_MS: Final = 30 * MINUTE_MS
HOSTS_TIMEOUT_MS: Final = 20 * MINUTE_MS
"""A start's steps, each with a limit of its own: a rig's first fetch 10 minutes, its check-out 5,
its bundle 2, an order to a controller 90 s. A stop is bounded by its drain."""
_PAGE: Final = 1_000


class TownOutside(ports.Hosts, ports.Forges, ports.Notices, Protocol):
    """Everything that towns ask of the outside."""


def town_kind(policy: Policy) -> Kind:
    """Return the kind of actor."""
    return make_kind(TOWN, policy)


def towns_part(core: Core, outside: TownOutside, *, account: str) -> Part:
    """Return towns as a part; `account` is an operator's where none is asked for.

    It starts before the engine: no alarm of a town ticks before the town knows of the pause.
    """
    made = TownCalls(outside, outside, outside)
    names = account_names(core)

    async def account_exists(asked: str) -> bool:
        return asked in await names()

    def provider(timeout_ms: int = MINUTE_MS) -> Provider:
        gate = Limiter(core.clock, concurrency=CALLS_MAX, rate_per_s=CALLS_PER_S)
        return Provider(execute=made.execute, gate=gate, timeout_ms=timeout_ms)

    forges = provider(GATES_TIMEOUT_MS)
    erasure = TownErasure(core.stores.reader, core.stores.towns, core.clock)
    return Part(
        name="towns",
        kinds=(town_kind(Policy()),),
        providers={
            HOSTS: provider(HOSTS_TIMEOUT_MS),
            FORGES: forges,
            GATES: provider(GATES_TIMEOUT_MS),
            NOTICES: provider(),
        },
        lookouts={FORGES: Lookout(look=made.look, gate=forges.gate)},
        handlers=handlers(
            Deps(
                mailboxes=core.mailbox,
                reader=core.stores.reader,
                records=core.stores.towns,
                sealer=RigTokens(core.keyring),
                chance=core.chance,
                account=account,
                account_exists=account_exists,
                find_instance=partial(find_instance_of, core),
            )
        ),
        start=partial(accept_resumed, core),
        jobs=(every("town-erasure", erasure.run, EVERY_S, core.log),),
    )


async def find_instance_of(core: Core, account: str, given: str) -> str:
    """Return the id of an account's instance by its id or name; empty where none lives."""
    after = ""
    while page := await core.stores.reader.views(
        INSTANCE_VIEW, account=account, after=after, limit=_PAGE
    ):
        for key, body, _seq in page:
            view = read_instance(key, body)
            if given in {key, view.name} and view.status != "destroyed":
                return key
        after = page[-1][0]
    return ""


async def accept_resumed(core: Core) -> None:
    """Accept for every town that the loop runs again, so that ages count from now."""
    after = ""
    while page := await core.stores.reader.views(TOWN_VIEW, account=None, after=after, limit=_PAGE):
        dedupe = f"resumed:{core.chance.uuid()}"
        row = arrival(events.LoopResumed(), dedupe=dedupe, source="engine")
        await core.stores.journal.accept([(address(KIND, key), row) for key, _body, _seq in page])
        after = page[-1][0]
