"""Fakes of what OpenClaw connects to: Telegram's Bot API, a language model, a device.

The first two are servers on loopback that answer as the real ones do, and record what they
received. Old releases have no other address of Telegram than the real one; for them the same server
is behind a proxy that accepts every connection to it, with a certificate of a throwaway authority.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

BOT_TOKEN = "123456:fake-token-of-a-bot-that-is-not-there"
ANSWER = "pong from the fake model"
POLL_S = 20.0


@dataclass
class Telegram:
    """The Bot API: messages can be injected, and sent ones are recorded."""

    port: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)
    _updates: list[dict[str, Any]] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _number: int = 1000
    polls: int = 0

    async def write(self, user: int, text: str) -> None:
        """Inject a person's message to the bot."""
        self._number += 1
        person = {"id": user, "first_name": "Test", "username": f"tester{user}"}
        message = {
            "message_id": self._number, "date": int(time.time()), "text": text,
            "from": {**person, "is_bot": False, "last_name": "User"},
            "chat": {**person, "type": "private"},
        }  # fmt: skip
        async with self._news:
            self._updates.append({"update_id": self._number, "message": message})
            self._news.notify_all()

    def said_to(self, user: int) -> list[str]:
        """Return what the bot sent to a person."""
        return [str(row["text"]) for row in self.sent if str(row.get("chat_id")) == str(user)]

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one call."""
        method = request.match_info["method"].lower()
        given: dict[str, Any] = dict(request.query)
        if request.can_read_body:
            if request.content_type == "application/json":
                given |= await request.json()
            else:
                given |= dict(await request.post())
        result: Any = True
        if method == "getme":
            result = {"id": 123456, "is_bot": True, "first_name": "fake", "username": "fake_bot",
                      "can_join_groups": True, "can_read_all_group_messages": False,
                      "supports_inline_queries": False}  # fmt: skip
        elif method == "getupdates":
            result = await self._poll(int(given.get("offset") or 0), given)
        elif method == "sendmessage":
            self._number += 1
            self.sent.append(given)
            chat = {"id": given.get("chat_id"), "type": "private"}
            result = {"message_id": self._number, "date": int(time.time()), "chat": chat,
                      "text": given.get("text", "")}  # fmt: skip
        elif method == "getwebhookinfo":
            result = {"url": "", "has_custom_certificate": False, "pending_update_count": 0}
        elif method == "getmycommands":
            result = []
        return web.json_response({"ok": True, "result": result})

    async def _poll(self, offset: int, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        def fresh() -> list[dict[str, Any]]:
            return [row for row in self._updates if row["update_id"] >= offset]

        self.polls += 1
        async with self._news:
            try:
                async with asyncio.timeout(min(float(given.get("timeout") or 0), POLL_S)):
                    await self._news.wait_for(fresh)
            except TimeoutError:
                return []
            return fresh()


@asynccontextmanager
async def run_telegram(tls: ssl.SSLContext | None = None) -> AsyncIterator[Telegram]:
    """Serve the Bot API on a free port of loopback."""
    telegram = Telegram()
    app = web.Application()
    app.router.add_route("*", "/bot{token}/{method}", telegram.answer)
    async with _served(app, tls) as port:
        telegram.port = port
        yield telegram


@asynccontextmanager
async def run_model(heard: list[str] | None = None) -> AsyncIterator[int]:
    """Serve a model with a constant answer; yield its port.

    `heard` gets the Authorization header of each request.
    """

    @web.middleware
    async def listen(request: web.Request, handler: Any) -> Any:
        if heard is not None and request.method == "POST":
            heard.append(request.headers.get("Authorization", ""))
        return await handler(request)

    app = web.Application(middlewares=[listen])
    app.router.add_post("/v1/chat/completions", _complete)
    app.router.add_get("/v1/models", _models)
    async with _served(app, None) as port:
        yield port


@dataclass
class SlowModel:
    """A slow model: `delay_s` for each answer; `busy` counts those under way."""

    port: int = 0
    delay_s: float = 0.0
    asked: int = 0
    busy: int = 0
    answered: int = 0

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer after a while."""
        self.asked += 1
        self.busy += 1
        try:
            await asyncio.sleep(self.delay_s)
            answer = await _complete(request)
            self.answered += 1
            return answer
        finally:
            self.busy -= 1


@asynccontextmanager
async def run_slow_model() -> AsyncIterator[SlowModel]:
    """Serve a model with an adjustable delay."""
    model = SlowModel()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.complete)
    app.router.add_get("/v1/models", _models)
    async with _served(app, None) as port:
        model.port = port
        yield model


