"""Every client connects to the intended host, for any target, or sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeAlias

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.cli.client import ApiError, Client
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog
from holdfast.kernel.secret import Secret
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.observing.calls import OwnerCalls
from holdfast.machine.controller.report.checkin import CheckIns
from holdfast.machine.controller.report.long_poll import Wake
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.questions import WakePoll
from holdfast.machine.observer.upload import Destination, Uploader
from holdfast.outbox.http_sender import HttpSender
from holdfast.relay.limits import Limits
from holdfast.relay.upstream import Pool
from holdfast.town_tool.client import ToolClient, ToolError, read_settings
from holdfast.town_tool.declared import BY_NAME
from holdfast.wire.address import Address, Base
from holdfast.wire.controller.calls import ControllerError
from holdfast.world.clouds.fly.client import Call as FlyCall
from holdfast.world.clouds.fly.client import FlyClient
from holdfast.world.controllers import ControllerClient, Target
from holdfast.world.forges.github import GitHubPulls
from holdfast.world.forges.port import Repository
from tests.integration.machine.rig import until
from tests.support.patience import patience

Ask: TypeAlias = Callable[[int, str], Awaitable[object]]
"""Requests a target from the server on a port of this machine."""

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n{}"
)
HOSTILE = (
    "*@TRAP/x", "@TRAP/x", "//TRAP/x", "http://TRAP/x", "\\\\TRAP\\x", "/\\TRAP", "/..//TRAP",
    "TRAP", ":1@TRAP/", "?@TRAP", "#@TRAP", "/x#@TRAP", "/x\r\nHost: TRAP\r\n\r\n",
    "/ HTTP/1.1\r\nX: y", ".TRAP", "", "/%40TRAP", "/\xe9", "/\x00", "/a b", "/x?y=@TRAP",
)  # fmt: skip


async def _controller(port: int, target: str) -> None:
    client = ControllerClient()
    try:
        row: Any = SimpleNamespace(method="GET", target=lambda _path: target, response=dict)
        await client.call(Target(Address("127.0.0.1", port), Secret("t")), row)
    finally:
        await client.close()


async def _probe(port: int, target: str) -> None:
    async with aiohttp.ClientSession() as session:
        agent: Any = SimpleNamespace(place=SimpleNamespace(port=port), _session=session)
        await AgentProcesses._get(agent, target)


async def _checkin(port: int, target: str) -> None:
    pair: Any = SimpleNamespace(api_key=Secret("k"), gateway_token=Secret("g"))
    async with aiohttp.ClientSession() as session:
        reporting = SimpleNamespace(checkin_url=f"http://127.0.0.1:{port}{target}")
        checkins: Any = SimpleNamespace(
            _session=session, _identity=SimpleNamespace(reporting=reporting)
        )
        await CheckIns._post(checkins, {}, pair)  # type: ignore[arg-type]


async def _wake(port: int, target: str) -> None:
    pair = SimpleNamespace(api_key=Secret("k"), gateway_token=Secret("g"), complete=True)
    async with aiohttp.ClientSession() as session:
        wake: Any = SimpleNamespace(
            _session=session,
            _credentials=SimpleNamespace(current=lambda: pair),
            _reporting=SimpleNamespace(sandbox_id="s", wake_url=f"http://127.0.0.1:{port}{target}"),
            _on_directive=lambda _directive: None,
        )
        await Wake._poll(wake, 1)


async def _intent(port: int, target: str) -> None:
    pair = SimpleNamespace(api_key=Secret("k"), gateway_token=Secret("g"), complete=True)
    async with aiohttp.ClientSession() as session:
        calls = OwnerCalls(
            Path("/"), f"http://127.0.0.1:{port}{target}", "s", node="",
            credentials=SimpleNamespace(current=lambda: pair),  # type: ignore[arg-type]
            session=session, log=NoLog(),  # type: ignore[arg-type]
        )  # fmt: skip
        await calls._tell_plane()


async def _command_line(port: int, target: str) -> None:
    def ask() -> None:
        with Client(f"http://127.0.0.1:{port}{target}", "token", timeout_s=5) as client:
            client.call("plane.health")

    await asyncio.to_thread(ask)


async def _sender(port: int, target: str) -> None:
    def ask() -> None:
        sender = HttpSender(lambda: None, clock=ManualClock())
        try:
            # Behind the host, because an address given here may have a user part before it.
            sender.post(f"http://127.0.0.1:{port}/{target}", Secret("key"), b"{}")
        finally:
            sender.close()

    await asyncio.to_thread(ask)


async def _relay(port: int, target: str) -> None:
    """The relay takes an address alone; a target is the request line's, and stays there."""
    pool = Pool(Address("127.0.0.1", port), Limits(), asyncio.get_running_loop().time)
    up = await pool.dial()
    up.write(b"GET %b HTTP/1.1\r\n\r\n" % target.encode("latin-1"))
    await until(lambda: up.gone, "the answer that nobody asked for ends the connection", 10.0)
    pool.close()


