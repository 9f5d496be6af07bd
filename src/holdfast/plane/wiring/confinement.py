"""Confinement of agents: what this host supports, which machines have it, and admission.

The plane must not import the machine's side, so it runs the program that controllers run. Without
confinement an agent can read what the plane's user can: every other account's agents and the keys.
So a second account is refused there, unless the operator accepts it in the settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from msgspec import structs

from holdfast.instances.index import Page, Query
from holdfast.instances.ports import Contacts
from holdfast.instances.start_report import confinement_of
from holdfast.instances.views import INSTANCE_VIEW, read_instance
from holdfast.plane.settings import PREFIX, Settings
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Job, Part
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.confinement import CONFINEMENT_WORDS, Confinement
from holdfast.wire.limits import REASON_MAX
from holdfast.world.processes.probe import UNCONFINED, Offer, probe_host

NAMED_MAX: Final = 5
"""Unconfined machines that the doctor lists by name."""
SPAN: Final = 500
"""Running instances that are looked at before the loop gets a turn: about 1 ms."""
_ACCEPT: Final = f"set {PREFIX}ACCEPT_UNCONFINED=true to accept it"


def make_host_probe(settings: Settings) -> Callable[[], Awaitable[Offer]]:
    """Return a function that probes the host, unless the settings switch confinement off."""

    async def probe() -> Offer:
        offer = await probe_host()
        if settings.confine != "none":
            return offer
        return structs.replace(
            offer, kind="none", reason=f"{PREFIX}CONFINE=none switches it off",
            fix=f"take {PREFIX}CONFINE=none away and start the plane again",
        )  # fmt: skip

    return probe


def make_admission(
    settings: Settings, probe: Callable[[], Awaitable[Offer]]
) -> Callable[[], Awaitable[None]]:
    """Return a function that refuses (409) a second account where agents are not confined.

    The host is probed each time, so that what was installed meanwhile counts at once.
    """

    async def admit() -> None:
        if settings.accept_unconfined:
            return
        offer = await probe()
        if offer.kind not in UNCONFINED:
            return
        raise Refusal(
            409, "unconfined",
            "Agents run as the plane's user here and nothing confines them, so those of one account"
            f" could read everything of another's. {offer.reason}"[:REASON_MAX],
            fix=f"{offer.fix} and try again, or {_ACCEPT}",
        )  # fmt: skip

    return admit


class Views(Protocol):
    """The committed views."""

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        """Return one row with its account and number, None if there is none."""
        ...


class Fleet(Protocol):
    """The index of the fleet."""

    async def page(self, query: Query) -> Page:
        """Return a page of ids."""
        ...


class Accounts(Protocol):
    """The accounts."""

    async def accounts(self) -> Sequence[object]:
        """Return every account."""
        ...


class HostWatch:
    """Reports the confinement of this host and its machines: in the log, and to the doctor."""

    def __init__(
        self, views: Views, fleet: Fleet, accounts: Accounts, contacts: Contacts,
        *, settings: Settings, log: Any, probe: Callable[[], Awaitable[Offer]],
    ) -> None:  # fmt: skip
        """Look at `fleet` and `accounts`; `contacts` is what machines reported last.

        Of the rows, `views`, only those of instances that are named are read.
        """
        self._views = views
        self._fleet = fleet
        self._accounts = accounts
        self._contacts = contacts
        self._settings = settings
        self._log = log
        self._probe = probe

    async def log_support(self) -> None:
        """Log what the host supports, as an error where accounts are mixed without confinement."""
        offer, accounts = await self._probe(), len(await self._accounts.accounts())
        facts = {
            "kind": offer.kind, "bubblewrap": offer.bubblewrap,
            "landlock_abi": offer.landlock_abi, "reason": offer.reason,
        }  # fmt: skip
        if offer.kind not in UNCONFINED:
            self._log.info("host.confinement", **facts)
        elif accounts > 1:
            self._log.error(
                "host.unconfined", accounts=accounts,
                accepted=self._settings.accept_unconfined, fix=offer.fix, **facts,
            )  # fmt: skip
        else:
            self._log.warning("host.unconfined", accounts=accounts, fix=offer.fix, **facts)

    async def check(self) -> DoctorCheck:
        """Return the host's support and the numbers of machines by confinement, the worst first."""
        offer, accounts = await self._probe(), len(await self._accounts.accounts())
        counts: Counter[Confinement] = Counter()
        bare: list[str] = []
        async for instance, kind in self._running():
            counts[kind] += 1
            if kind == "none" and counts[kind] <= NAMED_MAX:
                bare.append(await self._name(instance))
        host_bare = offer.kind in UNCONFINED
        bad = host_bare or bool(bare)
        mixed = accounts > 1 and not self._settings.accept_unconfined
        return DoctorCheck(
            name="confinement",
            result="ok" if not bad else "failed" if mixed else "warning",
            message=_describe(offer, counts, bare, accounts)[:REASON_MAX],
            fix=_fix(bare, offer.fix if host_bare else "") if bad else "",
        )

    async def _running(self) -> AsyncIterator[tuple[str, Confinement]]:
        """Yield the id of each running instance, and its agent's confinement."""
        query = Query(account=None, limit=SPAN, statuses=("running",))
        while True:
            page = await self._fleet.page(query)
            for instance in page.ids:
                last = self._contacts.contact(instance)
                yield instance, confinement_of(last.status if last else None)
            if page.following is None:
                return
            query = query._replace(after=page.following)

    async def _name(self, instance: str) -> str:
        row = await self._views.view(INSTANCE_VIEW, instance)
        return instance if row is None else read_instance(instance, row[0]).name


def _describe(offer: Offer, counts: Counter[Confinement], bare: list[str], accounts: int) -> str:
    """Return the check's message."""
    parts = []
    if bare:
        left = counts["none"] - len(bare)
        parts.append(f"not confined: {', '.join(bare)}{f' and {left} more' if left else ''}")
    if accounts > 1 and (bare or offer.kind in UNCONFINED):
        parts.append(f"{accounts} accounts share this host, and can read each other's data")
    said = "nothing" if offer.kind == "none" else CONFINEMENT_WORDS[offer.kind].partition(":")[0]
    parts.append(f"this host offers: {said}{f' ({offer.reason})' if offer.reason else ''}")
    machines = (f"{counts[kind]} {kind}" for kind in CONFINEMENT_WORDS if counts[kind])
    parts.append(f"running machines: {', '.join(machines) or 'none'}")
    return "; ".join(parts)


def _fix(bare: list[str], first: str) -> str:
    """Return the check's fix."""
    restart = f"holdfast instance restart {bare[0]}" if bare else "restart the instances"
    first = f"{first}, then " if first else ""
    return f"{first}{restart}" + (" and the others" if len(bare) > 1 else "")


def confinement_part(core: Core, contacts: Contacts, fleet: Fleet) -> Part:
    """Return what says how agents are confined, in the log at the start and to the doctor."""
    watch = HostWatch(
        core.stores.reader, fleet, core.stores.accounts, contacts,
        settings=core.settings, log=core.log, probe=make_host_probe(core.settings),
    )  # fmt: skip
    return Part(
        name="confinement",
        jobs=(Job("confinement.log", watch.log_support, ends=True),),
        checks=(watch.check,),
    )
