"""The contract of every cloud, checked for each adapter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.adoption import create_or_adopt
from holdfast.world.clouds.port import (
    COLLISION,
    CONFLICT,
    LABEL_EPOCH,
    LABEL_INSTANCE,
    LABEL_SANDBOX,
    MISSING_VOLUME,
    NAME_TAKEN,
    NOT_FOUND,
    WAIT_TIMEOUT,
    Cloud,
    Machine,
    MachineSpec,
    Volume,
    VolumeSpec,
    WaitableState,
    settles_destroy,
    verdict,
)
from holdfast.world.clouds.regions import volume_name


def spec(name: str = "box-1", **changes: object) -> MachineSpec:
    plain = MachineSpec(
        name=name,
        instance_id=f"instance-{name}",
        sandbox_id=name,
        account_id="account-1",
        region="local",
    )
    return replace(plain, **changes)


def value(outcome: Outcome[Machine]) -> Machine:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def volume_value(outcome: Outcome[Volume]) -> Volume:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def create(cloud: Cloud, wanted: MachineSpec) -> Machine:
    return value(await cloud.create(wanted, idempotency_key=wanted.name, timeout_ms=20_000))


async def wait(cloud: Cloud, machine: Machine, state: WaitableState) -> Machine:
    incarnation = "" if state == "destroyed" else machine.incarnation
    return value(
        await cloud.wait(machine.id, state=state, incarnation=incarnation, timeout_ms=20_000)
    )


async def started(cloud: Cloud, wanted: MachineSpec) -> Machine:
    return await wait(cloud, await create(cloud, wanted), "started")


async def destroy(cloud: Cloud, machine: Machine) -> None:
    assert settles_destroy(await cloud.destroy(machine.id))
    await cloud.wait(machine.id, state="destroyed", incarnation="", timeout_ms=20_000)


async def test_create_starts_a_machine_that_tells_who_it_is(cloud: Cloud) -> None:
    machine = await started(cloud, spec(epoch=3, labels={"team": "blue"}))
    assert machine.name == "box-1"
    assert machine.id
    assert machine.incarnation
    assert machine.labels == {
        "team": "blue",
        LABEL_INSTANCE: "instance-box-1",
        LABEL_SANDBOX: "box-1",
        LABEL_EPOCH: "3",
    }
    described = value(await cloud.describe(machine.id))
    assert described.state == "started"
    assert described.incarnation == machine.incarnation
    assert verdict(Ok(described)) == "here"


async def test_a_taken_name_is_a_conflict_that_names_the_holder(cloud: Cloud) -> None:
    machine = await create(cloud, spec())
    again = await cloud.create(spec(), idempotency_key="box-1", timeout_ms=20_000)
    assert isinstance(again, Conflict)
    assert again.code == NAME_TAKEN
    assert again.holder == machine.id


async def test_what_holds_the_name_is_adopted_when_it_is_ours(cloud: Cloud) -> None:
    machine = await create(cloud, spec())
    adopted = await create_or_adopt(
        cloud, spec(epoch=2), idempotency_key="other", timeout_ms=20_000
    )
    assert value(adopted).id == machine.id


async def test_a_strangers_machine_is_never_adopted(cloud: Cloud) -> None:
    machine = await create(cloud, spec(instance_id="somebody-else"))
    adopted = await create_or_adopt(cloud, spec(), idempotency_key="box-1", timeout_ms=20_000)
    assert isinstance(adopted, Conflict)
    assert adopted.code == COLLISION
    assert adopted.holder == machine.id


async def test_two_creates_at_once_make_one_machine(cloud: Cloud) -> None:
    answers = await asyncio.gather(
        *(cloud.create(spec(), idempotency_key="box-1", timeout_ms=20_000) for _ in range(3))
    )
    made = [answer for answer in answers if isinstance(answer, Ok)]
    assert len(made) == 1
    refused = [answer for answer in answers if isinstance(answer, Conflict)]
    assert {answer.holder for answer in refused} == {made[0].value.id}


async def test_stop_then_start_gives_a_new_incarnation(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    assert isinstance(await cloud.stop(machine.id, grace_ms=5_000), Ok)
    stopped = await wait(cloud, machine, "stopped")
    assert verdict(Ok(stopped)) == "here"
    again = value(await cloud.start(machine.id))
    assert again.id == machine.id
    assert again.incarnation != machine.incarnation
    assert (await wait(cloud, again, "started")).state == "started"


async def test_stopping_what_is_stopped_is_no_failure(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    for _ in range(2):
        assert isinstance(await cloud.stop(machine.id, grace_ms=5_000), Ok)
        await wait(cloud, machine, "stopped")
    assert value(await cloud.describe(machine.id)).state == "stopped"


async def test_starting_what_is_started_changes_nothing(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    assert value(await cloud.start(machine.id)).incarnation == machine.incarnation


async def test_update_restarts_under_a_new_incarnation(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    updated = value(await cloud.update(machine.id, spec(epoch=9)))
    assert updated.id == machine.id
    assert updated.incarnation != machine.incarnation
    running = await wait(cloud, updated, "started")
    assert running.labels[LABEL_EPOCH] == "9"


async def test_what_is_stored_waits_for_the_next_start(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    stored = value(await cloud.store(machine.id, spec(epoch=7)))
    assert (stored.id, stored.state) == (machine.id, "started")
    assert stored.incarnation == machine.incarnation, "what runs was left alone"
    await cloud.stop(machine.id, grace_ms=5_000)
    await wait(cloud, machine, "stopped")
    again = value(await cloud.start(machine.id))
    assert (await wait(cloud, again, "started")).labels[LABEL_EPOCH] == "7"
    missing = await cloud.store("no-such-machine", spec())
    assert isinstance(missing, Permanent)
    assert missing.code == NOT_FOUND


async def test_update_launches_a_stopped_machine(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    await cloud.stop(machine.id, grace_ms=5_000)
    await wait(cloud, machine, "stopped")
    updated = value(await cloud.update(machine.id, spec(epoch=2)))
    assert (await wait(cloud, updated, "started")).labels[LABEL_EPOCH] == "2"


async def test_waiting_for_an_old_incarnation_is_a_conflict(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    await cloud.update(machine.id, spec(epoch=2))
    waited = await cloud.wait(
        machine.id, state="started", incarnation=machine.incarnation, timeout_ms=20_000
    )
    assert isinstance(waited, Conflict)
    assert waited.code == CONFLICT


async def test_a_wait_that_runs_out_says_so_and_nothing_more(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    waited = await cloud.wait(
        machine.id, state="stopped", incarnation=machine.incarnation, timeout_ms=50
    )
    assert isinstance(waited, Retryable)
    assert waited.code == WAIT_TIMEOUT


async def test_destroy_removes_and_frees_the_name(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    await destroy(cloud, machine)
    assert verdict(await cloud.describe(machine.id)) == "gone"
    fresh = await create(cloud, spec())
    assert fresh.id != machine.id


@pytest.mark.parametrize("state", ["started", "stopped", "created"])
async def test_destroy_is_legal_from_every_state(cloud: Cloud, state: str) -> None:
    machine = await create(cloud, spec())
    if state != "created":
        await wait(cloud, machine, "started")
    if state == "stopped":
        await cloud.stop(machine.id, grace_ms=5_000)
        await wait(cloud, machine, "stopped")
    await destroy(cloud, machine)
    assert verdict(await cloud.describe(machine.id)) == "gone"


async def test_destroying_twice_comes_to_the_same(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    await destroy(cloud, machine)
    assert settles_destroy(await cloud.destroy(machine.id))


async def test_what_does_not_exist_is_not_found(cloud: Cloud) -> None:
    answers: list[Outcome[Any]] = [
        await cloud.describe("nothing"),
        await cloud.start("nothing"),
        await cloud.stop("nothing", grace_ms=10),
        await cloud.update("nothing", spec()),
        await cloud.destroy("nothing"),
        await cloud.exec("nothing", ("true",), timeout_ms=1_000),
        await cloud.log_tail("nothing", lines=5),
        await cloud.describe_volume("vol_nothing"),
        await cloud.destroy_volume("vol_nothing"),
        await cloud.wait("nothing", state="started", incarnation="", timeout_ms=1_000),
    ]
    for answer in answers:
        assert isinstance(answer, Permanent), answer
        assert answer.code == NOT_FOUND
    gone = await cloud.wait("nothing", state="destroyed", incarnation="", timeout_ms=1_000)
    assert isinstance(gone, Ok)


async def test_machines_are_found_by_their_labels(cloud: Cloud) -> None:
    one = await started(cloud, spec("box-1"))
    two = await started(cloud, spec("box-2"))
    found = await cloud.find({LABEL_SANDBOX: "box-2"})
    assert isinstance(found, Ok)
    assert [machine.id for machine in found.value] == [two.id]
    everything = await cloud.find({})
    assert isinstance(everything, Ok)
    assert {machine.id for machine in everything.value} == {one.id, two.id}
    nobody = await cloud.find({LABEL_SANDBOX: "box-2", LABEL_INSTANCE: "instance-box-1"})
    assert nobody == Ok(())


async def test_exec_runs_in_a_started_machine_only(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    ran = await cloud.exec(machine.id, ("true",), timeout_ms=10_000)
    assert isinstance(ran, Ok)
    assert ran.value.exit_code == 0
    await cloud.stop(machine.id, grace_ms=5_000)
    await wait(cloud, machine, "stopped")
    refused = await cloud.exec(machine.id, ("true",), timeout_ms=10_000)
    assert isinstance(refused, Conflict)


async def make_volume(cloud: Cloud, name: str, **changes: object) -> Volume:
    wanted = replace(VolumeSpec(name=name, region="local"), **changes)
    key = f"{name}:{wanted.source_volume_id}"
    made = await cloud.create_volume(wanted, idempotency_key=key, timeout_ms=20_000)
    return volume_value(made)


async def test_a_volume_outlives_the_machine_that_held_it(cloud: Cloud) -> None:
    volume = await make_volume(cloud, volume_name("box-1"))
    assert volume.state == "created"
    machine = await started(cloud, spec(volume_id=volume.id))
    assert machine.volume_id == volume.id
    held = volume_value(await cloud.describe_volume(volume.id))
    assert (held.state, held.attached_machine_id) == ("attached", machine.id)
    refused = await cloud.destroy_volume(volume.id)
    assert isinstance(refused, Conflict)
    await destroy(cloud, machine)
    free = volume_value(await cloud.describe_volume(volume.id))
    assert (free.state, free.attached_machine_id) == ("detached", None)
    assert await cloud.destroy_volume(volume.id) == Ok(None)
    assert isinstance(await cloud.describe_volume(volume.id), Permanent)


async def test_a_volume_serves_one_machine_at_a_time(cloud: Cloud) -> None:
    volume = await make_volume(cloud, volume_name("box-1"))
    await create(cloud, spec("box-1", volume_id=volume.id))
    second = await cloud.create(
        spec("box-2", volume_id=volume.id), idempotency_key="box-2", timeout_ms=20_000
    )
    assert isinstance(second, Conflict)
    assert second.code == CONFLICT


async def test_a_machine_without_its_volume_does_not_start(cloud: Cloud) -> None:
    refused = await cloud.create(
        spec(volume_id="vol_lost"), idempotency_key="box-1", timeout_ms=20_000
    )
    assert isinstance(refused, Permanent)
    assert refused.code == MISSING_VOLUME
    machine = await create(cloud, spec())  # the refusal did not take the name
    updated = await cloud.update(machine.id, spec(volume_id="vol_lost"))
    assert isinstance(updated, Permanent)
    assert updated.code == MISSING_VOLUME


async def test_volumes_are_found_by_exact_name(cloud: Cloud) -> None:
    volume = await make_volume(cloud, "hf_1")
    await make_volume(cloud, "hf_11")
    await cloud.describe_volume(volume.id)
    found = await cloud.find_volumes("hf_1")
    assert isinstance(found, Ok)
    assert [one.id for one in found.value] == [volume.id]


async def test_a_fork_keeps_the_size_of_its_source(cloud: Cloud) -> None:
    source = await make_volume(cloud, "hf_1", size_gb=25)
    fork = await make_volume(cloud, "hf_1", source_volume_id=source.id, size_gb=1)
    assert fork.id != source.id
    assert fork.size_gb == 25
    lost = await cloud.create_volume(
        VolumeSpec(name="hf_3", source_volume_id="vol_lost"),
        idempotency_key="hf_3",
        timeout_ms=20_000,
    )
    assert isinstance(lost, Permanent)
    assert lost.code == NOT_FOUND


async def test_the_log_can_be_looked_at(cloud: Cloud) -> None:
    machine = await started(cloud, spec())
    tail = await cloud.log_tail(machine.id, lines=5)
    assert isinstance(tail, Ok)
    assert len(tail.value) <= 5
