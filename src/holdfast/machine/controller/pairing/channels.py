"""The channels of an agent, from its configuration: pure.

A channel counts if it is enabled and has credentials. For three of them that is a token, in the
section, in one of its accounts, or in the environment; for others being enabled is enough. Values
are only tested for presence and passed nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdfast.machine.controller.pairing import limits

_TOKENS: Final[Mapping[str, Mapping[str, str]]] = {
    "telegram": {"botToken": "TELEGRAM_BOT_TOKEN", "tokenFile": ""},
    "discord": {"token": "DISCORD_BOT_TOKEN"},
    "slack": {"botToken": "SLACK_BOT_TOKEN", "appToken": "SLACK_APP_TOKEN"},
}
"""For each channel the settings of which one suffices, each with its variable."""

_RESERVED: Final = frozenset({"defaults", "modelByChannel"})
"""Names below `channels` that are not channels."""


def detect(config: object, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the enabled channels: well-known ones in a fixed order, then others by name."""
    sections = config.get("channels") if isinstance(config, Mapping) else None
    if not isinstance(sections, Mapping):
        return ()
    known = [name for name in _TOKENS if _connects(sections.get(name), _TOKENS[name], env)]
    others = sorted(
        name
        for name, section in sections.items()
        if isinstance(name, str) and name not in _TOKENS and name not in _RESERVED
        if isinstance(section, Mapping) and section.get("enabled")
    )
    return (*known, *others)[: limits.CHANNELS_MAX]


def _connects(section: object, tokens: Mapping[str, str], env: Mapping[str, str]) -> bool:
    if not isinstance(section, Mapping) or not section.get("enabled"):
        return False
    if any(section.get(name) or env.get(variable) for name, variable in tokens.items()):
        return True
    return any(account.get(name) for account in _accounts(section) for name in tokens)


def _accounts(section: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    accounts = section.get("accounts")
    if not isinstance(accounts, Mapping):
        return ()
    return [account for account in accounts.values() if isinstance(account, Mapping)]
