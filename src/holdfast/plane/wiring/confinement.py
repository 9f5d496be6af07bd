"""What this host offers to confine agents with, which machines run confined, and who may join.

The plane must not import the machine's side, so it asks the program that controllers ask. Without
confinement an agent reads what the plane's user can: every other account's agents and the keys. So
a second account is refused there, unless the operator accepts it in the settings.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, structs

from holdfast.instances.ports import Contacts
from holdfast.instances.start_report import confinement_of
from holdfast.instances.views import INSTANCE_VIEW, decode_instance
from holdfast.plane.settings import PREFIX, Settings
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Job, Part
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.confinement import CONFINEMENT_WORDS, Confinement
from holdfast.wire.limits import REASON_MAX

PROBE: Final = (sys.executable, "-I", "-m", "holdfast.machine.confine", "--probe")
PROBE_S: Final = 10.0
"""How long the host may take to answer: tenths of a second, and more when it is busy."""
NAMED_MAX: Final = 5
"""Unconfined machines that the doctor names."""
UNCONFINED: Final[frozenset[Confinement]] = frozenset({"none", "unknown"})
_CHUNK: Final = 200
"""Views that are read before others get a turn: some 2 ms."""
_INSTALL: Final = "install bubblewrap (apt install bubblewrap)"
_ACCEPT: Final = f"set {PREFIX}ACCEPT_UNCONFINED=true to accept it"


class Offer(Struct, frozen=True, kw_only=True):
    """What confines agents on a host.

    `reason` says why not more, or why that is not known; `fix` is what makes it more.
    """

    kind: Confinement = "unknown"
    bubblewrap: str = ""
    landlock_abi: int = 0
    reason: str = ""
    fix: str = _INSTALL


async def ask_host(program: Sequence[str] = (), *, within_s: float = PROBE_S) -> Offer:
    """Return what this host offers, found out anew by `program`, PROBE by default."""
    program = program or PROBE
    try:
        process = await asyncio.create_subprocess_exec(
            *program, cwd="/", env={}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        return Offer(reason=f"{program[0]} cannot be run: {error.strerror}")
    try:
        async with asyncio.timeout(within_s):
            said, _ = await process.communicate()
        return msgspec.json.decode(said, type=Offer)
    except TimeoutError:
        return Offer(reason=f"the host was not examined within {within_s:g} s")
    except msgspec.MsgspecError:
        return Offer(reason=f"the program that examines it ended with {process.returncode}")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def make_ask(settings: Settings) -> Callable[[], Awaitable[Offer]]:
    """Return what finds out what confines agents here: what the host offers, if it is wanted."""

    async def ask() -> Offer:
        offer = await ask_host()
        if settings.confine != "none":
            return offer
        return structs.replace(
            offer, kind="none", reason=f"{PREFIX}CONFINE=none switches it off",
            fix=f"take {PREFIX}CONFINE=none away and start the plane again",
        )  # fmt: skip

    return ask


def make_admission(
    settings: Settings, ask: Callable[[], Awaitable[Offer]]
) -> Callable[[], Awaitable[None]]:
    """Return what refuses (409) a second account where agents are not confined.

    The host is asked each time: what was installed meanwhile counts at once.
    """

    async def admit() -> None:
        if settings.accept_unconfined:
            return
        offer = await ask()
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

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        """Return rows after a key, in the order of their keys."""
        ...


class Accounts(Protocol):
    """Who there is."""

    async def accounts(self) -> Sequence[object]:
        """Return every account."""
        ...


class HostWatch:
    """Says what this host and its machines are confined with: in the log, and to the doctor."""

    def __init__(
        self, views: Views, accounts: Accounts, contacts: Contacts,
        *, settings: Settings, log: Any, ask: Callable[[], Awaitable[Offer]],
    ) -> None:  # fmt: skip
        """Look at `views` and `accounts`; `contacts` is what machines reported last."""
        self._views = views
        self._accounts = accounts
        self._contacts = contacts
        self._settings = settings
        self._log = log
        self._ask = ask

    async def tell(self) -> None:
        """Log what the host offers, loudly where accounts are mixed without it."""
        offer, accounts = await self._ask(), len(await self._accounts.accounts())
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
        """Return what the host offers and how many machines run with what, the worst first."""
        offer, accounts = await self._ask(), len(await self._accounts.accounts())
        counts: Counter[Confinement] = Counter()
        bare: list[str] = []
        async for name, kind in self._running():
            counts[kind] += 1
            if kind == "none":
                bare.append(name)
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
        """Give the name of each instance that runs, and what confines its agent."""
        after = ""
        while True:
            rows = await self._views.views(INSTANCE_VIEW, account=None, after=after, limit=_CHUNK)
            for key, body, _ in rows:
                view = decode_instance(body)
                if view.status == "running":
                    last = self._contacts.contact(key)
                    yield view.name, confinement_of(last.status if last else None)
            if len(rows) < _CHUNK:
                return
            after = rows[-1][0]
            await asyncio.sleep(0)


def _describe(offer: Offer, counts: Counter[Confinement], bare: list[str], accounts: int) -> str:
    """Return the check's sentence."""
    parts = []
    if bare:
        more = f" and {len(bare) - NAMED_MAX} more" if len(bare) > NAMED_MAX else ""
        parts.append(f"not confined: {', '.join(bare[:NAMED_MAX])}{more}")
    if accounts > 1 and (bare or offer.kind in UNCONFINED):
        parts.append(f"{accounts} accounts share this host, and can read each other's data")
    said = "nothing" if offer.kind == "none" else CONFINEMENT_WORDS[offer.kind].partition(":")[0]
    parts.append(f"this host offers: {said}{f' ({offer.reason})' if offer.reason else ''}")
    machines = (f"{counts[kind]} {kind}" for kind in CONFINEMENT_WORDS if counts[kind])
    parts.append(f"running machines: {', '.join(machines) or 'none'}")
    return "; ".join(parts)


def _fix(bare: list[str], first: str) -> str:
    """Return what makes it well."""
    restart = f"holdfast instance restart {bare[0]}" if bare else "restart the instances"
    first = f"{first}, then " if first else ""
    return f"{first}{restart}" + (" and the others" if len(bare) > 1 else "")


def confinement_part(core: Core, contacts: Contacts) -> Part:
    """Return what says how agents are confined, in the log at the start and to the doctor."""
    watch = HostWatch(
        core.stores.reader, core.stores.accounts, contacts,
        settings=core.settings, log=core.log, ask=make_ask(core.settings),
    )  # fmt: skip
    return Part(
        name="confinement", jobs=(Job("confinement.tell", watch.tell),), checks=(watch.check,)
    )
