from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.machine.controller.settings import (
    SettingError,
    child_environment,
    read_listening,
    read_observing,
    read_proxying,
    read_reporting,
    read_running,
)


def test_the_defaults() -> None:
    listening = read_listening({"HOLDFAST_MACHINE_HOME": "/m"})
    assert (listening.host, listening.port, listening.home) == ("127.0.0.1", 18_789, Path("/m"))
    reporting = read_reporting({})
    assert (reporting.first_ms, reporting.interval_ms) == (120_000, 300_000)
    assert (reporting.checkin_url, reporting.wake_url, reporting.epoch) == ("", "", 0)
    running = read_running({})
    assert (running.agent, running.agent_port, running.arguments) == ("demo", 3_001, ())
    assert running.stop_grace_ms is None
    assert not running.shared_cpu


def test_the_contracts_names_are_read_and_ours_win() -> None:
    theirs = {
        "KILOCLAW_SANDBOX_ID": "their-sandbox",
        "FLY_MACHINE_ID": "their-machine",
        "KILOCLAW_CHECKIN_URL": "https://their/api/controller/checkin",
        "KILOCODE_API_KEY": "their-key",
        "OPENCLAW_GATEWAY_TOKEN": "their-token",
        "PORT": "1234",
    }
    reporting = read_reporting(theirs)
    assert reporting.sandbox_id == "their-sandbox"
    assert reporting.machine_id == "their-machine"
    assert reporting.checkin_url == "https://their/api/controller/checkin"
    assert reporting.wake_url == "", "a plane of the contract has no long poll"
    assert reporting.api_key.reveal() == "their-key"
    assert reporting.gateway_token.reveal() == "their-token"
    assert read_listening(theirs).port == 1234
    ours = {
        **theirs,
        "HOLDFAST_SANDBOX_ID": "our-sandbox",
        "HOLDFAST_API_KEY": "our-key",
        "HOLDFAST_GATEWAY_TOKEN": "our-token",
        "HOLDFAST_CONTROLLER_PORT": "0",
    }
    reporting = read_reporting(ours)
    assert reporting.sandbox_id == "our-sandbox"
    assert reporting.api_key.reveal() == "our-key"
    assert reporting.gateway_token.reveal() == "our-token"
    assert read_listening(ours).port == 0


def test_the_planes_address_gives_both_urls() -> None:
    reporting = read_reporting({"HOLDFAST_PLANE_URL": "http://127.0.0.1:8700/"})
    assert reporting.checkin_url == "http://127.0.0.1:8700/api/controller/checkin"
    assert reporting.wake_url == "http://127.0.0.1:8700/api/controller/wake"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOLDFAST_AGENT_ARGS", "{broken", "not JSON"),
        ("HOLDFAST_AGENT_ARGS", '"one"', "array of strings"),
        ("HOLDFAST_AGENT_ARGS", '["a", 1]', "array of strings"),
        ("HOLDFAST_AGENT_PORT", "70000", "not a port"),
        ("HOLDFAST_AGENT_PORT", "-1", "whole number"),
        ("HOLDFAST_STOP_GRACE_MS", "0", "at least 1"),
        ("HOLDFAST_STOP_GRACE_MS", "soon", "whole number"),
    ],
)
def test_what_to_run_is_refused_by_name(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingError, match=f"{name}.*{said}"):
        read_running({name: value})