class ToolModel:
    """A model that calls tools in order, then says that it is done; `told` is all it received.

    `scripts` are calls by words of the prompt, with `{place}` for the folder around the clone that
    the prompt names. What is next is read from the conversation, so that several may go on at once
    and a request that is repeated is answered alike.
    """

    DONE = "the tools are done"

    def __init__(
        self, *calls: tuple[str, dict[str, Any]], **scripts: tuple[tuple[str, dict[str, Any]], ...]
    ) -> None:
        self.scripts = {**scripts, "": calls}
        self.told = ""
        self.keys: set[str] = set()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer with the next call of the conversation's script."""
        text = await request.text()
        self.told += text
        self.keys.add(request.headers.get("Authorization", ""))
        messages = json.loads(text)["messages"]
        prompt = json.dumps(next((one for one in messages if one["role"] == "user"), ""))
        place = re.search("Your clone: `([^`]+)/clone`", prompt)
        calls = next(calls for words, calls in self.scripts.items() if words in prompt)
        done = sum(one["role"] == "tool" for one in messages)
        delta: dict[str, Any] = {"role": "assistant", "content": self.DONE}
        if done < len(calls):
            name, arguments = calls[done]
            text = json.dumps(arguments).replace("{place}", place[1] if place else "")
            function = {"name": name, "arguments": text}
            call = {"index": 0, "id": f"call-{done}", "type": "function", "function": function}
            delta = {"role": "assistant", "tool_calls": [call]}
        reason = "tool_calls" if done < len(calls) else "stop"
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        base = {"id": "c", "object": "chat.completion.chunk", "created": int(time.time()),
                "model": "fake-1"}  # fmt: skip
        for part, why in ((delta, None), ({}, reason)):
            choices = [{"index": 0, "delta": part, "finish_reason": why}]
            await _event(answer, {**base, "choices": choices})
        await answer.write(b"data: [DONE]\n\n")
        return answer


@asynccontextmanager
async def run_tool_model(model: ToolModel) -> AsyncIterator[int]:
    """Serve a model; yield its port."""
    app = web.Application(client_max_size=100 * 1_048_576)  # whole conversations, tools and all
    app.router.add_post("/v1/chat/completions", model.complete)
    async with _served(app, None) as port:
        yield port


async def _models(_request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "fake-1", "object": "model"}]})


async def _complete(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    base = {"id": "c-1", "created": int(time.time()), "model": "fake-1"}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        return web.json_response(body)
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    pieces: list[dict[str, Any]] = [
        {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"delta": {"content": ANSWER}, "finish_reason": None},
        {"delta": {}, "finish_reason": "stop"},
    ]
    for piece in pieces:
        choices = [{"index": 0, **piece}]
        await _event(answer, {**base, "object": "chat.completion.chunk", "choices": choices})
    last = {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    await _event(answer, last)
    await answer.write(b"data: [DONE]\n\n")
    return answer


async def _event(answer: web.StreamResponse, body: Mapping[str, Any]) -> None:
    await answer.write(f"data: {json.dumps(body)}\n\n".encode())


@asynccontextmanager
async def _served(app: web.Application, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def run_proxy(port: int) -> AsyncIterator[int]:
    """Serve an HTTP proxy that connects every request to `port`; yield its own."""
    server = await asyncio.start_server(
        lambda reader, writer: _tunnel(reader, writer, port), "127.0.0.1", 0
    )
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def make_certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context for `host`, and the authority's certificate as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    owner = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a throwaway authority")])
    root = _certify(
        issuer, issuer, authority, authority, x509.BasicConstraints(ca=True, path_length=None)
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    leaf = _certify(subject, issuer, owner, authority, names)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(root.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(
        leaf.public_bytes(pem)
        + owner.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return context, folder / "authority.pem"


def _certify(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=True)
        .sign(signer, hashes.SHA256())
    )


class Device:
    """A client with a key of its own that appears to connect from elsewhere."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._public = self._key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self._public).hexdigest()

    def identity(self) -> dict[str, Any]:
        """Return OpenClaw's file for a key of its own, `identity/device.json`."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )  # fmt: skip
        return {
            "version": 1, "deviceId": self.id, "publicKeyPem": public.decode(),
            "privateKeyPem": private.decode(), "createdAtMs": int(time.time() * 1_000),
        }  # fmt: skip

    async def knock(
        self,
        session: aiohttp.ClientSession,
        port: int,
        token: str,
        *,
        role: str = "operator",
        scopes: tuple[str, ...] = ("operator.read", "operator.write"),
        protocol: int = 4,
        client: tuple[str, str] = ("cli", "cli"),
    ) -> dict[str, Any]:
        """Connect and return the answer; a gateway that does not recognise it makes a request."""
        name, mode = ("node-host", "node") if role == "node" else client
        headers = {"X-Forwarded-For": "203.0.113.9"}
        async with session.ws_connect(f"ws://127.0.0.1:{port}/", headers=headers) as socket:
            asked = (await socket.receive_json())["payload"]
            nonce, at_ms = asked["nonce"], asked.get("ts") or int(time.time() * 1_000)
            said = ("v3", self.id, name, mode, role, ",".join(scopes), str(at_ms), token, nonce,
                    "linux", "")  # fmt: skip
            params = {
                "minProtocol": protocol, "maxProtocol": protocol, "role": role,
                "client": {"id": name, "version": "0.0.1", "platform": "linux", "mode": mode,
                           "displayName": "probe"},
                "scopes": list(scopes), "caps": [], "commands": [], "permissions": {},
                "auth": {"token": token},
                "device": {"id": self.id, "publicKey": _encode(self._public), "nonce": nonce,
                           "signature": _encode(self._key.sign("|".join(said).encode())),
                           "signedAt": at_ms},
            }  # fmt: skip
            frame = {"type": "req", "id": "1", "method": "connect", "params": params}
            await socket.send_json(frame)
            while True:
                answer: dict[str, Any] = await socket.receive_json()
                if answer.get("id") == "1":
                    return answer


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
