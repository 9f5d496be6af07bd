"""Local administration by the command line on the plane's machine, with or without a running plane.

Making a token or finding the running plane must not load the engine, so only the accounts and the
lock file are opened.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from holdfast.accounts.access import Access
from holdfast.accounts.directory import AccountDirectory
from holdfast.accounts.passwords import Argon2
from holdfast.accounts.records import AuditEntry, Scope, Token
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.failure import OperationError
from holdfast.plane.key_folder import prepare_keys
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.holder import ACCOUNTS_FILE, prepare_home
from holdfast.stores.migrate import MigrationError
from holdfast.stores.sqlite import folder_lock
from holdfast.stores.sqlite.accounts import open_accounts
from holdfast.wire.api.accounts import TokenCreate
from holdfast.wire.api.call import Refusal
from holdfast.wire.limits import REASON_MAX

S = TypeVar("S", bound=Struct)

_MADE: Final = 201
_FAILED: Final = 500


def checked(form: type[S], **values: object) -> S:
    """Return a request of the API made on this machine; refuse (400) what the plane would."""
    try:
        return msgspec.convert(values, form)
    except msgspec.ValidationError as error:
        told, _, where = str(error).partition(" - at `$.")
        field = where.rstrip("`")
        text = f"{field}: {told[:1].lower()}{told[1:]}" if field else told
        fix = "give it within its limits: docs/reference/api.md"
        raise Refusal(400, "bad_body", text, field=field, fix=fix) from None


@asynccontextmanager
async def open_directory(settings: Settings) -> AsyncIterator[AccountDirectory]:
    """Open this machine's accounts within a block; raise OSError where they cannot be opened."""
    clock, path = SystemClock(), prepare_home(settings) / ACCOUNTS_FILE
    try:
        store = open_accounts(path, now_ms=clock.now_ms(), head_in=prepare_keys(settings))
    except MigrationError as error:
        raise OperationError(f"{path}: {error}; {error.fix}") from error
    hasher = Argon2()
    try:
        directory = AccountDirectory(
            store,
            hasher,
            access=Access(store, clock=clock),
            clock=clock,
            entropy=secrets.token_bytes,
        )
        await directory.prepare()
        yield directory
    finally:
        hasher.close()
        await store.close()


async def make_token(
    directory: AccountDirectory,
    name: str,
    *,
    scope: Scope,
    account: str | None,
    life_s: int | None = None,
) -> tuple[str, Token]:
    """Return a new token's secret and row, made on this machine and audited like any other.

    Raise Refusal for what the plane would refuse too: the limits are those of its endpoint.
    """
    body = checked(TokenCreate, name=name, scope=scope, account=account or "", expires_in_s=life_s)
    who = f"{getpass.getuser()} on this machine"
    store, now_ms = directory.store, SystemClock().now_ms
    begun = await store.append_audit(
        AuditEntry(
            at_ms=now_ms(), phase="begin", who=who, how="local", endpoint="token.create",
            target=f"{scope} token {body.name!r}"[:REASON_MAX], peer="local",
        )
    )  # fmt: skip
    status = _FAILED
    try:
        made = await directory.make_token(
            body.name,
            scope=body.scope,
            account=body.account or None,
            created_by=who,
            life_s=body.expires_in_s,
        )
        status = _MADE
    except Refusal as refusal:
        status = refusal.status
        raise
    finally:
        ended = AuditEntry(at_ms=now_ms(), phase="end", begins=begun.seq, who=who, status=status)
        await store.append_audit(ended)
    return made


@contextmanager
def hold_folder(
    settings: Settings, *, url: str, now_ms: int, refuse: Callable[[str], Exception]
) -> Iterator[None]:
    """Hold the data folder's lock; raise what `refuse` makes when another plane has it."""
    holder = folder_lock.Holder(os.getpid(), now_ms, socket.gethostname(), url)
    try:
        held = folder_lock.take_lock(prepare_home(settings), holder)
    except folder_lock.LockedError as error:
        raise refuse(str(error)) from error
    try:
        yield
    finally:
        held.release()