@pytest.mark.parametrize("name", ["HOLDFAST_CHECKIN_FIRST_MS", "HOLDFAST_CHECKIN_INTERVAL_MS"])
@pytest.mark.parametrize("value", ["0", "-5", "1.5", "x", "²", "1" * 5_000])
def test_a_cadence_must_be_positive(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_reporting({name: value})


def test_overrides() -> None:
    running = read_running(
        {
            "HOLDFAST_AGENT": "openclaw",
            "HOLDFAST_AGENT_ARGS": '["--verbose"]',
            "HOLDFAST_STOP_GRACE_MS": "2500",
        }
    )
    assert (running.agent, running.arguments) == ("openclaw", ("--verbose",))
    assert running.stop_grace_ms == 2_500


@pytest.mark.parametrize(
    ("environ", "shared"),
    [
        ({"KILOCLAW_RUNTIME_PROVIDER": "fly", "KILOCLAW_MACHINE_CPU_KIND": "shared"}, True),
        ({"FLY_MACHINE_ID": "m", "KILOCLAW_MACHINE_CPU_KIND": "shared"}, True),
        ({"FLY_MACHINE_ID": "m", "KILOCLAW_MACHINE_CPU_KIND": "performance"}, False),
        (
            {
                "FLY_MACHINE_ID": "m",
                "KILOCLAW_RUNTIME_PROVIDER": "docker",
                "KILOCLAW_MACHINE_CPU_KIND": "shared",
            },
            False,
        ),
        ({"KILOCLAW_MACHINE_CPU_KIND": "shared"}, False),
    ],
)
def test_shared_processors(environ: dict[str, str], shared: bool) -> None:  # noqa: FBT001
    assert read_running(environ).shared_cpu is shared


def test_how_to_pass_on() -> None:
    plain = read_proxying({})
    assert (plain.require_token, plain.sockets_max) == (False, 100)
    assert (plain.idle_ms, plain.handshake_ms) == (600_000, 5_000)
    set_ = read_proxying(
        {
            "REQUIRE_PROXY_TOKEN": "TRUE", "MAX_WS_CONNS": "7", "WS_IDLE_TIMEOUT_MS": "1",
            "WS_HANDSHAKE_TIMEOUT_MS": "2", "HOLDFAST_PROXY_TOKEN": "p",
        }
    )  # fmt: skip
    assert (set_.require_token, set_.sockets_max, set_.idle_ms, set_.handshake_ms) == (
        True,
        7,
        1,
        2,
    )
    assert set_.token.reveal() == "p"
    for other in ("false", "1", "yes", ""):
        assert not read_proxying({"REQUIRE_PROXY_TOKEN": other}).require_token


@pytest.mark.parametrize("name", ["MAX_WS_CONNS", "WS_IDLE_TIMEOUT_MS", "WS_HANDSHAKE_TIMEOUT_MS"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", " 5", "１"])  # noqa: RUF001
def test_a_limit_of_the_proxy_must_be_positive(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_proxying({name: value})


@pytest.mark.parametrize(
    "name",
    ["HOLDFAST_PLANE_URL", "HOLDFAST_CHECKIN_URL", "KILOCLAW_CHECKIN_URL", "HOLDFAST_WAKE_URL"],
)
@pytest.mark.parametrize(
    "url", ["plane", "ftp://plane/", "http://u@plane/", "http://plane/a b", "http://plane/#x"]
)
def test_an_address_of_the_plane_that_is_none_is_refused_by_its_name(name: str, url: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_reporting({name: url})


def test_routes_of_the_plane_stand_below_its_address() -> None:
    found = read_reporting({"HOLDFAST_PLANE_URL": "https://plane.example/here/"})
    assert found.checkin_url == "https://plane.example/here/api/controller/checkin"
    assert found.wake_url == "https://plane.example/here/api/controller/wake"
    given = {"HOLDFAST_PLANE_URL": "http://a:1", "KILOCLAW_CHECKIN_URL": "http://b:2/in?x=1"}
    assert read_reporting(given).checkin_url == "http://b:2/in?x=1"
    assert read_reporting({}).checkin_url == ""


TOLD = {
    "HOLDFAST_PLANE_URL": "http://p",
    "HOLDFAST_CONSENT_KEY": "key",
    "HOLDFAST_CONSENT_NODE": "nd_1",
}


def test_the_observer_is_on_where_the_plane_told_what_to_trust() -> None:
    found = read_observing(TOLD)
    assert (found.off, found.plane_url, found.consent_key, found.consent_node) == (
        "", "http://p", "key", "nd_1"
    )  # fmt: skip
    for name in TOLD:
        assert name in read_observing({**TOLD, name: ""}).off
    assert read_observing({}).off
    assert read_observing({**TOLD, "KILOCLAW_CLAWMETRY_DISABLED": "TRUE"}).off
    assert read_observing({**TOLD, "HOLDFAST_OBSERVER": "False"}).off
    assert not read_observing({**TOLD, "KILOCLAW_CLAWMETRY_DISABLED": "false"}).off


def test_the_agent_sees_nothing_of_the_observer() -> None:
    assert child_environment({**TOLD, "HOLDFAST_OBSERVER": "true", "A": "a"}) == {"A": "a"}
