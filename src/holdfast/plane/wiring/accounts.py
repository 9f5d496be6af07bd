"""Makes accounts: sign-in, tokens, and authentication."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.accounts.access import Access
from holdfast.accounts.directory import AccountDirectory
from holdfast.accounts.handlers import AccountHandlers
from holdfast.accounts.passwords import Argon2
from holdfast.kernel.clock import DAY_MS, SECOND_MS
from holdfast.plane.wiring.confinement import make_admission, make_host_probe
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import HOUR_S, MINUTE_S, Part, every


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The directory of accounts, the authenticator, and the part."""

    directory: AccountDirectory
    access: Access
    part: Part


def make_people(core: Core) -> People:
    """Return accounts and people over their store."""
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

    part = Part(
        name="accounts",
        handlers=AccountHandlers(directory, core.browsers).by_endpoint(),
        start=directory.prepare,
        jobs=(
            every("accounts.note_uses", access.flush, MINUTE_S, core.log),
            every("accounts.purge", purge, HOUR_S, core.log),
        ),
    )
    return People(directory=directory, access=access, part=part)


def account_names(core: Core) -> Callable[[], Awaitable[frozenset[str]]]:
    """Return a function that returns the names of all accounts."""

    async def names() -> frozenset[str]:
        return frozenset(account.name for account in await core.stores.accounts.accounts())

    return names
