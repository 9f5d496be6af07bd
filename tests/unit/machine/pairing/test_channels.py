"""Which channels an agent has."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.machine.controller.pairing.channels import detect

ON = {"enabled": True}


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        ({"telegram": {**ON, "botToken": "t"}}, ("telegram",)),
        ({"telegram": {**ON}}, ()),
        ({"telegram": {"enabled": False, "botToken": "t"}}, ()),
        ({"telegram": {**ON, "botToken": ""}}, ()),
        ({"telegram": {"enabled": 1, "botToken": {"source": "env"}}}, ("telegram",)),
        ({"telegram": {**ON, "accounts": {"a": {"botToken": "t"}}}}, ("telegram",)),
        ({"telegram": {**ON, "accounts": {"a": {}, "b": 5}}}, ()),
        ({"slack": {**ON, "botToken": "t"}}, ("slack",)),
        ({"slack": {**ON, "appToken": "t"}}, ("slack",)),
        ({"slack": {"enabled": False, "botToken": "t", "appToken": "t"}}, ()),
        ({"discord": {**ON, "token": "t"}}, ("discord",)),
        ({"whatsapp": ON, "signal": {"enabled": False}, "line": {}}, ("whatsapp",)),
        ({"defaults": ON, "irc": 5, "telegram": 5}, ()),
        (
            {"signal": ON, "slack": {**ON, "appToken": "t"}, "discord": {**ON, "token": "t"},
             "imessage": ON, "telegram": {**ON, "botToken": "t"}},
            ("telegram", "discord", "slack", "imessage", "signal"),
        ),
        ([], ()),
        (None, ()),
    ],
)  # fmt: skip
def test_what_is_on(channels: Any, found: tuple[str, ...]) -> None:
    assert detect({"channels": channels}, {}) == found


def test_a_token_may_come_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"channels": {"telegram": ON, "slack": ON, "discord": {"enabled": False}}}
    env = {"TELEGRAM_BOT_TOKEN": "t", "SLACK_APP_TOKEN": "t", "DISCORD_BOT_TOKEN": "t"}
    assert detect(config, env) == ("telegram", "slack")
    assert detect(config, {**env, "TELEGRAM_BOT_TOKEN": ""}) == ("slack",)


@pytest.mark.parametrize("config", [None, 5, [], {}, {"channels": "x"}])
def test_what_is_no_configuration_has_no_channels(config: object) -> None:
    assert detect(config, {"TELEGRAM_BOT_TOKEN": "t"}) == ()