async def _observer(port: int, target: str) -> None:
    def ask(folder: str) -> None:
        # Behind the host, as for the sender.
        there = Destination(f"http://127.0.0.1:{port}/{target}", Secret("key"), target)
        uploader = Uploader(
            Path(folder),
            gate_of_node=Gate(Path(folder), clock=ManualClock(), log=NoLog()),
            destination=lambda: there,
            clock=ManualClock(),
            log=NoLog(),
            agent="test",
        )
        uploader.ask(WakePoll(wait=0))
        uploader.close()

    with TemporaryDirectory() as folder:
        await asyncio.to_thread(ask, folder)


async def _tool(port: int, target: str) -> None:
    # Behind the host, as for the sender.
    url = f"http://127.0.0.1:{port}/{target}"
    environ = {"HOLDFAST_TOOL_URL": url, "HOLDFAST_TOOL_TOKEN": "hfa_x"}
    try:
        client = ToolClient(read_settings(environ), tries_s=0)
        await asyncio.to_thread(client.call, BY_NAME["heartbeat"], {})
    except ToolError as error:
        raise ValueError(error.text) from None


async def _github(port: int, target: str) -> None:
    repository = Repository(key="rig", url=f"http://127.0.0.1:{port}/owner{target}", token="t")
    await GitHubPulls().describe(repository, f"{repository.url}/pull/1")


async def _fly(port: int, target: str) -> None:
    base = Base.parse(f"http://127.0.0.1:{port}{target}")
    client = FlyClient(base, Secret("t"), clock=ManualClock())
    try:
        for segments in (("apps",), ("apps", target)):
            await client.call(FlyCall("ask", "x", "GET", segments), dict[str, str], deadline_ms=1e9)
    finally:
        await client.close()


CLIENTS: dict[str, Ask] = {
    "plane to controller": _controller, "controller to agent": _probe, "check-in": _checkin,
    "long poll": _wake, "intent": _intent, "command line": _command_line, "sender": _sender,
    "relay": _relay, "observer": _observer, "tool of an agent": _tool, "pull requests": _github,
    "plane to Fly": _fly,
}  # fmt: skip


class Meant:
    """An intended server, and one that must not be contacted."""

    def __init__(self) -> None:
        self.port = self.trap = 0
        self.lines: list[bytes] = []
        self.trapped = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.lines.append(await reader.readline())
        writer.write(ANSWER)
        writer.close()

    async def serve_trap(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.trapped += 1
        writer.close()


@asynccontextmanager
async def servers() -> AsyncIterator[Meant]:
    meant = Meant()
    one = await asyncio.start_server(meant.serve, "127.0.0.1", 0)
    other = await asyncio.start_server(meant.serve_trap, "127.0.0.1", 0)
    meant.port, meant.trap = (server.sockets[0].getsockname()[1] for server in (one, other))
    try:
        yield meant
    finally:
        one.close()
        other.close()
        await asyncio.sleep(0)  # what was accepted in this iteration has a writer in the next
        for writer in meant.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def asked(client: Ask, target: str) -> bool:
    """Request a target with a client; return whether anything was sent, and check where."""
    async with servers() as meant:
        told = target.replace("TRAP", f"127.0.0.1:{meant.trap}")
        try:
            async with asyncio.timeout(patience(20)):
                await client(meant.port, told)
        except (ValueError, OSError, ControllerError, ApiError, aiohttp.ClientError):
            pass
        assert not meant.trapped, f"{told!r} led elsewhere"
        for line in meant.lines:
            words = line.split(b" ")
            assert len(words) == 3 or client is _relay, line
            assert words[1][:1] == b"/" or client is _relay, line
        return bool(meant.lines)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_connects_where_it_means_to(name: str) -> None:
    assert await asked(CLIENTS[name], "" if name == "command line" else "/x"), "it does ask"
    for target in HOSTILE:
        await asked(CLIENTS[name], target)


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(
    name=st.sampled_from(sorted(CLIENTS)),
    parts=st.lists(
        st.sampled_from([
            "TRAP", "@", "/", "//", "\\", ":", "..", "?", "#", "*", "http://", "%40", "%2f", " ",
            "\r\n", "\t", "\x00", "é", "[", "]", "x",
        ]),
        max_size=6,
    ),
)  # fmt: skip
def test_a_client_connects_where_it_means_to_for_any_target(name: str, parts: list[str]) -> None:
    asyncio.run(asked(CLIENTS[name], "".join(parts)))
