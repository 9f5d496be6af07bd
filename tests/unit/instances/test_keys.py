"""A machine's key is renewed before it ends, and its secrets rotated, whatever fails on the way."""

from __future__ import annotations

import base64

import pytest

from holdfast.instances import events
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.ports import Secrets
from holdfast.instances.state import Credentials
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS
from holdfast.machine.controller.sealed_settings import decrypt_settings
from holdfast.wire.controller.identity import derived_token, gateway_token, key_hash
from holdfast.world.clouds.faults import Fault, on_call
from tests.unit.instances.driver import SANDBOX, UUID
from tests.unit.instances.test_clouds import RING, Bench, sent

OLD, NEW = key_hash("hfm_key"), key_hash("hfm_key-2")
ALWAYS = frozenset(range(1, 1_000))


def held(bench: Bench) -> Credentials:
    return bench.driver.state.credentials


def stored(bench: Bench) -> dict[str, str]:
    """The secrets in the machine's configuration, as its next start would open them."""
    sealed = {f"HOLDFAST_ENC_{name}": value for name, value in sent(bench).sealed.items()}
    key = base64.b64encode(RING.env_key(UUID)).decode()
    return dict(decrypt_settings(sealed | {"HOLDFAST_ENV_KEY": key}))


async def passed(bench: Bench, for_ms: int) -> None:
    """Let time pass to the end, whether or not something is due in it."""
    clock = bench.driver.clock
    until_ms = clock.now_ms() + for_ms
    await bench.settle(for_ms)
    clock.advance(max(0, until_ms - clock.now_ms()))
    await bench.settle()


async def old_enough() -> Bench:
    """A running instance whose key has an hour more than the time at which it is renewed."""
    bench = Bench()
    ends_ms = bench.driver.clock.now_ms() + 3 * DAY_MS + HOUR_MS
    return await bench.up(key_hash=OLD, key_expires_ms=ends_ms)


async def test_a_key_is_renewed_three_days_before_it_ends_and_not_sooner() -> None:
    bench = await old_enough()
    ends_ms = held(bench).key_expires_ms
    await passed(bench, HOUR_MS - 5 * MINUTE_MS)
    assert not bench.minted
    await passed(bench, 10 * MINUTE_MS)
    assert bench.told == [(Secrets(api_key="hfm_key-2"), 0)]
    assert stored(bench)["HOLDFAST_API_KEY"] == "hfm_key-2"
    now = held(bench)
    assert (now.key_hash, now.previous_hash, now.pending_hash, now.live_hash) == (NEW, OLD, "", "")
    assert now.previous_expires_ms == ends_ms, "the old one is good until its own end"
    assert ends_ms + 20 * DAY_MS < now.key_expires_ms <= bench.driver.clock.now_ms() + KEY_LIFE_MS
    assert bench.driver.state.epoch == 1, "nothing was restarted for it"
    await passed(bench, 10 * DAY_MS)
    assert len(bench.minted) == 1
    await passed(bench, 20 * DAY_MS)
    assert len(bench.minted) == 2, "and again, a month later"


async def test_it_is_kept_when_only_the_controller_took_it() -> None:
    bench = await old_enough()
    bench.cloud.faults = on_call("store", Fault(kind="refuse", status=503), numbers=ALWAYS)
    await passed(bench, 2 * HOUR_MS)
    assert held(bench).key_hash == NEW
    assert held(bench).live_hash == ""
    assert stored(bench)["HOLDFAST_API_KEY"] == "hfm_key"


async def test_it_is_kept_when_only_the_configuration_took_it_and_told_again() -> None:
    bench = await old_enough()
    bench.deaf = "unreachable"
    await passed(bench, 2 * HOUR_MS)
    now = held(bench)
    assert (now.key_hash, now.live_hash) == (NEW, OLD), "the machine still shows the old one"
    assert stored(bench)["HOLDFAST_API_KEY"] == "hfm_key-2"
    bench.deaf = ""
    await passed(bench, 2 * HOUR_MS)
    assert held(bench).live_hash == ""
    assert [one.api_key for one, _ in bench.told] == ["hfm_key-2"]
    assert bench.driver.state.epoch == 1


async def test_nothing_changes_while_neither_took_it() -> None:
    bench = await old_enough()
    bench.deaf = "unreachable"
    bench.cloud.faults = on_call("store", Fault(kind="refuse", status=503), numbers=ALWAYS)
    await passed(bench, 12 * HOUR_MS)
    now = held(bench)
    assert (now.key_hash, now.pending_hash) == (OLD, NEW), "known, in case it arrived unheard"
    assert bench.driver.state.faults["secrets"].code == "undelivered"
    assert len(bench.minted) == 1, "the same key is handed over again, no other made"
    assert bench.driver.asked().count("hand_over") < 30, "with a pause that grows"
    bench.deaf = ""
    await passed(bench, 2 * HOUR_MS)
    assert held(bench).key_hash == NEW
    assert "secrets" not in bench.driver.state.faults


