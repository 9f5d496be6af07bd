"""Volumes on a real engine: copies that are whole or absent, and the limit of their size."""

from __future__ import annotations

import pytest

from holdfast.kernel.outcome import Conflict, Ok, Permanent, Retryable
from holdfast.world.clouds.docker.cloud import DockerCloud
from holdfast.world.clouds.docker.shape import Limits
from holdfast.world.clouds.port import CAPACITY, NOT_FOUND, MachineSpec, VolumeSpec
from tests.docker.conftest import cloud_of
from tests.support.container_engine import RealEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]


async def volume(cloud: DockerCloud, name: str, **changes: object) -> str:
    made = await cloud.create_volume(
        VolumeSpec(name=name, **changes),  # type: ignore[arg-type]
        idempotency_key=name,
        timeout_ms=60_000,
    )
    assert isinstance(made, Ok), made
    return made.value.id


async def machine(cloud: DockerCloud, volume_id: str, name: str = "box") -> str:
    spec = MachineSpec(
        name=name, instance_id=name, sandbox_id=name, account_id="a", volume_id=volume_id
    )
    made = await cloud.create(spec, idempotency_key=name, timeout_ms=60_000)
    assert isinstance(made, Ok), made
    return made.value.id


async def shell(cloud: DockerCloud, machine_id: str, text: str) -> str:
    ran = await cloud.exec(machine_id, ("sh", "-c", text), timeout_ms=20_000)
    assert isinstance(ran, Ok), ran
    assert ran.value.exit_code == 0, ran.value
    return ran.value.stdout


async def test_a_fork_has_the_files_and_their_owner(engine: RealEngine) -> None:
    async with cloud_of(engine) as cloud:
        source = await volume(cloud, "one")
        first = await machine(cloud, source)
        await shell(
            cloud, first, "mkdir /data/a && echo hello > /data/a/.b && chmod 600 /data/a/.b"
        )
        running = await cloud.create_volume(
            VolumeSpec(name="two", source_volume_id=source), idempotency_key="two", timeout_ms=9_000
        )
        assert isinstance(running, Conflict), "what is written to is not copied"
        await cloud.stop(first, grace_ms=2_000)
        await cloud.wait(first, state="stopped", incarnation="", timeout_ms=20_000)
        copy = await volume(cloud, "two", source_volume_id=source)
        second = await machine(cloud, copy, "other")
        assert await shell(cloud, second, "cat /data/a/.b; stat -c %a /data/a/.b") == "hello\n600\n"
        await shell(cloud, second, "echo more >> /data/a/.b")


async def test_a_copy_that_was_cut_is_absent_and_made_again(engine: RealEngine) -> None:
    async with cloud_of(engine) as cloud:
        source = await volume(cloud, "one")
        holder = await machine(cloud, source)
        await shell(cloud, holder, "echo hello > /data/x")
        await cloud.destroy(holder)
        wanted = VolumeSpec(name="two", source_volume_id=source)
        cut = await cloud.create_volume(wanted, idempotency_key="two", timeout_ms=1)
        assert isinstance(cut, Retryable)
        listed = await cloud.volumes.listed()
        assert isinstance(listed, Ok)
        (draft,) = [one.name for one in listed.value if one.name != source]
        described = await cloud.describe_volume(draft)
        assert isinstance(described, Permanent)
        assert described.code == NOT_FOUND, "half a copy is never taken for a volume"
        assert await cloud.find_volumes("two") == Ok(())
        copy = await volume(cloud, "two", source_volume_id=source)
        assert copy == draft
        second = await machine(cloud, copy, "other")
        assert await shell(cloud, second, "cat /data/x") == "hello\n"


async def test_a_volume_that_is_too_large_stops_its_machine(engine: RealEngine) -> None:
    async with cloud_of(engine, Limits(disk_gb=1)) as cloud:
        held = await volume(cloud, "one")
        hog = await machine(cloud, held)
        await shell(cloud, hog, "fallocate -l 1100M /data/hog")
        stopped = await cloud.wait(hog, state="stopped", incarnation="", timeout_ms=30_000)
        assert isinstance(stopped, Ok)
        refused = await cloud.start(hog)
        assert isinstance(refused, Retryable)
        assert refused.code == CAPACITY
        assert "holds 1.2 GB of 1 GB" in refused.message


async def test_what_a_machine_uses_is_reported(engine: RealEngine) -> None:
    async with cloud_of(engine) as cloud:
        used = await machine(cloud, await volume(cloud, "one"))
        await shell(cloud, used, "head -c 3000000 /dev/zero > /data/x")
        await cloud.sampler.measure()
        described = await cloud.describe(used)
        assert isinstance(described, Ok)
        usage = described.value.usage
        assert usage is not None
        assert usage.processes == 1
        assert usage.rss_bytes > 1_000_000
        assert usage.disk_bytes is not None
        assert usage.disk_bytes >= 3_000_000
