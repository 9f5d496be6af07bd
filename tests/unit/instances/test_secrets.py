"""Channel tokens and secrets: which sets may be, and what of them reaches the machine."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.instances import events
from holdfast.instances.actions import launch_of
from holdfast.instances.environment import Platform, compose
from holdfast.instances.limits import SECRETS_MAX
from holdfast.instances.secret_catalogue import CATALOGUE, KEYS, VARIABLES
from tests.unit.instances.driver import Driver, created

TELEGRAM, SLACK_BOT, SLACK_APP = "TELEGRAM_BOT_TOKEN", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"


def driver() -> Driver:
    made = Driver()
    made.send(created(desired="stopped"))
    return made


def change(made: Driver, paths: Any = None, **secrets: Any) -> str:
    stamp = made.send(events.ConfigChanged(secrets=secrets, paths=dict(paths or {})))
    return stamp.code or stamp.outcome


def names(made: Driver) -> set[str]:
    return set(made.state.config.secrets)


def test_the_catalogue_is_the_contracts() -> None:
    assert {key: VARIABLES[key] for key in VARIABLES} == {
        "telegramBotToken": TELEGRAM,
        "discordBotToken": "DISCORD_BOT_TOKEN",
        "slackBotToken": SLACK_BOT,
        "slackAppToken": SLACK_APP,
    }
    assert {KEYS[variable] for variable in VARIABLES.values()} == set(VARIABLES)
    assert [group.id for group in CATALOGUE if group.all_required] == ["slack"]


def test_one_is_set_others_stay_and_null_removes() -> None:
    made = driver()
    assert change(made, **{TELEGRAM: "sealed1", "MY_KEY": "sealed2"}) == "applied"
    assert change(made, DISCORD_BOT_TOKEN="sealed3") == "applied"
    assert names(made) == {TELEGRAM, "MY_KEY", "DISCORD_BOT_TOKEN"}
    assert change(made, **{TELEGRAM: None}) == "applied"
    assert names(made) == {"MY_KEY", "DISCORD_BOT_TOKEN"}
    assert change(made, **dict.fromkeys(names(made))) == "applied"
    assert made.state.config.secrets == {}
    assert change(made, NEVER_SET=None) == "ignored"


def test_slack_has_both_tokens_or_none() -> None:
    made = driver()
    assert change(made, **{SLACK_BOT: "a"}) == "secrets_incomplete"
    assert names(made) == set()
    assert change(made, **{SLACK_BOT: "a", SLACK_APP: "b"}) == "applied"
    assert change(made, **{SLACK_APP: None}) == "secrets_incomplete"
    assert names(made) == {SLACK_BOT, SLACK_APP}
    assert change(made, **{SLACK_BOT: None, SLACK_APP: None}) == "applied"
    assert names(made) == set()


def test_fifty_custom_ones_beside_the_catalogue() -> None:
    made = driver()
    most = {f"KEY_{number}": "x" for number in range(SECRETS_MAX)}
    assert change(made, **most) == "applied"
    assert change(made, **{TELEGRAM: "t"}) == "applied"
    assert change(made, ONE_MORE="x") == "too_many_secrets"
    assert change(made, KEY_0=None, ONE_MORE="x") == "applied"


def test_a_place_comes_and_goes_with_its_secret() -> None:
    made = driver()
    assert change(made, {"A": "tools.a"}) == "no_such_secret"
    assert change(made, {"A": "tools.a"}, A="x") == "applied"
    assert change(made, {"A": "tools.b"}) == "applied"
    assert made.state.config.paths == {"A": "tools.b"}
    assert change(made, A=None) == "applied"
    assert made.state.config.paths == {}
    assert change(made, {"A": "tools.a"}, A="x") == "applied"
    assert change(made, {"A": None}) == "applied"
    assert (made.state.config.paths, names(made)) == ({}, {"A"})


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        ({"A": "tools.a", "B": "tools.a"}, "path_taken"),
        ({"A": "tools", "B": "tools.a"}, "path_taken"),
        ({"A": "tools.a.x", "B": "tools.a"}, "path_taken"),
        ({"A": "tools.a", "B": "tools.ab"}, "applied"),
        ({TELEGRAM: "channels.telegram.botToken"}, "path_not_yours"),
        ({"lower": "tools.a"}, "path_not_yours"),
    ],
)
def test_no_two_stand_in_one_place(paths: dict[str, str | None], code: str) -> None:
    made = driver()
    assert change(made, paths, A="x", B="y", lower="z", **{TELEGRAM: "t"}) == code


@pytest.mark.parametrize(
    "name",
    [
        "HOLDFAST_CHECKIN_URL", "HOLDFAST_SANDBOX_ID", "KILOCLAW_SANDBOX_ID", "KILOCLAW_ENV_KEY",
        "KILOCLAW_ENC_X", "OPENCLAW_GATEWAY_TOKEN", "AUTO_APPROVE_DEVICES", "KILOCODE_API_KEY",
        "FLY_APP_NAME", "1X",
    ],
)  # fmt: skip
def test_reserved_names_are_refused(name: str) -> None:
    assert change(driver(), **{name: "x"}) == "reserved_name"


def test_layers_and_what_is_told_of_places() -> None:
    made = driver()
    made.send(events.ConfigChanged(env={TELEGRAM: "plain", "SHARED": "owner"}))
    assert change(made, {"A": "tools.a"}, A="sealed", **{TELEGRAM: "sealed"}) == "applied"
    launch = launch_of(made.state)
    told = compose(
        launch,
        Platform(checkin_url="http://plane", defaults={"SHARED": "platform", "D": "default"}),
        secrets={"A": "value", TELEGRAM: "token", "HOLDFAST_SANDBOX_ID": "forged"},
        api_key="key",
        gateway_token="gate",
        proxy_token="proxy",
        agent_token="agent",
    )
    assert (told.plain["SHARED"], told.plain["D"]) == ("owner", "default")
    assert told.sensitive[TELEGRAM] == "token"
    assert TELEGRAM not in told.plain
    assert told.plain["HOLDFAST_SECRET_PATHS"] == '{"A":"tools.a"}'
    assert "HOLDFAST_SANDBOX_ID" not in told.sensitive
    assert told.plain["HOLDFAST_SANDBOX_ID"] == launch.sandbox_id
    assert told.plain["HOLDFAST_CHECKIN_URL"] == "http://plane"
