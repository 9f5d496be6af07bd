"""Machines at Fly: a storm of starts, and starts at a steady rate, through a whole plane.

The plane is in this process with its real stores; the fake Fly is another process, which answers
as Fly does (40 ms a request, 200 ms to create, 300 ms to start; one call a second of each action on
each machine, three at once). What is measured of a machine is the time from the request that makes
the instance to the tick in which it runs; the overhead is that time without those parts of it in
which one of its requests was at Fly.
Run: `python -m tests.bench.bench_fly [--machines 1000] [--rate 10] [--seconds 60]`. With `--lies N`
it is the storm alone, where of a thousand requests N are refused, N lose their answer, N are done
twice, and N late.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.kernel.secret import Secret
from holdfast.plane.settings import Settings, load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.relay.rate import Rates
from holdfast.wire.address import Base
from holdfast.wire.times import parse_time
from holdfast.world.clouds.fly.client import FlyClient
from holdfast.world.clouds.fly.cloud import FlyCloud, Options
from holdfast.world.clouds.fly.names import app_of
from holdfast.world.clouds.port import MachineSpec, VolumeSpec
from holdfast.world.clouds.regions import volume_name
from tests.bench.figures import parser, percentiles, tell
from tests.support.asgi import call, json_headers
from tests.support.fake_fly import ORG, TOKEN
from tests.support.logs import Lines
from tests.support.real_plane import PLENTY

STORM_S: Final = 60.0
OVERHEAD_MS: Final = 50.0
PREFIX: Final = "bench"


class Quiet(Lines):
    """A log that keeps nothing."""

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Drop a line."""


class Bench(NamedTuple):
    """A plane with its Fly, and an operator of it."""

    plane: Plane
    server: subprocess.Popen[str]
    headers: dict[str, str]

    async def make(self, name: str) -> tuple[str, float]:
        """Make an instance; return its name, and when it was asked for in ms since the epoch."""
        began_ms = time.time() * 1_000
        body = json.dumps({"name": name}).encode()
        made = await call(self.plane.app, "POST", "/api/instances", headers=self.headers, body=body)
        if made.status not in {201, 202}:
            raise SystemExit(f"{name}: {made.status} {made.body!r}")
        return name, began_ms

    async def detail(self, instance: str) -> dict[str, Any]:
        """Return an instance as its page has it."""
        path = f"/api/instances/{instance}"
        return dict((await call(self.plane.app, "GET", path, headers=self.headers)).json())

    async def all_running(self, instances: list[str], *, within_s: float) -> list[str]:
        """Wait until all run; return those that do not by then."""
        until = time.monotonic() + within_s
        left = instances
        while left and time.monotonic() < until:
            await asyncio.sleep(0.25)
            details = [await self.detail(one) for one in left]
            left = [
                one
                for one, found in zip(left, details, strict=True)
                if found["instance"]["status"] != "running"
            ]
        return left


