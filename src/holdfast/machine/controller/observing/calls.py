"""The owner's wish to see the node, where they see it (compat/controller.md), and with which key.

Whoever calls these routes has shown the controller's token, which no confined agent can read. The
plane hears of the wish with the machine's two credentials, which it can not read either: with the
key in `config.json` alone, which lies in its home, an agent could agree in its owner's name.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

from holdfast.kernel.failure import OperationError, brief, reason
from holdfast.machine.content_key import (
    EnrolError,
    id_of_key,
    key_of,
    sealed_content_key,
)
from holdfast.machine.controller import limits
from holdfast.machine.controller.credentials import Credentials, machine_headers
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.http_body import read_answer
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.observing import protocol
from holdfast.machine.controller.process import atomic_file
from holdfast.relay.urls import whole_url
from holdfast.wire.address import Base
from holdfast.wire.api.controller import INTENT_PATH, MachineIntent, MachineIntentAnswer
from holdfast.wire.controller.observing import (
    URL_CHARS_MAX,
    DashboardUrl,
    EnrolAnswer,
    EnrolOrder,
    SyncStarted,
)

_FILE_BYTES_MAX: Final = 65_536
_SCHEMES: Final = ("https://", "http://")


class _Registration(Struct, frozen=True):
    """The part of `config.json` that says that the machine has registered."""

    api_key: str


class _Sealing(Struct, frozen=True):
    """The part of it that content is sealed with."""

    encryption_key: str

    def __repr__(self) -> str:
        """Return a form without the key."""
        return "_Sealing(…)"


class OwnerCalls:
    """Answers the routes about the observer."""

    def __init__(
        self,
        agent_home: Path,
        plane_url: str,
        sandbox: str,
        *,
        node: str,
        credentials: Credentials,
        session: aiohttp.ClientSession,
        log: Log,
    ) -> None:
        """Read below `agent_home`; without a plane's URL nobody can be told.

        `node` is the plane's id of this node, empty where the plane told none.
        """
        self._home = agent_home
        self._plane_url = plane_url
        self._sandbox = sandbox
        self._node = node
        self._credentials = credentials
        self._session = session
        self._log = log

    async def start_sync(self) -> SyncStarted:
        """Tell the plane of the owner's wish."""
        await asyncio.to_thread(self._registration)
        try:
            answer = await self._tell_plane()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._log.emit("observer.intent_failed", reason=brief(error))
            raise RefusedError(502, "intent_failed", "The plane did not take it") from error
        self._log.emit("observer.intent", already_started=answer.already_started)
        return SyncStarted(ok=True, already_started=answer.already_started)

    async def enrol(self, order: EnrolOrder) -> EnrolAnswer:
        """Seal the content key to a browser, if its key has the fingerprint that a person typed."""
        raw = await asyncio.to_thread(self._registration)
        try:
            text = msgspec.json.decode(raw, type=_Sealing).encryption_key
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            text = ""
        if not (text and self._node):
            raise RefusedError(404, "not_registered", "The machine has no key to seal with yet")
        key = key_of(text)
        try:
            sealed = sealed_content_key(key, self._node, order.public_key, order.fingerprint)
        except EnrolError as error:
            self._log.emit("observer.enrol_refused", reason=error.code)
            named = {"field": error.field} if error.field else {}
            raise RefusedError(400, error.code, str(error), **named) from None
        self._log.emit("observer.enrolled", fingerprint=order.fingerprint)
        return EnrolAnswer(key_id=id_of_key(key), sealed=sealed)

    def _registration(self) -> bytes:
        """Return the registration; refuse while there is none, or none that can be read."""
        raw = self._read(protocol.REGISTRATION_FILE, "registration_unreadable", "not_registered")
        try:
            registered = bool(msgspec.json.decode(raw, type=_Registration).api_key)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            registered = False
        if not registered:
            raise RefusedError(500, "registration_unreadable", "The registration has no api_key")
        return raw

    async def _tell_plane(self) -> MachineIntentAnswer:
        """Call the plane; raise OSError for any other answer than a yes."""
        pair = self._credentials.current()
        if not (self._plane_url and pair.complete):
            raise OperationError("no plane, or no credentials for it")
        async with self._session.post(
            whole_url(Base.parse(self._plane_url).url(INTENT_PATH)),
            data=msgspec.json.encode(MachineIntent(sandbox_id=self._sandbox)),
            headers={"Content-Type": "application/json", **machine_headers(pair)},
            timeout=aiohttp.ClientTimeout(total=limits.INTENT_TIMEOUT_S),
            allow_redirects=False,
        ) as answer:
            body = await read_answer(answer, limits.ANSWER_BYTES_MAX)
            if answer.status != 200:  # noqa: PLR2004  success in HTTP
                message = f"http_{answer.status}"
                raise OperationError(message)
        return msgspec.json.decode(body, type=MachineIntentAnswer)

    async def dashboard_url(self) -> DashboardUrl:
        """Return the address in the file that a registration leaves."""
        raw = await asyncio.to_thread(
            self._read, protocol.DASHBOARD_FILE, "url_unreadable", "no_dashboard_url"
        )
        url = raw.decode("utf-8", "replace").strip()
        # The agent can write the file: a `javascript:` of its must not reach its owner's browser.
        if not (url.startswith(_SCHEMES) and url.isprintable() and len(url) <= URL_CHARS_MAX):
            raise RefusedError(500, "url_unreadable", "The file holds no address")
        return DashboardUrl(url=url)

    def _read(self, name: str, unreadable: str, missing: str) -> bytes:
        """Return a file of the registration's folder; refuse where that cannot be."""
        path = self._home / protocol.REGISTRATION_FOLDER / name
        try:
            return atomic_file.read_file(path, _FILE_BYTES_MAX, below=self._home)
        except FileNotFoundError:
            raise RefusedError(404, missing, f"{name} is not there yet") from None
        except OSError as error:
            self._log.emit("observer.unreadable", file=name, reason=reason(error))
            raise RefusedError(500, unreadable, f"{name} cannot be read") from error
