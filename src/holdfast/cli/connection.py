"""The plane's address and the credentials for it.

The address comes from `HOLDFAST_URL`, else from the plane that runs on this machine, else from the
settings. The token comes from `HOLDFAST_TOKEN`, else from a file of the keys folder, made on first
use if that folder is writable: on the plane's own machine no sign-in is needed. That file's token
is an operator's, so it is never sent to another machine.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from msgspec import Struct

from holdfast.cli.client import (
    ApiError,
    Client,
    Proof,
    UnprovenError,
    UnreachableError,
)
from holdfast.cli.local import local_token
from holdfast.cli.output import EXIT_FAILED, EXIT_MISSING, EXIT_UNREACHABLE, EXIT_USAGE, fail
from holdfast.kernel.failure import reason
from holdfast.kernel.secret import Secret, SecretError
from holdfast.plane.key_folder import KeysError
from holdfast.plane.plane_key import read_plane_key
from holdfast.plane.settings import SettingError, Settings, load_settings, url_of
from holdfast.plane.wiring.holder import lock_holder
from holdfast.wire.address import Base

_MISSING_STATUS: Final = 404
_DENIED_STATUS: Final = 401
ACCEPT_PLAIN: Final = "HOLDFAST_ACCEPT_PLAIN_HTTP"
"""If true, tokens are sent over plain http without a proof of who receives them."""
_LOOPBACK: Final = re.compile(r"127(\.[0-9]{1,3}){3}")


_open: Final[list[Client]] = []


def close_all() -> None:
    """Close the connections at the end of a command."""
    while _open:
        _open.pop().close()


class Connection:
    """A connection to a plane. Every failure ends the command with a sentence and an exit code."""

    def __init__(self, client: Client) -> None:
        self._client = client
        _open.append(client)

    def call(
        self,
        endpoint: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Struct | None = None,
    ) -> Any:
        """Return the answer of an endpoint, decoded; empty query values are left out."""
        given = {key: value for key, value in (query or {}).items() if value}
        try:
            return self._client.call(endpoint, path=path or {}, query=given, body=body)
        except ApiError as error:
            fail_as(error)

    def every(
        self,
        endpoint: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Return every page of a list as one answer."""
        try:
            return self._client.every(endpoint, path=path or {}, query=query)
        except ApiError as error:
            fail_as(error)


def fail_as(error: ApiError) -> NoReturn:
    """Exit with the plane's refusal, or because no plane answered."""
    problem = error.problem
    if isinstance(error, UnprovenError):
        fail(problem.message, fix=problem.fix, code=EXIT_UNREACHABLE)
    if isinstance(error, UnreachableError):
        fix = "start a plane with: holdfast up   or name one in HOLDFAST_URL"
        fail(problem.message, fix=fix, code=EXIT_UNREACHABLE)
    fix = problem.fix
    if error.status == _DENIED_STATUS:
        fix = "set HOLDFAST_TOKEN to a token made with: holdfast token create"
    where = f"{problem.field}: " if problem.field else ""
    code = EXIT_MISSING if error.status == _MISSING_STATUS else EXIT_FAILED
    fail(f"{where}{problem.message}", fix=fix, code=code)


def settings_or_fail(**overrides: Any) -> Settings:
    """Return the settings, or exit with what is wrong with them."""
    try:
        return load_settings(**overrides)
    except SettingError as error:
        fail(str(error), fix="docs/reference/settings.md lists every setting", code=EXIT_USAGE)


def plane_url(settings: Settings) -> str:
    """Return the address of the plane for commands."""
    named = os.environ.get("HOLDFAST_URL", "")
    if named:
        return named.rstrip("/")
    holder = lock_holder(settings)
    return holder.url if holder else url_of(settings.host, settings.port)


def _is_here(base: Base, settings: Settings) -> bool:
    """Return whether the local token may be sent there: to this machine, or to its own plane."""
    host = base.address.host
    if host in {"localhost", "::1"} or _LOOPBACK.fullmatch(host):
        return True
    holder = lock_holder(settings)
    return holder is not None and base == Base.parse(holder.url)


def local_token_or_fail(settings: Settings) -> str:
    """Return the local token, or exit with the reason why there is none."""
    try:
        return local_token(settings)
    except (OSError, KeysError) as error:
        fail(f"the local token cannot be had: {_said(error)}")


def _said(error: OSError | KeysError) -> str:
    return str(error) if isinstance(error, KeysError) else reason(error)


def connect() -> Connection:
    """Return a connection to the plane with the caller's token."""
    settings = settings_or_fail()
    url = plane_url(settings)
    try:
        base = Base.parse(url)
        token = Secret.read(os.environ.get("HOLDFAST_TOKEN", ""), "HOLDFAST_TOKEN").reveal()
    except SecretError as error:
        fail(str(error), code=EXIT_USAGE)
    except ValueError as error:
        fail(f"HOLDFAST_URL: {error}", code=EXIT_USAGE)
    here = _is_here(base, settings)
    if not token and here:
        try:
            token = local_token(settings)
        except (OSError, KeysError) as error:
            sys.stderr.write(f"note: no local token: {_said(error)}\n")
    return Connection(prove_first(settings, url, token, here=here))


def prove_first(settings: Settings, url: str, token: str, *, here: bool = True) -> Client:
    """Return a client that sends the token only to a server that has proven its identity.

    Over https the server's certificate proves it. Over http only the plane of this data folder is
    accepted, with a proof on each connection, and no server on another machine.
    HOLDFAST_ACCEPT_PLAIN_HTTP turns both rules for http off.
    """
    if not token or url.startswith("https://") or os.environ.get(ACCEPT_PLAIN) in {"1", "true"}:
        return Client(url, token)
    if not here:
        fail(
            "a token is not sent by plain http to another machine",
            fix=f"name the plane by https, or accept the risk with {ACCEPT_PLAIN}=true",
            code=EXIT_USAGE,
        )
    try:
        return Client(url, token, proof=Proof(read_plane_key(settings.keys_folder)))
    except (OSError, KeysError) as error:
        fail(f"the key of this plane cannot be read: {_said(error)}")