def _counted(server: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what Fly has counted."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    return dict(json.loads(server.stdout.readline()))


@contextmanager
def fly(folder: str) -> Iterator[tuple[subprocess.Popen[str], Settings]]:
    """Start the fake Fly, and return the settings of a plane that places machines there."""
    server = subprocess.Popen(
        (sys.executable, "-m", "tests.bench.fly_server"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        base = server.stdout.readline().strip()
        token = Path(folder, "token")
        token.write_text(TOKEN)
        token.chmod(0o600)
        yield server, load_settings(
            {}, home=f"{folder}/home", cloud="fly", fly_org=ORG, fly_api=base,
            fly_token_file=str(token), fly_image="registry.example.com/agents:1",
            fly_prefix=PREFIX, public_url="http://plane.test", accept_unconfined=True,
        )  # fmt: skip
    finally:
        server.kill()
        server.wait()


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Start both."""
    with tempfile.TemporaryDirectory() as folder, fly(folder) as (server, settings):
        clock = SystemClock()
        plane = await make_plane(settings, clock=clock, log=Quiet(), url=settings.public_url)
        plane.app._rates = Rates(clock, calls=PLENTY, sign_ins=PLENTY)
        await plane.start()
        try:
            made = await plane.subjects.people.directory.make_token(
                "bench", scope="operator", account=None, created_by="bench"
            )
            yield Bench(plane, server, json_headers(made[0]))
        finally:
            await plane.stop()


async def storm(machines: int) -> dict[str, Any]:
    """Make so many instances at once, and wait until all run."""
    async with bench() as at:
        began, cpu_s = time.monotonic(), _cpu_s()
        made = await asyncio.gather(*(at.make(f"box-{number}") for number in range(machines)))
        asked_s = time.monotonic() - began
        left = await at.all_running([one for one, _ in made], within_s=5 * STORM_S)
        took_s, cpu_s = time.monotonic() - began, _cpu_s() - cpu_s
        counted = _counted(at.server)
        spans = [span for span, _ in await _spans(at, made, counted)]
    return {
        "machines": machines,
        "all asked for, s": round(asked_s, 1),
        "all running, s": round(took_s, 1),
        "not running": len(left),
        "one machine, ms": percentiles(spans, digits=0) if spans else {},
        "self-inflicted 429": counted["answered"].get("429", 0),
        "machines at Fly": counted["machines"],
        "doubled": counted["doubled"],
        "volumes at Fly": counted["volumes"],
        "requests": sum(counted["asked"].values()),
        "CPU of the plane, s": round(cpu_s, 1),
        "wrong requests": counted["wrong"],
    }


async def steady(rate: float, seconds: float) -> dict[str, Any]:
    """Make instances at a steady rate."""
    async with bench() as at:
        tasks = []
        began, cpu_s = time.monotonic(), _cpu_s()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(at.make(f"box-{number}")))
        made = await asyncio.gather(*tasks)
        cpu_s = _cpu_s() - cpu_s
        left = await at.all_running([one for one, _ in made], within_s=STORM_S)
        counted = _counted(at.server)
        found = await _spans(at, made, counted)
    return {
        "machines": len(made),
        "not running": len(left),
        "one machine, ms": percentiles([span for span, _ in found], digits=1),
        "overhead over Fly, ms": percentiles([over for _, over in found], digits=1),
        "self-inflicted 429": counted["answered"].get("429", 0),
        "CPU of the plane, share of a core": round(cpu_s / seconds, 2),
        "wrong requests": counted["wrong"],
    }


async def client(rate: float, seconds: float) -> dict[str, Any]:
    """Start machines at a steady rate by the cloud alone, without a plane."""
    with tempfile.TemporaryDirectory() as folder, fly(folder) as (server, settings):
        clock = SystemClock()
        cloud = FlyCloud(
            FlyClient(Base.parse(settings.fly_api), Secret(TOKEN), clock=clock),
            org=ORG, prefix=PREFIX, options=Options(image=settings.fly_image), clock=clock,
            keys=lambda spec: Secret(spec.instance_id),
        )  # fmt: skip
        tasks, began = [], time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(_one(cloud, f"box-{number}")))
        spans = dict(await asyncio.gather(*tasks))
        counted = _counted(server)
        await cloud.close()
    over = [
        span[1] - span[0] - _covered(counted["spans"][app_of(PREFIX, name)], span)
        for name, span in spans.items()
    ]
    return {
        "machines": len(spans),
        "one machine, ms": percentiles([end - start for start, end in spans.values()], digits=1),
        "overhead over Fly, ms": percentiles(over, digits=1),
        "self-inflicted 429": counted["answered"].get("429", 0),
    }


async def _one(cloud: FlyCloud, name: str) -> tuple[str, tuple[float, float]]:
    """Start a machine with its volume; return when that began and ended, in steady ms."""
    began_ms = time.monotonic() * 1_000
    spec = VolumeSpec(name=volume_name(name), region="ams")
    volume = await cloud.create_volume(spec, idempotency_key=name, timeout_ms=45_000)
    assert isinstance(volume, Ok), volume
    machine = MachineSpec(
        name=name, instance_id=name, sandbox_id=name, account_id="bench", region="ams",
        sealed={"KEY": "enc:v1:x"}, volume_id=volume.value.id,
    )  # fmt: skip
    made = await cloud.create(machine, idempotency_key=name, timeout_ms=45_000)
    assert isinstance(made, Ok), made
    up = await cloud.wait(
        made.value.id, state="started", incarnation=made.value.incarnation, timeout_ms=60_000
    )
    assert isinstance(up, Ok), up
    return name, (began_ms, time.monotonic() * 1_000)


async def _spans(
    at: Bench, made: list[tuple[str, float]], counted: dict[str, Any]
) -> list[tuple[float, float]]:
    """Return for each machine the ms until it ran, and those of them that were not Fly's."""
    found = []
    steady_ms = time.monotonic() * 1_000 - time.time() * 1_000  # both processes have this clock
    for instance, began_ms in made:
        detail = await at.detail(instance)
        started_ms = parse_time(detail["started_at"])
        if started_ms is not None:
            spans = counted["spans"][app_of(PREFIX, detail["sandbox_id"])]
            whole = (began_ms + steady_ms, started_ms + 1 + steady_ms)
            found.append((whole[1] - whole[0], whole[1] - whole[0] - _covered(spans, whole)))
    return found


def _covered(spans: list[list[float]], whole: tuple[float, float]) -> float:
    """Return how much of a span is covered by others, which may overlap."""
    covered, end = 0.0, whole[0]
    for began, ended in sorted(map(tuple, spans)):
        covered += max(0.0, min(ended, whole[1]) - max(began, end))
        end = max(end, ended)
    return covered


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure both, and compare with the figures."""
    options = parser(__doc__)
    options.add_argument("--machines", type=int, default=1_000)
    options.add_argument("--rate", type=float, default=10.0)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--lies", type=int, default=0)
    given = options.parse_args()
    os.environ["LIES"] = str(given.lies)
    stormy = uvloop.run(storm(given.machines))
    tell("a storm of starts at Fly", stormy, as_json=given.json)
    if given.lies:
        sys.exit(bool(stormy["not running"] or stormy["doubled"]))
    calm = uvloop.run(steady(given.rate, given.seconds))
    tell(f"{given.rate:g} starts a second at Fly", calm, as_json=given.json)
    bare = uvloop.run(client(given.rate, given.seconds))
    tell(f"{given.rate:g} starts a second at Fly, without a plane", bare, as_json=given.json)
    missed = [
        any(one["self-inflicted 429"] for one in (stormy, calm, bare)),
        stormy["not running"] or calm["not running"],
        stormy["all running, s"] > STORM_S,
        calm["overhead over Fly, ms"]["p99"] > OVERHEAD_MS,
    ]
    if any(missed):
        sys.exit("missed a figure")


if __name__ == "__main__":
    main()
