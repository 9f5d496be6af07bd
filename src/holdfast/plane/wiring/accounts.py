"""Makes accounts: sign-in, tokens, and authentication."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.accounts.access import Access
from holdfast.accounts.audit_check import check_ends
from holdfast.accounts.directory import AccountDirectory
from holdfast.accounts.handlers import AccountHandlers
from holdfast.accounts.limits import AUDIT_KEPT_MS
from holdfast.accounts.passwords import Argon2
from holdfast.actors.calls import AccountExists
from holdfast.kernel.clock import DAY_MS, SECOND_MS
from holdfast.plane.wiring.confinement import make_admission, make_host_probe
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.daily import daily
from holdfast.plane.wiring.part import HOUR_S, MINUTE_S, Part, every
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The directory of accounts, the authenticator, and the part."""

    directory: AccountDirectory
    access: Access
    part: Part


def make_people(core: Core, *, name_of: Callable[[str, str | None], str]) -> People:
    """Return accounts and people over their store; `name_of` names instances in the audit."""
    store, clock = core.stores.accounts, core.clock
    idle_ms = int(core.settings.session_idle_s * SECOND_MS)
    access = Access(store, clock=clock, session_idle_ms=idle_ms)
    hasher = Argon2()
    core.closing.callback(hasher.close)
    directory = AccountDirectory(
        store,
        hasher,
        access=access,
        clock=clock,
        entropy=secrets.token_bytes,
        session_life_ms=core.settings.session_days * DAY_MS,
        admit=make_admission(core.settings, make_host_probe(core.settings)),
    )

    async def purge() -> None:
        await store.purge(clock.now_ms())

    async def purge_audit() -> None:
        now_ms = clock.now_ms()
        while await store.purge_audit(now_ms - AUDIT_KEPT_MS, now_ms):
            pass

    async def check_audit() -> DoctorCheck:
        """Compare the ends of the audit's chain with what is kept outside of its file."""
        fault = await check_ends(store)
        if not fault:
            return DoctorCheck(name="audit", result="ok", message="its last row is the one kept")
        return DoctorCheck(
            name="audit", result="failed", message=fault[:REASON_MAX],
            fix="see docs/audit.md: who wrote to accounts.db, or which backup was put back?",
        )  # fmt: skip

    part = Part(
        name="accounts",
        handlers=AccountHandlers(directory, core.browsers, name_of=name_of).by_endpoint(),
        start=directory.prepare,
        jobs=(
            every("accounts.note_uses", access.flush, MINUTE_S, core.log),
            every("accounts.purge", purge, HOUR_S, core.log),
            daily("audit.purge", purge_audit, core.home, clock, core.log),
        ),
        checks=(check_audit,),
    )
    return People(directory=directory, access=access, part=part)


def account_names(core: Core) -> Callable[[], Awaitable[frozenset[str]]]:
    """Return a function that returns the names of all accounts."""

    async def names() -> frozenset[str]:
        return frozenset(account.name for account in await core.stores.accounts.accounts())

    return names


def account_exists(core: Core) -> AccountExists:
    """Return a function that looks an account up."""
    names = account_names(core)

    async def exists(name: str) -> bool:
        return name in await names()

    return exists
