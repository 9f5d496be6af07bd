"""References to secrets in OpenClaw's configuration: added, moved, removed, nothing else."""

from __future__ import annotations

import json
from typing import Any

from holdfast.machine.agents.openclaw.secrets import PATHS_VARIABLE, refer

BASE: dict[str, Any] = {"gateway": {"port": 1}, "channels": {"telegram": {"dmPolicy": "pairing"}}}
TELEGRAM = {"TELEGRAM_BOT_TOKEN": "1:secret"}


def test_a_token_switches_its_channel_on_by_reference() -> None:
    config, now = refer(BASE, TELEGRAM, {})
    assert config["channels"]["telegram"] == {
        "dmPolicy": "pairing",
        "botToken": "${TELEGRAM_BOT_TOKEN}",
        "enabled": True,
    }
    assert config["gateway"] == {"port": 1}
    assert now == {"channels.telegram.botToken": "TELEGRAM_BOT_TOKEN"}
    assert "1:secret" not in json.dumps([config, now])
    assert BASE["channels"] == {"telegram": {"dmPolicy": "pairing"}}
    assert refer(config, TELEGRAM, now) == (config, now)


def test_the_last_token_that_goes_switches_it_off() -> None:
    config, now = refer(BASE, TELEGRAM, {})
    gone, nothing = refer(config, {}, now)
    assert gone["channels"]["telegram"] == {"dmPolicy": "pairing", "enabled": False}
    assert nothing == {}


def test_one_of_two_tokens_that_goes_leaves_it_on() -> None:
    both = {"SLACK_BOT_TOKEN": "a", "SLACK_APP_TOKEN": "b"}
    config, now = refer({}, both, {})
    assert config["channels"]["slack"]["enabled"] is True
    left, _ = refer(config, {"SLACK_APP_TOKEN": "b"}, now)
    assert left["channels"]["slack"] == {"appToken": "${SLACK_APP_TOKEN}", "enabled": True}


def test_who_switched_a_channel_off_by_hand_is_heard() -> None:
    config, now = refer(BASE, TELEGRAM, {})
    config["channels"]["telegram"]["enabled"] = False
    assert refer(config, TELEGRAM, now)[0]["channels"]["telegram"]["enabled"] is False


def test_what_is_not_ours_is_not_taken_out() -> None:
    own = {"channels": {"telegram": {"enabled": True, "botToken": "typed in"}}}
    assert refer(own, {}, {}) == (own, {})
    config, now = refer({}, TELEGRAM, {})
    config["channels"]["telegram"]["botToken"] = "typed in"
    kept, _ = refer(config, {}, now)
    assert kept["channels"]["telegram"] == {"enabled": True, "botToken": "typed in"}


def test_custom_secrets_stand_where_they_are_told() -> None:
    env = {"MY_KEY": "x", PATHS_VARIABLE: '{"MY_KEY": "models.providers.mine.apiKey"}'}
    config, now = refer(BASE, env, {})
    assert config["models"]["providers"]["mine"]["apiKey"] == "${MY_KEY}"
    moved, now = refer(config, env | {PATHS_VARIABLE: '{"MY_KEY": "tools.key"}'}, now)
    assert moved["models"]["providers"]["mine"] == {}
    assert moved["tools"] == {"key": "${MY_KEY}"}
    gone, now = refer(moved, {PATHS_VARIABLE: '{"MY_KEY": "tools.key"}'}, now)
    assert (gone["tools"], now) == ({}, {})


def test_nonsense_is_no_place() -> None:
    for told in ("[", "[]", '{"A": 5}', '{"A": ""}', ""):
        assert refer(BASE, {"A": "x", PATHS_VARIABLE: told}, {}) == (BASE, {})
