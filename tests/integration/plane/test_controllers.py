"""The plane's client of controllers, against servers that answer well, badly, late or never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from holdfast.actors.ports import Reader
from holdfast.instances.views import DETAIL_VIEW, DetailRow
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.kernel.secret import Secret
from holdfast.letters.machine import MachineFacts
from holdfast.plane.wiring import controllers as module
from holdfast.plane.wiring.controllers import CAPABILITIES_MS, ROUTE_MS, MachineControllers
from holdfast.wire.controller.calls import ControllerError
from holdfast.wire.controller.doctor import DOCTOR_START, DoctorOrder
from holdfast.wire.controller.identity import gateway_token
from holdfast.wire.controller.machine import VERSION
from holdfast.world.clouds.port import Cloud, Machine
from holdfast.world.controllers import ControllerClient

SANDBOX = "ki_" + "0" * 32


class Rows:
    """A reader with one machine."""

    def __init__(self, machine_id: str = "m-1") -> None:
        self.machine_id = machine_id

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        row: Any = MachineFacts(
            instance="in-1", sandbox=SANDBOX, account="a", api_key_hash="", epoch=3,
            machine_id=self.machine_id, live_token_version=2,
        )  # fmt: skip
        if view == DETAIL_VIEW:
            row = DetailRow(sandbox_id=SANDBOX, provider="here")
        return None if key == "in-9" else (msgspec.json.encode(row), "a", 1)


class Place:
    """A cloud with the machine's address, which counts look-ups."""

    def __init__(self) -> None:
        self.answer: Outcome[Machine] = Permanent("not_found", "gone")
        self.asked = 0

    def at(self, address: str, state: Any = "started") -> None:
        self.answer = Ok(Machine(id="m-1", name="n", state=state, address=address))

    async def describe(self, _machine_id: str) -> Outcome[Machine]:
        self.asked += 1
        return self.answer


class Bench:
    """The client with everything around it."""

    def __init__(self) -> None:
        self.clock = ManualClock(0)
        self.place = Place()
        self.client = ControllerClient()
        self.controllers = MachineControllers(
            cast("Reader", Rows()), {"here": cast("Cloud", self.place)},
            client=self.client, secret=Secret("secret"), clock=self.clock,
        )  # fmt: skip

    async def trouble(self, instance: str = "in-1", **more: Any) -> ControllerError:
        with pytest.raises(ControllerError) as caught:
            await self.controllers.call(instance, VERSION, **more)
        return caught.value


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    found = Bench()
    yield found
    await found.client.close()


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_it_shows_the_machines_own_token_and_believes_an_address_for_a_while(
    bench: Bench,
) -> None:
    heard: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append(request.headers["Authorization"])
        return web.json_response({"version": "1"})

    async with serving(handle) as address:
        bench.place.at(address)
        for _ in range(3):
            await bench.controllers.call("in-1", VERSION)
        assert bench.place.asked == 1
        bench.clock.advance(ROUTE_MS)
        await bench.controllers.call("in-1", VERSION)
    assert bench.place.asked == 2
    assert set(heard) == {f"Bearer {gateway_token('secret', SANDBOX, version=2)}"}


async def test_what_a_cloud_routes_by_is_sent_and_tls_is_not_left_out(bench: Bench) -> None:
    heard: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append(request.headers.get("fly-force-instance-id"))
        return web.json_response({"version": "1"})

    async with serving(handle) as address:
        machine = Machine(id="m-1", name="n", state="started", address=address)
        bench.place.answer = Ok(replace(machine, headers={"fly-force-instance-id": "m"}))
        await bench.controllers.call("in-1", VERSION)
        await bench.controllers.place("in-1")
        bench.clock.advance(ROUTE_MS)
        bench.place.answer = Ok(replace(machine, tls=True))
        assert (await bench.trouble()).trouble == "unreachable"
        with pytest.raises(ControllerError, match="by TLS"):
            await bench.controllers.place("in-1")
    assert heard == ["m"], "nothing is said to who does not speak TLS"


async def test_what_a_controller_can_do_is_remembered_and_an_old_one_says_nothing(
    bench: Bench,
) -> None:
    answers = [
        web.json_response({"capabilities": ["config.read"]}),
        web.json_response({"error": "Not Found"}, status=404),
    ]

    async def handle(_request: web.Request) -> web.Response:
        return answers.pop(0)

    async with serving(handle) as address:
        bench.place.at(address)
        for _ in range(3):
            assert await bench.controllers.capabilities("in-1") == {"config.read"}
        bench.clock.advance(CAPABILITIES_MS)
        assert await bench.controllers.capabilities("in-1") == frozenset()
    assert not answers


async def test_one_that_does_not_answer_in_time_is_given_up(bench: Bench) -> None:
    async def handle(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with serving(handle) as address:
        bench.place.at(address)
        assert (await bench.trouble(timeout_ms=50)).trouble == "timeout"


async def test_a_body_that_stops_half_way_is_an_error_of_its_class(bench: Bench) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"vers')
        assert request.transport is not None
        request.transport.abort()
        return answer

    async with serving(handle) as address:
        bench.place.at(address)
        assert (await bench.trouble()).trouble == "unreachable"


async def test_an_answer_without_an_end_is_cut(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.world.controllers.ANSWER_BYTES_MAX", 1_000)

    async def handle(_request: web.Request) -> web.Response:
        return web.json_response({"version": "x" * 5_000})

    async with serving(handle) as address:
        bench.place.at(address)
        assert (await bench.trouble()).trouble == "broken"


async def test_a_machine_that_has_moved_is_looked_for_again(bench: Bench) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.json_response({})

    bench.place.at("127.0.0.1:1")
    assert (await bench.trouble()).trouble == "unreachable"
    async with serving(handle) as address:
        bench.place.at(address)
        await bench.controllers.call("in-1", VERSION)


async def test_what_does_not_run_is_not_asked(bench: Bench) -> None:
    assert (await bench.trouble("in-9")).trouble == "not_running"
    assert (await bench.trouble()).trouble == "unreachable"
    bench.place.at("127.0.0.1:1", state="stopped")
    assert (await bench.trouble()).trouble == "not_running"
    bench.place.at("")
    assert (await bench.trouble()).trouble == "unreachable"


async def test_what_is_remembered_has_an_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 1)

    async def handle(_request: web.Request) -> web.Response:
        return web.json_response({})

    async with serving(handle) as address:
        bench.place.at(address)
        rows = cast("Rows", bench.controllers._reader)
        for number in range(3):
            rows.machine_id = f"m-{number}"
            await bench.controllers.call("in-1", VERSION)
    assert len(bench.controllers._routes) == 1


async def test_what_was_never_sent_is_told_from_what_may_have_arrived(bench: Bench) -> None:
    read: list[bytes] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bench.place.at(f"127.0.0.1:{port}")
    try:
        with pytest.raises(ControllerError) as dropped:
            await bench.controllers.call("in-1", DOCTOR_START, body=DoctorOrder())
    finally:
        server.close()
        await server.wait_closed()
    assert (dropped.value.trouble, dropped.value.arrived) == ("unreachable", True)
    assert [one[:7] for one in read] == [b"POST /_"]
    refused = await bench.trouble()
    assert (refused.trouble, refused.arrived) == ("unreachable", False)
