"""Calls to one engine: bounded in time, their answers decoded, their failures typed.

It must never repeat a call: whether that is safe only the caller knows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from aiodocker import Docker, DockerError
from msgspec import Struct

from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Ok, Outcome, Retryable
from holdfast.wire.address import Address, Base
from holdfast.world.clouds.docker.answers import EngineInfo, Subject, classify
from holdfast.world.clouds.port import TRANSIENT

T = TypeVar("T")
D = TypeVar("D")

CALL_S: Final = 30.0
"""The longest a call may take unless it says so, in seconds."""


class Version(Struct, frozen=True):
    """An engine's name and version."""

    engine: str
    version: str
    api: str


class Engine:
    """The client of one engine. Make it in a running loop, close it after."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Speak to `url`, as `unix:///path` or, with `tls`, `tcp://host:port`."""
        if tls is not None:  # the client would speak plainly to tcp://, whatever it is given
            url = Base("https", Address.parse(url.removeprefix("tcp://")), "").url()
        self._docker = Docker(url=url, ssl_context=tls)

    @property
    def docker(self) -> Docker:
        """Return the client itself, for streams."""
        return self._docker

    async def close(self) -> None:
        """Close all connections."""
        await self._docker.close()

    async def call(
        self,
        do: Callable[[Docker], Awaitable[T]],
        *,
        subject: Subject = "machine",
        within_s: float = CALL_S,
    ) -> Outcome[T]:
        """Make one call; a failure may mean that it was executed."""
        try:
            async with asyncio.timeout(within_s):
                return Ok(await do(self._docker))
        except DockerError as error:
            return classify(error.status, str(error.message), subject=subject)
        except TimeoutError:
            text = f"the engine did not answer within {within_s:g} s; it may be done yet"
            return Retryable(TRANSIENT, text)
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            return Retryable(TRANSIENT, f"the engine does not answer: {brief(error)}")

    async def read(
        self,
        kind: type[D],
        do: Callable[[Docker], Awaitable[Any]],
        *,
        subject: Subject = "machine",
        within_s: float = CALL_S,
    ) -> Outcome[D]:
        """Make one call and decode its answer."""
        answer = await self.call(do, subject=subject, within_s=within_s)
        if not isinstance(answer, Ok):
            return answer
        try:
            return Ok(msgspec.convert(answer.value, kind))
        except msgspec.ValidationError as error:
            return Retryable(TRANSIENT, f"the engine's answer cannot be read: {brief(error)}")

    async def info(self) -> Outcome[EngineInfo]:
        """Return what the engine says of itself."""
        return await self.read(EngineInfo, lambda docker: docker.system.info())

    async def version(self) -> Outcome[Version]:
        """Return which engine it is."""
        answer = await self.call(lambda docker: docker.version())
        if not isinstance(answer, Ok):
            return answer
        found = answer.value
        names = [str(one.get("Name", "")) for one in found.get("Components") or ()]
        engine = "podman" if any(name.startswith("Podman") for name in names) else "docker"
        return Ok(Version(engine, str(found.get("Version", "")), str(found.get("ApiVersion", ""))))


def client_context(folder: str) -> ssl.SSLContext:
    """Return how to speak TLS, by `ca.pem`, `cert.pem` and `key.pem` of a folder; raise OSError."""
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return context
