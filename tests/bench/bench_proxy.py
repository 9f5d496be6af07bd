"""Measures the controller's hop of the proxy: CPU for a request, for a message, and what leaks.

    python -m tests.bench proxy
    python -m tests.bench.bench_proxy [--requests 20000] [--messages 40000] [--minutes 0] [--json]

CPU is the proxy process's own, user and system, divided by what went through, against an agent
that answers with a few bytes. `--minutes 10` then keeps 100 WebSockets open for ten real minutes,
each pinging twice a second, and looks at what is open, at memory and at descriptors afterwards.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psutil

from tests.bench.figures import parser, percentiles, tell

REQUEST_US_MAX: Final = 150
MESSAGE_US_MAX: Final = 40
SOCKETS: Final = 100
PING_S: Final = 0.5
TOKEN: Final = b"X-Holdfast-Proxy-Token: proxy-token\r\n"
BROWSER: Final = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36\r\n"
    b"Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.9\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nSec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-Mode: cors\r\nReferer: http://agent.localhost:8700/chat\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
)
REQUEST: Final = (
    b"GET /api/state?x=1 HTTP/1.1\r\nHost: agent.localhost\r\n" + TOKEN + BROWSER + b"\r\n"
)
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
    b"Date: Wed, 25 Nov 2026 12:00:00 GMT\r\nContent-Length: 27\r\n\r\n"
    b'{"ok":true,"status":"live"}'
)
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: agent.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    + TOKEN
    + b"\r\n"
)
SWITCHED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
MESSAGE: Final = b"\x82\xfe\x00\x80" + b"mask" + b"x" * 128


class Agent(asyncio.Protocol):
    """Answers every request alike; after an upgrade it sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.switched = False

    def data_received(self, data: bytes) -> None:
        if self.switched:
            self.transport.write(data)
        elif b"pgrade: websocket" in data:
            self.switched = True
            self.transport.write(SWITCHED)
        else:
            self.transport.write(ANSWER)


class Caller(asyncio.Protocol):
    """Sends one thing after the other and waits for each answer."""

    def __init__(self, thing: bytes, size: int, times: int) -> None:
        self.thing, self.size, self.left = thing, size, times
        self.got = 0
        self.took_s: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.thing is not MESSAGE:
            self.send()
        else:
            transport.write(UPGRADE)

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.thing)

    def data_received(self, data: bytes) -> None:
        if self.thing is MESSAGE and not self.took_s and data.startswith(b"HTTP/1.1 101"):
            self.send()
            return
        self.got += len(data)
        if self.got < self.size:
            return
        self.got -= self.size
        self.took_s.append(time.perf_counter() - self.began)
        self.left -= 1
        if self.left > 0:
            self.send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed before the end"))


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def run_proxy() -> AsyncIterator[tuple[int, psutil.Process]]:
    """Start an agent here and the proxy in a process; yield its port and the process."""
    agent = await asyncio.get_running_loop().create_server(Agent, "127.0.0.1", 0)
    port = agent.sockets[0].getsockname()[1]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.proxy_server", str(port), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        yield int(await child.stdout.readline()), psutil.Process(child.pid)
    finally:
        child.terminate()
        await child.wait()
        agent.close()


async def measure(
    at: tuple[int, psutil.Process], thing: bytes, size: int, *, times: int, callers: int
) -> dict[str, Any]:
    """Return CPU microseconds for each, and how long each took, in ms."""
    port, process = at
    loop = asyncio.get_running_loop()
    before = cpu_s(process)
    made = [
        (
            await loop.create_connection(
                lambda: Caller(thing, size, times // callers), "127.0.0.1", port
            )
        )
        for _ in range(callers)
    ]
    await asyncio.gather(*(caller.done for _, caller in made))
    spent_s = cpu_s(process) - before
    for transport, caller in made:
        caller.done.cancel()
        transport.close()
    took = [value * 1_000 for _, caller in made for value in caller.took_s]
    return {"cpu_us": round(spent_s / len(took) * 1e6, 1), "ms": percentiles(took)}


async def hold(at: tuple[int, psutil.Process], minutes: float) -> dict[str, Any]:
    """Keep 100 sockets open, pinging; return what is left of them, and what grew."""
    port, process = at
    loop = asyncio.get_running_loop()
    descriptors, began = process.num_fds(), loop.time()
    made = [
        (await loop.create_connection(lambda: Caller(MESSAGE, len(MESSAGE), 1), "127.0.0.1", port))
        for _ in range(SOCKETS)
    ]
    await asyncio.gather(*(caller.done for _, caller in made))
    settled, cpu = process.memory_info().rss, cpu_s(process)
    pings = 0
    while loop.time() - began < minutes * 60:
        await asyncio.sleep(PING_S)
        for _, caller in made:
            caller.done = loop.create_future()
            caller.left = 1
            caller.send()
        async with asyncio.timeout(10):
            await asyncio.gather(*(caller.done for _, caller in made))
        pings += SOCKETS
    grown, spent = process.memory_info().rss - settled, cpu_s(process) - cpu
    refused = await one_more(port)
    for transport, _ in made:
        transport.abort()
    left = await fall(process, descriptors)
    return {
        "minutes": minutes,
        "pings": pings,
        "cpu_us_a_message": round(spent / max(pings, 1) / 2 * 1e6, 1),
        "rss_grown_kib": grown // 1_024,
        "descriptors_left": left,
        "one_more_is_refused": refused,
    }


async def one_more(port: int) -> bool:
    """Return whether the 101st is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE)
    answer = await reader.readline()
    writer.close()
    return b" 503 " in answer


async def fall(process: psutil.Process, wanted: int) -> int:
    """Return how many descriptors more than wanted are open once they no longer fall."""
    deadline = time.monotonic() + 15
    while process.num_fds() > wanted and time.monotonic() < deadline:  # noqa: ASYNC110  no event
        await asyncio.sleep(0.05)
    return max(0, int(process.num_fds()) - wanted)


async def run(requests: int, messages: int, minutes: float) -> dict[str, Any]:
    async with run_proxy() as at:
        await measure(at, REQUEST, len(ANSWER), times=2_000, callers=4)  # warm
        found: dict[str, Any] = {}
        for callers in (1, 16):
            found[f"request_{callers}"] = await measure(
                at, REQUEST, len(ANSWER), times=requests, callers=callers
            )
            found[f"echo_{callers}"] = echo = await measure(
                at, MESSAGE, len(MESSAGE), times=messages // 2, callers=callers
            )
            echo["cpu_us"] = round(echo["cpu_us"] / 2, 1)  # there and back: two messages
        found["held"] = await hold(at, minutes)
    return found


def judge(found: dict[str, Any]) -> list[str]:
    """Return what was missed."""
    missed = [
        f"{name}: {found[name]['cpu_us']} µs, want at most {most}"
        for kind, most in (("request", REQUEST_US_MAX), ("echo", MESSAGE_US_MAX))
        for name in (f"{kind}_1", f"{kind}_16")
        if found[name]["cpu_us"] > most
    ]
    held = found["held"]
    if held["descriptors_left"] or not held["one_more_is_refused"]:
        missed.append(f"held: {held}")
    if held["rss_grown_kib"] > 4_096:
        missed.append(f"memory grew by {held['rss_grown_kib']} KiB")
    return missed


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--requests", type=int, default=20_000)
    options.add_argument("--messages", type=int, default=40_000)
    options.add_argument("--minutes", type=float, default=0.1)
    chosen = options.parse_args()
    found = asyncio.run(run(chosen.requests, chosen.messages, chosen.minutes))
    tell("proxy", found, as_json=chosen.json)
    missed = judge(found)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
