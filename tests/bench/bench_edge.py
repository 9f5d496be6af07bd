"""What the edge costs per request: in memory, and over uvicorn on loopback.

`python -m tests.bench.bench_edge` prints microseconds of CPU per request, the least of several
rounds, because that is the figure other work on the machine disturbs least. The handler does
nothing, so what is left is routing, checks, decoding, encoding and the server.
"""

from __future__ import annotations

import asyncio
import http.client
import resource
import socket
import sys
import threading
import time
from typing import Any

import msgspec
import uvicorn

from holdfast.kernel.clock import SystemClock
from holdfast.wire.api.call import Call, Reply
from tests.support.asgi import json_headers, scope_of
from tests.support.stub_plane import StubPlane

ROUNDS = 7
CALLS = 3_000
CHECKIN = msgspec.json.encode(
    {
        "sandboxId": "ki_0123456789abcdef0123456789abcdef",
        "controllerVersion": "1.4.2",
        "controllerCommit": "0123456789abcdef",
        "supervisorState": "running",
        "openclawVersion": "2026.9.6",
        "openclawCommit": None,
        "totalRestarts": 3,
        "restartsSinceLastCheckin": 0,
        "uptimeSeconds": 86_400,
        "loadAvg5m": 0.25,
        "bandwidthBytesIn": 123_456,
        "bandwidthBytesOut": 654_321,
        "machineId": "0123456789abcd",
    }
)
MACHINE = {
    "authorization": "Bearer hfm_" + "a" * 43,
    "x-holdfast-gateway-token": "0" * 64,
    "content-type": "application/json",
    "content-length": str(len(CHECKIN)),
    "user-agent": "bench",
    "accept": "*/*",
}


async def _plane() -> tuple[StubPlane, str]:
    async def accept(call: Call) -> Reply:
        assert call.body.sandbox_id
        return Reply(status=204)

    plane = StubPlane(overrides={"controller.checkin": accept}, options={"check_responses": False})
    return plane, (await plane.prepare()).owner


async def _in_memory(app: Any, scope: dict[str, Any], body: bytes) -> float:
    """Return the least CPU microseconds per request."""
    message = {"type": "http.request", "body": body, "more_body": False}

    async def receive() -> Any:
        return message

    async def send(sent: Any) -> None:
        pass

    least = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(CALLS):
            await app(scope, receive, send)
        least = min(least, (time.process_time() - begin) / CALLS * 1e6)
    return least


async def _bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer without looking: what the server alone costs."""
    await receive()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _over_uvicorn(app: Any) -> tuple[float, float]:
    """Return (CPU µs per request of the serving thread, requests per second) on one connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app, access_log=False, log_level="error", lifespan="off", proxy_headers=False,
        server_header=False, loop="uvloop", http="httptools",
    )  # fmt: skip
    server = uvicorn.Server(config)
    spent: list[float] = []

    def serve() -> None:
        server.run(sockets=[listener])
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        spent.append(usage.ru_utime + usage.ru_stime)

    thread = threading.Thread(target=serve)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {k: v for k, v in MACHINE.items() if k != "content-length"}
    begin = time.perf_counter()
    for _ in range(CALLS):
        connection.request("POST", "/api/controller/checkin", CHECKIN, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204:
            raise SystemExit(f"the check-in was answered {answer.status}")
    seconds = time.perf_counter() - begin
    connection.close()
    server.should_exit = True
    thread.join()
    return spent[0] / CALLS * 1e6, CALLS / seconds


async def _report() -> StubPlane:
    plane, token = await _plane()
    plane.clock = SystemClock()  # type: ignore[assignment]
    rows = [
        ("check-in (hot, exact path)", scope_of("POST", "/api/controller/checkin", MACHINE, "p"),
         CHECKIN),
        ("list (token, query)",
         scope_of("GET", "/api/instances?limit=50&sort=-load", json_headers(token), "p"), b""),
        ("get (token, pattern)",
         scope_of("GET", "/api/instances/abc", json_headers(token), "p"), b""),
        ("create (token, audited in memory)",
         scope_of("POST", "/api/instances",
                  {**json_headers(token), "content-length": "13"}, "p"), b'{"name":"a1"}'),
    ]  # fmt: skip
    for name, scope, body in rows:
        sys.stdout.write(f"in memory, {name}: {await _in_memory(plane.edge, scope, body):.1f} µs\n")
    return plane


def main() -> None:
    """Print every figure."""
    plane = asyncio.run(_report())
    for name, app in (("nothing but the server", _bare), ("check-in", plane.edge)):
        cpu_us, per_s = _over_uvicorn(app)
        sys.stdout.write(f"uvicorn, {name}: {cpu_us:.1f} µs of its thread; {per_s:.0f}/s alone\n")


if __name__ == "__main__":
    main()
