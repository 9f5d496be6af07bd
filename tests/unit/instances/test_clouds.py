"""The instance against a cloud that lies, lags, refuses and forgets, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import random

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.instances import events, ports
from holdfast.instances.effects import KEY_NAME, CloudCalls
from holdfast.instances.environment import Platform
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.policy import Policy
from holdfast.instances.ports import Context
from holdfast.instances.state import Config
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.kernel.secret import Secret
from holdfast.machine.controller.sealed_settings import decrypt_settings
from holdfast.plane.secret_encryption import Key, KeyRing
from holdfast.wire.controller.identity import derived_token, gateway_token
from holdfast.world.clouds.faults import Fault, on_call, outage
from holdfast.world.clouds.port import MachineSpec
from holdfast.world.clouds.simulated import SimulatedCloud
from tests.unit.instances.driver import PROVIDER, SANDBOX, UUID, Driver, created

RING = KeyRing((Key("k1", "A" * 43 + "=", 0),), entropy=random.Random(5).randbytes)
KEY = Context("acme", UUID, KEY_NAME)
POLICY = Policy(first_contact_ms=0, volumes=(PROVIDER,))


class Bench:
    """One instance, one simulated cloud, one clock."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.driver = Driver(policy)
        self.cloud = SimulatedCloud(
            clock=self.driver.clock, chance=random.Random(7), sleep=self._sleep
        )
        self.cloud.rate_limited = False
        self.calls = CloudCalls(
            self.cloud,
            sealer=RING,
            platform=Platform(checkin_url="http://127.0.0.1:8700/api/controller/checkin"),
            token_secret=Secret("fleet-secret"),
            mint=self,
            holders=self,
        )
        self.minted: list[str] = []
        self.told: list[tuple[ports.Secrets, int]] = []
        self.mint_hangs = False
        self.deaf = ""

    async def _sleep(self, wait_ms: float) -> None:
        # In small steps, so that calls which are done late are done when they are due.
        left_ms = round(wait_ms)
        while left_ms > 0:
            self.driver.clock.advance(min(left_ms, 5 * SECOND_MS))
            left_ms -= 5 * SECOND_MS
            self.catch_up()
        await asyncio.sleep(0)

    async def mint(self, instance_id: str, account: str) -> tuple[str, int]:
        if self.mint_hangs:
            await asyncio.Event().wait()
        self.minted.append(f"hfm_key-{len(self.minted) + 2}")
        return self.minted[-1], self.driver.clock.now_ms() + KEY_LIFE_MS

    async def tell(self, instance_id: str, secrets: ports.Secrets, *, overlap_ms: int) -> str:
        assert instance_id == UUID
        if not self.deaf:
            self.told.append((secrets, overlap_ms))
        return self.deaf

    def catch_up(self) -> None:
        """Have late calls done that are due; the cloud does them when it is looked at."""
        assert self.cloud.world is not None

    async def up(self, **changes: object) -> Bench:
        self.driver.send(created(sealed_key=RING.seal("hfm_key", KEY), **changes))
        await self.settle(MINUTE_MS)
        assert self.driver.status == "running"
        return self

    async def settle(self, for_ms: int = 0) -> None:
        await self.driver.settle(self.calls, for_ms=for_ms)

    def living(self) -> list[str]:
        machines = self.cloud.machines_of(SANDBOX)
        return [one.id for one in machines if one.state not in {"destroyed", "destroying"}]


def sent(bench: Bench) -> MachineSpec:
    """The newest spec that the cloud was given."""
    return next(iter(bench.cloud.world.rows_of(SANDBOX))).spec


async def test_a_whole_life() -> None:
    bench = await Bench().up()
    driver = bench.driver
    assert bench.living() == [driver.state.machine.id]
    assert driver.state.volume_id
    driver.send(events.StopRequested())
    await bench.settle(MINUTE_MS)
    assert driver.status == "stopped"
    driver.send(events.StartRequested())
    await bench.settle(MINUTE_MS)
    assert driver.status == "running"
    driver.send(events.RestartRequested())
    await bench.settle(MINUTE_MS)
    assert driver.status == "running"
    driver.send(events.DestroyRequested())
    await bench.settle(10 * MINUTE_MS)
    assert driver.status == "destroyed"
    assert bench.living() == []
    volumes = [one for one in bench.cloud.all_volumes() if one.state != "destroyed"]
    assert volumes == []


async def test_secrets_reach_the_machine_sealed_for_it_alone() -> None:
    bench = Bench()
    secrets = {"TOKEN": RING.seal("opened", Context("acme", UUID, "TOKEN"))}
    await bench.up(config=Config(env={"PLAIN": "1"}, secrets=secrets))
    spec = sent(bench)
    assert spec.env["PLAIN"] == "1"
    assert "opened" not in str(spec)
    sealed = {f"HOLDFAST_ENC_{name}": value for name, value in spec.sealed.items()}
    key = base64.b64encode(RING.env_key(UUID)).decode()
    assert decrypt_settings(sealed | {"HOLDFAST_ENV_KEY": key}) == {
        "TOKEN": "opened",
        "HOLDFAST_API_KEY": "hfm_key",
        "HOLDFAST_GATEWAY_TOKEN": gateway_token("fleet-secret", SANDBOX, version=1),
        "HOLDFAST_PROXY_TOKEN": derived_token("fleet-secret", "proxy", SANDBOX, version=1),
        "HOLDFAST_AGENT_TOKEN": derived_token("fleet-secret", "agent", SANDBOX, version=1),
    }


