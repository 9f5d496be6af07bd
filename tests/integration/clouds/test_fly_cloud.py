"""The Fly cloud against a Fly that loses answers, refuses, lags, and has outages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.kernel.secret import SecretError
from holdfast.machine.controller.settings import read_listening, read_reporting, read_running
from holdfast.wire.address import Base
from holdfast.world.clouds.adoption import create_or_adopt
from holdfast.world.clouds.faults import Call as Asked
from holdfast.world.clouds.faults import Fault, FaultKind, Faults
from holdfast.world.clouds.fly.client import ACTIONS_BURST, Call, FlyClient, read_token
from holdfast.world.clouds.fly.messages import Done, SeenMachine, SeenVolume
from holdfast.world.clouds.fly.names import app_of, parse_id
from holdfast.world.clouds.fly.translate import (
    CONTROLLER_PORT,
    environment_of,
    machine_of,
    volume_of,
)
from holdfast.world.clouds.port import (
    CAPACITY,
    COLLISION,
    CONFLICT,
    DENIED,
    INVALID,
    LABEL_SANDBOX,
    MISSING_VOLUME,
    NAME_TAKEN,
    NOT_FOUND,
    RATE_LIMITED,
    TRANSIENT,
    Machine,
    MachineSpec,
    Volume,
    VolumeSpec,
    verdict,
)
from holdfast.world.clouds.regions import create_volume_walking, volume_name
from tests.support.fake_fly import ORG, TOKEN, FakeApp
from tests.support.ports import free_port
from tests.support.reached_fly import ReachedFly, cloud_at, fly

APP = app_of("hf", "box-1")
CREATE = "POST /apps/{app_name}/machines"
MACHINE = "/apps/{app_name}/machines/{machine_id}"
VOLUMES = "POST /apps/{app_name}/volumes"
SPEC = MachineSpec(
    name="box-1", instance_id="instance-1", sandbox_id="box-1", account_id="account-1", region="ams"
)


@pytest.fixture
async def reached() -> AsyncIterator[ReachedFly]:
    async with fly() as made:
        yield made
        assert made.fake.wrong == []


def first(line: str, fault: Fault, count: int = 1) -> Faults:
    """Return a plan that hits the first calls of a line of the API from now on."""
    left = [fault] * count

    def plan(call: Asked) -> Fault | None:
        return left.pop() if call.verb == line and left else None

    return plan


def every(fault: Fault, *lines: str) -> Faults:
    return lambda call: fault if not lines or call.verb in lines else None


async def create(reached: ReachedFly, spec: MachineSpec = SPEC) -> Outcome[Machine]:
    return await reached.cloud.create(spec, idempotency_key="k", timeout_ms=20_000)


async def started(reached: ReachedFly, spec: MachineSpec = SPEC) -> Machine:
    made = await create(reached, spec)
    assert isinstance(made, Ok), made
    up = await reached.cloud.wait(
        made.value.id, state="started", incarnation=made.value.incarnation, timeout_ms=20_000
    )
    assert isinstance(up, Ok), up
    return up.value


async def make_volume(reached: ReachedFly, **changes: object) -> Volume:
    spec = replace(VolumeSpec(name=volume_name("box-1"), region="ams"), **changes)
    made = await reached.cloud.create_volume(spec, idempotency_key="k", timeout_ms=20_000)
    assert isinstance(made, Ok), made
    return made.value


def machines(reached: ReachedFly) -> list[str]:
    return [row.id for row in reached.fake.world.rows() if row.state != "destroyed"]


@pytest.mark.parametrize("kind", ["lose_reply", "repeat", "late"])
async def test_a_create_whose_answer_is_lost_is_found_by_its_name(
    reached: ReachedFly, kind: FaultKind
) -> None:
    reached.fake.faults = first(CREATE, Fault(kind=kind, delay_ms=100))
    made = await create_or_adopt(reached.cloud, SPEC, idempotency_key="k", timeout_ms=20_000)
    if kind == "repeat":  # executed twice: the second answer says that the name is taken
        assert isinstance(made, Ok)
    else:
        assert isinstance(made, Retryable), "a lost create is never repeated by the client itself"
        assert made.code == TRANSIENT
    assert reached.fake.asked[CREATE] == 1
    await reached.clock.sleep(200)
    again = await create_or_adopt(reached.cloud, SPEC, idempotency_key="k", timeout_ms=20_000)
    assert isinstance(again, Ok)
    assert [again.value.id] == [f"{APP}.{own}" for own in machines(reached)]


async def test_a_taken_name_names_its_holder_in_either_form(reached: ReachedFly) -> None:
    machine = await started(reached)
    for _ in range(6):  # the fake answers 409 or 422 by chance
        taken = await create(reached)
        assert isinstance(taken, Conflict)
        assert (taken.code, taken.holder) == (NAME_TAKEN, machine.id)
    assert reached.fake.answered[409]
    assert reached.fake.answered[422]
    assert reached.fake.answered[429] == 0, "the client waits for its turn"


async def test_an_app_is_complete_before_its_first_machine(reached: ReachedFly) -> None:
    sealed = replace(SPEC, sealed={"API_KEY": "enc:v1:abc"}, env={"PLAIN": "1", "LD_PRELOAD": "x"})
    machine = await started(reached, sealed)
    assert (machine.address, machine.tls) == (f"{APP}.fly.dev:443", True)
    assert machine.headers == {"fly-force-instance-id": machine.id.partition(".")[2]}
    app = reached.fake.apps[APP]
    assert app.addresses == {"v6", "shared_v4"}
    assert app.secrets == {"HOLDFAST_ENV_KEY": "key-of-instance-1"}
    shown = await reached.cloud.update(machine.id, sealed)
    assert isinstance(shown, Ok)
    (config,) = reached.fake.configs
    assert config["env"]["HOLDFAST_ENC_API_KEY"] == "enc:v1:abc"
    assert config["env"]["HOLDFAST_MACHINE_SCOPE"] == APP
    assert config["env"]["HOLDFAST_AGENT_ENV_LD_PRELOAD"] == "x"
    assert "key-of-instance-1" not in str(config)
    assert app.version == 1, "the key is sent once"


async def test_apps_made_before_are_taken_up_again(reached: ReachedFly) -> None:
    machine = await started(reached)
    after_restart = cloud_at(reached.fake, reached.clock)
    seen = await after_restart.cloud.describe(machine.id)
    assert isinstance(seen, Ok)
    adopted = await create_or_adopt(
        after_restart.cloud, SPEC, idempotency_key="k", timeout_ms=20_000
    )
    assert isinstance(adopted, Ok)
    assert adopted.value.id == machine.id
    await after_restart.cloud.close()


async def test_an_app_of_others_is_never_used(reached: ReachedFly) -> None:
    reached.fake.apps[APP] = FakeApp("somebody-else")
    refused = await create(reached)
    assert isinstance(refused, Conflict)
    assert refused.code == COLLISION
    assert machines(reached) == []


async def test_an_app_with_a_strangers_machine_is_never_used(reached: ReachedFly) -> None:
    stranger = await started(reached)
    for config in reached.fake.configs:
        config["metadata"] = {"team": "blue"}
    other = cloud_at(reached.fake, reached.clock)
    refused = await create(other)
    assert isinstance(refused, Conflict)
    assert (refused.code, refused.holder) == (COLLISION, stranger.id)
    await other.cloud.close()


async def test_a_check_of_an_app_that_cannot_be_made_is_no_yes(reached: ReachedFly) -> None:
    reached.fake.apps[APP] = FakeApp(ORG)
    for line in ("GET /apps/{app_name}", "GET /apps/{app_name}/machines"):
        reached.fake.faults = every(Fault(kind="refuse", status=500), line)
        refused = await create(reached)
        assert isinstance(refused, Retryable)
        assert reached.fake.asked[CREATE] == 0
    reached.fake.faults = lambda _call: None
    assert isinstance(await create(reached), Ok)


async def test_a_full_region_is_left_for_the_next(reached: ReachedFly) -> None:
    reached.fake.world.full_regions = {"ams", "fra"}
    for _ in range(3):  # 409 and 412
        refused = await create(reached)
        assert isinstance(refused, Retryable)
        assert refused.code == CAPACITY
    spec = VolumeSpec(name=volume_name("box-1"))
    placed = await create_volume_walking(
        reached.cloud, spec, ("ams", "fra", "iad"), idempotency_key="k", timeout_ms=20_000
    )
    assert isinstance(placed, Ok)
    assert placed.value.region == "iad"


async def test_a_lost_volume_is_no_lack_of_a_machine(reached: ReachedFly) -> None:
    volume = await make_volume(reached)
    spec = replace(SPEC, volume_id=volume.id)
    machine = await started(reached, spec)
    assert machine.volume_id == volume.id
    reached.fake.world.lose_volume(volume.id.partition(".")[2])
    refused = await reached.cloud.update(machine.id, spec)
    assert isinstance(refused, Permanent)
    assert refused.code == MISSING_VOLUME
    assert verdict(await reached.cloud.describe(machine.id)) == "here"
    lost = await reached.cloud.describe_volume(volume.id)
    assert isinstance(lost, Permanent)
    assert lost.code == NOT_FOUND


async def test_a_volume_whose_answer_was_lost_is_found_by_name_once_it_is_listed(
    reached: ReachedFly,
) -> None:
    reached.fake.faults = first(VOLUMES, Fault(kind="lose_reply"))
    spec = VolumeSpec(name=volume_name("box-1"), region="ams")
    lost = await reached.cloud.create_volume(spec, idempotency_key="k", timeout_ms=20_000)
    assert isinstance(lost, Retryable)
    assert await reached.cloud.find_volumes(spec.name) == Ok(()), "the listing lags"
    await reached.clock.sleep(600)
    found = await reached.cloud.find_volumes(spec.name)
    assert isinstance(found, Ok)
    assert [volume.name for volume in found.value] == [spec.name]
    assert reached.fake.asked[VOLUMES] == 1


async def test_a_listing_lags_and_a_description_does_not(reached: ReachedFly) -> None:
    made = await create(reached)
    assert isinstance(made, Ok)
    assert await reached.cloud.find({LABEL_SANDBOX: "box-1"}) == Ok(())
    assert verdict(await reached.cloud.describe(made.value.id)) == "here"
    await reached.clock.sleep(600)
    listed = await reached.cloud.find({LABEL_SANDBOX: "box-1"})
    assert isinstance(listed, Ok)
    assert [machine.id for machine in listed.value] == [made.value.id]


async def test_429_is_waited_for_and_nothing_is_done_twice(reached: ReachedFly) -> None:
    reached.fake.faults = first(CREATE, Fault(kind="refuse", status=429, body="slow down"), 2)
    assert isinstance(await create(reached), Ok)
    assert reached.fake.asked[CREATE] == 3
    assert len(machines(reached)) == 1
    reached.fake.faults = every(Fault(kind="refuse", status=429, body="slow down"))
    limited = await create(reached)
    assert isinstance(limited, Retryable)
    assert (limited.code, limited.retry_after_ms) == (RATE_LIMITED, 1_000)


async def test_what_could_not_have_its_turn_in_time_lets_other_machines_have_theirs(
    reached: ReachedFly,
) -> None:
    async def no_sleep(by_ms: float) -> None:
        raise AssertionError(by_ms)

    base = Base.parse(reached.fake.base)
    client = FlyClient(base, read_token(TOKEN, ""), clock=ManualClock(), sleep=no_sleep)
    call = Call("start", "x", "POST", ("apps", "hf-x", "machines", "x", "start"))
    for _ in range(ACTIONS_BURST):
        assert not isinstance(await client.call(call, Done, deadline_ms=client.deadline(9e5)), Ok)
    late = await client.call(call, Done, deadline_ms=client.deadline(900))
    assert late == Retryable(TRANSIENT, "start: its turn would come after its time limit")
    elsewhere = call._replace(on="y", segments=("apps", "hf-x", "machines", "y", "start"))
    other = await client.call(elsewhere, Done, deadline_ms=client.deadline(9e5))
    assert isinstance(other, Permanent), "another machine has a rate of its own"
    assert reached.fake.answered[404] == ACTIONS_BURST + 1
    await client.close()


async def test_an_hour_of_5xx_makes_nothing_gone(reached: ReachedFly) -> None:
    machine = await started(reached)
    reached.fake.faults = every(Fault(kind="refuse", status=503, body="unavailable"))
    before = reached.fake.asked.copy()
    answers: list[Outcome[Machine]] = [
        await reached.cloud.describe(machine.id),
        await reached.cloud.start(machine.id),
        await create(reached),
    ]
    assert [verdict(one) for one in answers] == ["unknown"] * 3
    asked = reached.fake.asked - before
    assert asked[f"GET {MACHINE}"] == 3, "a read is repeated"
    assert asked[f"POST {MACHINE}/start"] == asked[CREATE] == 1, "a change is not"
    reached.fake.faults = lambda _call: None
    assert verdict(await reached.cloud.describe(machine.id)) == "here"
    assert len(machines(reached)) == 1


async def test_a_delete_whose_answer_is_lost_is_repeated(reached: ReachedFly) -> None:
    machine = await started(reached)
    line = f"DELETE {MACHINE}"
    reached.fake.faults = first(line, Fault(kind="lose_reply"))
    assert await reached.cloud.destroy(machine.id) == Ok(None)
    assert reached.fake.asked[line] == 2


async def test_a_machine_stopped_for_maintenance_is_seen_and_started(reached: ReachedFly) -> None:
    machine = await started(reached)
    reached.fake.world.force(machine.id.partition(".")[2], "stopped", exit_code=-15)
    seen = await reached.cloud.describe(machine.id)
    assert isinstance(seen, Ok)
    assert (seen.value.state, seen.value.exit_code) == ("stopped", -15)
    tail = await reached.cloud.log_tail(machine.id, lines=2)
    assert isinstance(tail, Ok)
    assert tail.value[-1].endswith("exit stopped (by flyd)")
    again = await reached.cloud.start(machine.id)
    assert isinstance(again, Ok)
    assert again.value.state in {"starting", "started"}


async def test_a_host_that_is_gone_leaves_the_volume_to_be_forked(reached: ReachedFly) -> None:
    volume = await make_volume(reached, size_gb=7)
    spec = replace(SPEC, volume_id=volume.id)
    machine = await started(reached, spec)
    own = machine.id.partition(".")[2]
    reached.fake.world.force(own, "stopped")
    reached.fake.hosts_gone.add(own)
    for outcome in (
        await reached.cloud.start(machine.id),
        await reached.cloud.update(machine.id, spec),
    ):
        assert isinstance(outcome, Retryable)
        assert outcome.code == TRANSIENT
    assert verdict(await reached.cloud.describe(machine.id)) == "here"
    fork = await make_volume(reached, source_volume_id=volume.id, region="fra")
    assert (fork.size_gb, fork.region) == (7, "fra")


async def test_a_token_is_in_nothing_that_is_said(
    reached: ReachedFly, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = Fault(kind="refuse", status=409, body=f"no permission for {TOKEN}")
    reached.fake.faults = every(echo)
    refused = await create(reached)
    assert not isinstance(refused, Ok)
    assert TOKEN not in refused.message
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(vars(reached.client))
    stranger = cloud_at(reached.fake, reached.clock, token="fm2_of-somebody")
    for outcome in (await create(stranger), await stranger.cloud.check()):
        assert isinstance(outcome, Permanent)
        assert outcome.code == DENIED
    await stranger.cloud.close()


def test_a_token_is_read_as_it_is_printed() -> None:
    assert read_token("FlyV1 fm2_abc\n", "the file").reveal() == "fm2_abc"
    assert read_token("fo1_abc", "the file").reveal() == "fo1_abc"
    with pytest.raises(SecretError, match="the file"):
        read_token("two words", "the file")


async def test_the_check_reaches_the_organisation(reached: ReachedFly) -> None:
    await started(reached)
    reached.fake.apps["of-another-plane"] = FakeApp(ORG)
    assert await reached.cloud.check() == Ok(1)
    elsewhere = cloud_at(reached.fake, reached.clock, org="nobody")
    failed = await elsewhere.cloud.check()
    assert isinstance(failed, Permanent)
    assert failed.code == NOT_FOUND
    await elsewhere.cloud.close()


async def test_nothing_is_sent_for_what_fly_could_not_run(reached: ReachedFly) -> None:
    refused: list[Outcome[Machine]] = [
        await create(reached, replace(SPEC, name="../box")),
        await create(reached, replace(SPEC, labels={"fly_platform": "x"})),
        await create(reached, replace(SPEC, sealed={"API_KEY": "plain"})),
        await create(reached, replace(SPEC, volume_id="hf-other.vol_1")),
        await reached.cloud.describe("../../apps"),
        await reached.cloud.start("hf-x.1/../../y"),
    ]
    codes = [one.code for one in refused if not isinstance(one, Ok)]
    assert codes == [INVALID, INVALID, INVALID, CONFLICT, NOT_FOUND, NOT_FOUND]
    assert not reached.fake.asked


async def test_without_a_connection_a_change_is_repeated(reached: ReachedFly) -> None:
    fake, base = reached.fake, reached.fake.base
    fake.base = base.replace(base.rpartition(":")[2], f"{free_port()}/v1")
    nowhere = cloud_at(fake, reached.clock)
    attempts = 0
    opened = FlyClient._open

    def count(client: FlyClient) -> object:
        nonlocal attempts
        attempts += 1
        return opened(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlyClient, "_open", count)
        refused = await create(nowhere)
    assert isinstance(refused, Retryable)
    assert refused.code == TRANSIENT
    assert attempts == 3
    await nowhere.cloud.close()


def test_a_state_that_is_not_known_is_neither_up_nor_gone() -> None:
    seen = machine_of("hf-1", SeenMachine(id="a1", state="migrating"))
    assert verdict(Ok(seen)) == "here"
    assert seen.state == "updating"
    assert machine_of("hf-1", SeenMachine(id="a1", state="launch_failed")).state == "failed"
    assert volume_of("hf-1", SeenVolume(id="v", state="hydrating")) is None
    held = volume_of("hf-1", SeenVolume(id="v", state="created", attached_machine_id="a1"))
    assert held is not None
    assert (held.state, held.attached_machine_id) == ("attached", "hf-1.a1")


def test_the_controller_reads_what_it_is_given() -> None:
    environ = {**environment_of(SPEC, app=APP), "FLY_MACHINE_ID": "148e"}
    assert read_reporting(environ).machine_id == f"{APP}.148e"
    assert read_reporting(environ).sandbox_id == "box-1"
    listening = read_listening(environ)
    assert (listening.host, listening.port) == ("0.0.0.0", CONTROLLER_PORT)
    running = read_running(environ)
    assert (running.agent, running.agent_home, running.shared_cpu) == ("demo", "/data", True)
    assert read_reporting({"HOLDFAST_MACHINE_SCOPE": APP}).machine_id == "", "without an id, none"


def test_ids_name_their_app() -> None:
    assert parse_id("hf-0a.148e") == ("hf-0a", "148e")
    for text in ("", "148e", "hf-0a.", "hf-0a.x/y", "hf-0a.x.y", "HF.x", "hf-0a.148e\n"):
        assert parse_id(text) is None
