"""Configuration, credentials, views and sizes."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.actors.limits import EVENT_BYTES_MAX, STATE_INLINE_BYTES_MAX
from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE
from holdfast.instances.environment import Platform, compose, reserved_reason
from holdfast.instances.state import Config
from holdfast.instances.views import decode_instance, decode_machine
from holdfast.kernel.outcome import Ok
from holdfast.wire.consent import node_of_instance
from tests.unit.instances.driver import SANDBOX, UUID, Driver, created, seen


def rows(driver: Driver) -> dict[str, bytes | None]:
    """The newest row of each view."""
    newest: dict[str, bytes | None] = {}
    for one in driver.ticks:
        for row in one.views:
            newest[row.view] = row.body
    return newest


def test_a_patch_sets_removes_and_keeps_the_rest() -> None:
    driver = Driver()
    driver.send(created(desired="stopped", config=Config(env={"A": "1", "B": "2"})))
    driver.send(events.ConfigChanged(env={"B": None, "C": "3"}, secrets={"KEY": "sealed-1"}))
    config = driver.state.config
    assert (config.env, config.secrets) == ({"A": "1", "C": "3"}, {"KEY": "sealed-1"})
    assert config.version == 2
    assert driver.send(events.ConfigChanged(env={"C": "3"})).outcome == "ignored"
    driver.send(events.ConfigChanged(secrets={"KEY": None}))
    assert driver.state.config.secrets == {}


@pytest.mark.parametrize(
    "name",
    ["HOLDFAST_EPOCH", "KILOCLAW_ENC_X", "KILOCLAW_ENV_KEY", "OPENCLAW_GATEWAY_TOKEN", "1A", "A-B"],
)
def test_reserved_and_malformed_names_are_refused_at_ingest(name: str) -> None:
    assert reserved_reason(name) is not None
    driver = Driver()
    assert driver.send(created(config=Config(env={name: "x"}))).code == "reserved_name"
    driver.send(created(desired="stopped"))
    assert driver.send(events.ConfigChanged(secrets={name: "x"})).code == "reserved_name"


def test_what_is_too_large_is_refused_by_name() -> None:
    driver = Driver()
    driver.send(created(desired="stopped"))
    big: dict[str, str | None] = {f"V{number}": "x" * 1_000 for number in range(12)}
    assert driver.send(events.ConfigChanged(env=big)).code == "config_too_large"
    many: dict[str, str | None] = {f"S{number}": "x" for number in range(51)}
    assert driver.send(events.ConfigChanged(secrets=many)).code == "too_many_secrets"
    lots: dict[str, str | None] = {f"V{number}": "" for number in range(201)}
    assert driver.send(events.ConfigChanged(env=lots)).code == "too_many_variables"


def test_the_largest_configuration_fits_in_the_state_and_the_event() -> None:
    driver = Driver()
    driver.send(created(config=Config(env={f"V{n}": "\x01" * 88 for n in range(20)})))
    assert driver.status == "starting"
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting", "m" * 60))))
    assert len(INSTANCE.encode_state(driver.state)) <= STATE_INLINE_BYTES_MAX
    assert len(INSTANCE.encode_effect(driver.made[-2].body)) <= EVENT_BYTES_MAX


def test_a_launch_carries_the_configuration_of_the_moment() -> None:
    driver = Driver()
    driver.send(created(config=Config(env={"A": "1"}, secrets={"S": "sealed"})))
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.answer(ports.WaitCall, Ok(seen()))
    assert driver.state.machine.config_version == 1
    driver.send(events.ConfigChanged(env={"A": "2"}))
    driver.send(events.RestartRequested())
    launch = driver.take_call(ports.UpdateCall).body.launch
    assert (launch.env, launch.secrets, launch.config_version) == ({"A": "2"}, {"S": "sealed"}, 2)


def test_layers_of_the_environment() -> None:
    launch = ports.Launch(
        instance_id=UUID,
        sandbox_id=SANDBOX,
        account="acme",
        epoch=4,
        agent="demo",
        env={"A": "plain", "B": "plain", "TZ": "CET", "HOLDFAST_AGENT": "evil"},
        secrets={"B": "sealed"},
    )
    platform = Platform(
        checkin_url="http://p/api/controller/checkin",
        defaults={"TZ": "UTC", "LANG": "C"},
    )
    made = compose(
        launch,
        platform,
        secrets={"B": "opened"},
        api_key="hfm_x",
        gateway_token="t" * 64,
        proxy_token="p" * 64,
        agent_token="a" * 64,
    )
    assert made.plain["TZ"] == "CET"
    assert made.plain["LANG"] == "C"
    assert made.plain["HOLDFAST_AGENT"] == "demo"
    assert made.plain["HOLDFAST_MACHINE_EPOCH"] == "4"
    assert "B" not in made.plain
    assert made.sensitive == {
        "B": "opened",
        "HOLDFAST_API_KEY": "hfm_x",
        "HOLDFAST_GATEWAY_TOKEN": "t" * 64,
        "HOLDFAST_PROXY_TOKEN": "p" * 64,
        "HOLDFAST_AGENT_TOKEN": "a" * 64,
    }
    assert made.plain["HOLDFAST_REQUIRE_PROXY_TOKEN"] == "true"
    assert "opened" not in repr(made)


def test_a_machine_is_told_what_its_observer_trusts_at_each_launch() -> None:
    launch = ports.Launch(
        instance_id=UUID, sandbox_id=SANDBOX, account="acme", epoch=1, agent="demo",
        env={"HOLDFAST_CONSENT_KEY": "evil", "KILOCLAW_CLAWMETRY_DISABLED": "true"},
    )  # fmt: skip
    tokens = dict.fromkeys(("api_key", "gateway_token", "proxy_token", "agent_token"), "t" * 64)
    keys = iter(("first", "second"))
    platform = Platform(
        checkin_url="http://p/x", plane_url="http://p", consent_key=lambda: next(keys)
    )
    for key in ("first", "second"):
        plain = compose(launch, platform, secrets={}, **tokens).plain
        assert plain["HOLDFAST_CONSENT_KEY"] == key, "that of the moment, not of the plane's start"
        assert plain["HOLDFAST_CONSENT_NODE"] == node_of_instance("acme", UUID)
        assert plain["HOLDFAST_PLANE_URL"] == "http://p"
        assert not plain.keys() & {"HOLDFAST_OBSERVER", "KILOCLAW_CLAWMETRY_DISABLED"}
    without = compose(launch, Platform(checkin_url="http://p/x"), secrets={}, **tokens).plain
    assert without["HOLDFAST_OBSERVER"] == "false"
    assert not without.keys() & {"HOLDFAST_CONSENT_KEY", "HOLDFAST_PLANE_URL"}


# -- credentials


def test_a_new_key_overlaps_with_the_old_one() -> None:
    driver = Driver().running()
    until = driver.clock.now_ms() + 3_600_000
    driver.send(
        events.KeyRotated(key_hash="1" * 64, sealed_key="sealed-2", previous_expires_ms=until)
    )
    body = rows(driver)["machine"]
    assert body is not None
    row = decode_machine(body)
    assert (row.api_key_hash, row.previous_key_hash) == ("1" * 64, "0" * 64)
    assert row.previous_key_until_ms == until
    again = events.KeyRotated(key_hash="1" * 64, sealed_key="x", previous_expires_ms=0)
    assert driver.send(again).outcome == "ignored"


def test_a_new_token_number_overlaps_with_the_old_one() -> None:
    driver = Driver().running()
    driver.send(events.TokenRotated(previous_expires_ms=99))
    body = rows(driver)["machine"]
    assert body is not None
    row = decode_machine(body)
    assert (row.token_version, row.previous_token_until_ms) == (2, 99)


# -- views


def test_the_machine_row_is_keyed_by_sandbox_and_directs() -> None:
    driver = Driver().running()
    last = [row for one in driver.ticks for row in one.views if row.view == "machine"][-1]
    assert last.key == SANDBOX
    assert last.body is not None
    row = decode_machine(last.body)
    assert (row.desired, row.expected, row.machine_id, row.epoch) == ("running", True, "m1", 1)
    driver.send(events.StopRequested())
    body = rows(driver)["machine"]
    assert body is not None
    stopping = decode_machine(body)
    assert (stopping.desired, stopping.expected) == ("stopped", False)
    assert stopping.revision > row.revision


def test_no_row_and_no_event_shows_a_key_or_a_secret() -> None:
    driver = Driver()
    secret = "sealed-secret-value"
    driver.send(created(config=Config(secrets={"S": secret}), sealed_key="sealed-key-value"))
    for body in rows(driver).values():
        assert body is not None
        assert secret.encode() not in body
        assert b"sealed-key-value" not in body
    for one in driver.ticks:
        record = msgspec.json.encode([one.decisions, one.inputs])
        assert secret.encode() not in record


def test_the_instance_row_shows_desired_and_status_apart() -> None:
    driver = Driver().running()
    driver.send(events.MachineReported(machine_id="m1", agent_ready=False, restarts=2))
    driver.send(events.StopRequested())
    body = rows(driver)["instance"]
    assert body is not None
    view = decode_instance(body)
    assert (view.desired, view.status, view.agent_ready) == ("stopped", "running", False)
    assert view.restarts == 2


def test_the_version_that_an_instance_keeps_is_where_the_machine_looks() -> None:
    platform = Platform(
        checkin_url="http://p/x",
        installed=lambda agent, version: f"/agents/{agent}-{version}" if agent != "demo" else "",
    )
    tokens = {"api_key": "k", "gateway_token": "g", "proxy_token": "p", "agent_token": "a"}

    def home(agent: str) -> str | None:
        launch = ports.Launch(
            instance_id="i", sandbox_id="s", account="a", epoch=1, agent=agent,
            agent_version="2026.9.6-node-24",
        )  # fmt: skip
        plain = compose(launch, platform, secrets={}, **tokens).plain
        return plain.get(f"HOLDFAST_{agent.upper()}_HOME")

    assert home("openclaw") == "/agents/openclaw-2026.9.6-node-24"
    assert home("demo") is None