async def test_a_secret_that_does_not_open_needs_a_person_and_names_nothing() -> None:
    bench = Bench()
    moved = RING.seal("opened", Context("somebody-else", UUID, "TOKEN"))
    bench.driver.send(
        created(sealed_key=RING.seal("hfm_key", KEY), config=Config(secrets={"TOKEN": moved}))
    )
    await bench.settle(MINUTE_MS)
    assert (bench.driver.status, bench.driver.state.blocked) == ("stopped", "invalid")
    assert "TOKEN" in bench.driver.state.faults["start"].message
    assert bench.living() == []


async def test_a_create_whose_answer_is_lost_makes_one_machine() -> None:
    bench = Bench()
    bench.cloud.faults = on_call("create", Fault(kind="lose_reply"))
    await bench.up()
    assert bench.living() == [bench.driver.state.machine.id]
    assert bench.cloud.answers["create", "ok"] == 0
    assert bench.driver.taken_in.count("CallFailed") == 1


async def test_an_actor_that_lost_its_machine_finds_it_by_label() -> None:
    bench = await Bench().up()
    bench.driver.clock.advance(5 * SECOND_MS)  # a listing lags by 2 s
    fresh = Bench()
    fresh.cloud = bench.cloud
    fresh.calls = bench.calls
    fresh.driver.clock.advance(bench.driver.clock.now_ms() - fresh.driver.clock.now_ms())
    await fresh.up()
    assert fresh.driver.state.machine.id == bench.driver.state.machine.id
    assert bench.cloud.calls["create"] == 1


async def test_an_actor_that_a_listing_hides_its_machine_from_adopts_it_by_name() -> None:
    bench = await Bench().up()
    fresh = Bench()
    fresh.driver.clock.advance(bench.driver.clock.now_ms() - fresh.driver.clock.now_ms())
    fresh.cloud, fresh.calls = bench.cloud, bench.calls
    fresh.driver.send(created(sealed_key=RING.seal("hfm_key", KEY)))
    fresh.driver.answer(ports.FindCall, Ok(ports.Listed()))
    await fresh.settle(MINUTE_MS)
    assert fresh.driver.status == "running"
    assert bench.living() == [fresh.driver.state.machine.id]
    assert fresh.driver.taken_in.count("MachineAdopted") == 1


async def test_an_hour_without_the_api_replaces_nothing() -> None:
    bench = await Bench().up()
    driver = bench.driver
    machine_id = driver.state.machine.id
    driver.send(events.StopRequested())
    await bench.settle(MINUTE_MS)
    now_ms = driver.clock.now_ms()
    bench.cloud.faults = outage(from_ms=now_ms, until_ms=now_ms + HOUR_MS)
    driver.send(events.StartRequested())
    await bench.settle(20 * MINUTE_MS)
    assert driver.state.machine.id == machine_id
    assert driver.state.faults["start"].code in {"start_timeout", "transient"}
    await bench.settle(HOUR_MS)
    assert driver.status == "running"
    assert bench.living() == [machine_id]
    assert bench.cloud.calls["create"] == 1


async def test_a_machine_destroyed_behind_our_back_is_replaced_on_silence() -> None:
    bench = await Bench().up()
    driver = bench.driver
    old = driver.state.machine.id
    await bench.cloud.destroy(old)
    driver.clock.advance(2 * MINUTE_MS)
    driver.send(events.ContactLost())
    await bench.settle(5 * MINUTE_MS)
    assert driver.status == "running"
    assert driver.state.machine.id != old
    assert bench.living() == [driver.state.machine.id]


async def test_the_daily_look_finds_a_machine_that_went_down() -> None:
    bench = await Bench().up()
    driver = bench.driver
    same = await driver.look(bench.calls)
    assert same is not None
    assert same.outcome == "ignored"
    bench.cloud.world.force(driver.state.machine.id, "failed")
    await driver.look(bench.calls)
    assert driver.status == "stopped"
    await bench.settle(MINUTE_MS)
    assert driver.status == "running"


async def test_a_lost_volume_that_held_data_waits_for_a_person() -> None:
    bench = await Bench().up()
    driver = bench.driver
    driver.send(events.StopRequested())
    await bench.settle(MINUTE_MS)
    bench.cloud.world.lose_volume(driver.state.volume_id)
    driver.send(events.StartRequested())
    await bench.settle(HOUR_MS)
    assert (driver.status, driver.state.blocked) == ("stopped", "volume_lost")
    driver.send(events.StartRequested())
    await bench.settle(10 * MINUTE_MS)
    assert driver.status == "running"
    assert bench.living() == [driver.state.machine.id]


async def test_a_destroy_at_any_moment_leaves_nothing() -> None:
    for steps in range(7):
        bench = Bench()
        driver = bench.driver
        driver.send(created(sealed_key=RING.seal("hfm_key", KEY)))
        for _ in range(steps):
            if driver.waiting:
                call = driver.next_call()
                outcome = await bench.calls.execute(call)
                driver.waiting.remove(call)
                driver.reply(call, outcome)
        driver.send(events.DestroyRequested())
        await bench.settle(10 * MINUTE_MS)
        assert driver.status == "destroyed"
        assert bench.living() == []


async def test_no_provider_answers_as_a_person_is_needed() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Permanent("no_provider", "nobody carries out 'sim'"))
    driver.advance(MINUTE_MS)
    assert driver.status == "starting"
    assert driver.state.faults["start"].code == "no_provider"


async def test_a_body_that_is_no_call_is_a_bug() -> None:
    bench = Bench()
    call = EffectCall("e", bench.driver.folded.address, "machine", PROVIDER, None, 1, 0, "k")
    with pytest.raises(TypeError, match="NoneType"):
        await bench.calls.execute(call)