async def test_a_mint_that_hangs_is_cut_off_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.instances.actions.MINT_MS", 20)
    bench = await old_enough()
    bench.mint_hangs = True
    await passed(bench, 90 * MINUTE_MS)
    assert bench.driver.state.faults["secrets"].code == "mint_timeout"
    assert held(bench).key_hash == OLD
    assert bench.driver.status == "running"
    bench.mint_hangs = False
    await passed(bench, 2 * HOUR_MS)
    assert held(bench).key_hash == NEW


async def test_a_machine_that_cannot_be_told_is_launched_anew_before_the_old_one_ends() -> None:
    bench = await old_enough()
    bench.deaf = "too_old: it has no such route"
    await passed(bench, 3 * DAY_MS)
    assert bench.driver.state.epoch == 1
    await passed(bench, 2 * HOUR_MS)
    assert bench.driver.state.epoch == 2, "restarted, once"
    assert "secrets.relaunch" in bench.driver.rules()
    assert held(bench).live_hash == ""
    assert bench.driver.status == "running"
    assert stored(bench)["HOLDFAST_API_KEY"] == "hfm_key-2"


async def test_a_stopped_instance_is_left_alone_and_starts_with_a_good_key() -> None:
    bench = await old_enough()
    bench.driver.send(events.StopRequested())
    await passed(bench, 20 * DAY_MS)
    assert not bench.minted, "skipped while it does not run"
    bench.driver.send(events.StartRequested())
    await passed(bench, MINUTE_MS)
    assert bench.driver.status == "running"
    assert held(bench).key_hash == NEW
    assert stored(bench)["HOLDFAST_API_KEY"] == "hfm_key-2"
    assert bench.told == [], "the launch brought it"


async def test_a_start_goes_on_with_the_old_key_when_no_new_one_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.instances.actions.MINT_MS", 20)
    bench = await old_enough()
    bench.driver.send(events.StopRequested())
    await passed(bench, 2 * HOUR_MS)
    bench.mint_hangs = True
    bench.driver.send(events.StartRequested())
    await passed(bench, 3 * MINUTE_MS)
    assert bench.driver.status == "running"
    assert held(bench).key_hash == OLD


async def test_rotated_tokens_reach_the_machine_that_runs() -> None:
    bench = await Bench().up(key_hash=OLD)
    until_ms = bench.driver.clock.now_ms() + DAY_MS
    bench.driver.send(events.TokenRotated(previous_expires_ms=until_ms, renew_key=True))
    assert held(bench).live_token_version == 1, "until it is told, the machine has the old ones"
    await passed(bench, MINUTE_MS)
    fresh = Secrets(
        gateway_token=gateway_token("fleet-secret", SANDBOX, version=2),
        proxy_token=derived_token("fleet-secret", "proxy", SANDBOX, version=2),
    )
    tokens, overlap_ms = bench.told[0]
    assert tokens == fresh
    assert DAY_MS - MINUTE_MS < overlap_ms <= DAY_MS
    assert bench.told[1][0] == Secrets(api_key="hfm_key-2"), "and its key"
    now = held(bench)
    assert (now.token_version, now.live_token_version) == (2, 0)
    assert (now.key_hash, now.previous_expires_ms) == (NEW, until_ms)
    assert bench.driver.state.epoch == 1


async def test_rotated_tokens_that_cannot_be_told_come_with_a_launch_before_the_old_end() -> None:
    bench = await Bench().up(key_hash=OLD)
    bench.deaf = "unreachable"
    until_ms = bench.driver.clock.now_ms() + 2 * HOUR_MS
    bench.driver.send(events.TokenRotated(previous_expires_ms=until_ms))
    await passed(bench, HOUR_MS)
    assert bench.driver.state.epoch == 1
    await passed(bench, 55 * MINUTE_MS)
    assert bench.driver.state.epoch == 2
    assert held(bench).live_token_version == 0
    assert stored(bench)["HOLDFAST_GATEWAY_TOKEN"] == gateway_token(
        "fleet-secret", SANDBOX, version=2
    )


async def test_rotating_what_is_stopped_waits_for_its_start() -> None:
    bench = await Bench().up(key_hash=OLD)
    bench.driver.send(events.StopRequested())
    await passed(bench, MINUTE_MS)
    for _ in range(3):
        bench.driver.send(events.TokenRotated(previous_expires_ms=1))
    await passed(bench, HOUR_MS)
    assert bench.driver.status == "stopped"
    assert bench.told == []
    bench.driver.send(events.StartRequested())
    await passed(bench, MINUTE_MS)
    assert held(bench).token_version == 4
    assert stored(bench)["HOLDFAST_PROXY_TOKEN"] == derived_token(
        "fleet-secret", "proxy", SANDBOX, version=4
    )


async def test_a_clock_that_is_set_back_lengthens_no_wait() -> None:
    bench = await old_enough()
    bench.deaf = "unreachable"
    bench.driver.send(events.TokenRotated(previous_expires_ms=2**42))
    await passed(bench, MINUTE_MS)
    assert held(bench).tries
    bench.driver.clock.jump(-DAY_MS)
    bench.driver.send(events.ContactLost())  # anything that makes it look
    assert bench.driver.rules().count("clock.set_back") == 1
    bench.deaf = ""
    await passed(bench, 2 * HOUR_MS)
    assert held(bench).live_token_version == 0
