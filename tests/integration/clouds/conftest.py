"""Real processes on this host, with a small program in place of the controller."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.world.clouds.port import Machine, MachineSpec
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.processes.table import Identity, members
from tests.support.patience import patience
from tests.support.ports import machine_ports

STUB_PATH = Path(__file__).parents[2] / "contract" / "clouds" / "stub_machine.py"
STUB = (sys.executable, "-S", "-E", str(STUB_PATH))
Opener: TypeAlias = Callable[..., Awaitable[ProcessCloud]]


def spec(name: str = "box-1", *orders: str, **changes: object) -> MachineSpec:
    plain = MachineSpec(
        name=name,
        instance_id=f"instance-{name}",
        sandbox_id=name,
        account_id="account-1",
        env={"STUB": " ".join(orders)},
    )
    return replace(plain, **changes)


def value(outcome: Outcome[Machine]) -> Machine:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def create(cloud: ProcessCloud, wanted: MachineSpec) -> Machine:
    """Create a machine and wait until its program prints."""
    made = value(await cloud.create(wanted, idempotency_key=wanted.name, timeout_ms=20_000))
    await said(cloud, made.id, "up ")
    return made


async def said(cloud: ProcessCloud, machine_id: str, words: str) -> None:
    async def heard() -> bool:
        tail = await cloud.log_tail(machine_id, lines=100)
        return isinstance(tail, Ok) and any(words in line for line in tail.value)

    await until(heard)


async def until(true: Callable[[], Awaitable[bool]], *, within_s: float = 15.0) -> None:
    async with asyncio.timeout(patience(within_s)):
        while not await true():  # noqa: ASYNC110 - what is awaited happens outside this loop
            await asyncio.sleep(0.02)


async def until_gone(leader: Identity | None, machine_id: str) -> None:
    async def gone() -> bool:
        return not members(leader, machine_id)

    await until(gone)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    """Open clouds on one home; in the end, remove every machine and close them."""
    clouds: list[ProcessCloud] = []

    async def one(**options: object) -> ProcessCloud:
        settings: dict[str, object] = {"program": STUB, "ports": machine_ports(), **options}
        cloud = ProcessCloud(tmp_path, clock=SystemClock(), **settings)  # type: ignore[arg-type]
        clouds.append(cloud)
        await cloud.open()
        return cloud

    yield one
    for cloud in clouds:
        await cloud.close()
    last = ProcessCloud(tmp_path, clock=SystemClock(), program=STUB)
    await last.open()
    found = await last.find({})
    assert isinstance(found, Ok)
    for machine in found.value:
        await last.destroy(machine.id)
    await last.close()
