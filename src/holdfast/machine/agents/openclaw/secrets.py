"""Secrets in OpenClaw's configuration: as references to the environment, never as values.

OpenClaw replaces `${NAME}` in its configuration by the variable. A token set by the plane makes its
channel's entry refer to it and enables the channel; removing the token disables it. Custom secrets
are placed by path. Added references are recorded beside the configuration, so that only ours are
ever removed. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

PATHS_VARIABLE: Final = "HOLDFAST_SECRET_PATHS"
"""Custom secrets and the configuration paths that refer to them, as a JSON object."""

_CHANNELS: Final[Mapping[str, Mapping[str, str]]] = {
    "telegram": {"botToken": "TELEGRAM_BOT_TOKEN"},
    "discord": {"token": "DISCORD_BOT_TOKEN"},
    "slack": {"botToken": "SLACK_BOT_TOKEN", "appToken": "SLACK_APP_TOKEN"},
}
"""For each channel the keys of its entry and the variables they refer to."""


def refer(
    config: Mapping[str, Any], env: Mapping[str, str], before: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the configuration with its references updated, and where ours are now.

    `before` is what an earlier call added: variable by path, keys joined by dots. A path with
    another value by now is no longer ours and stays unchanged.
    """
    new: dict[str, Any] = _copy(config)
    wanted = _wanted(env)
    for place, variable in before.items():
        if wanted.get(place) != variable and _read(new, place) == _reference(variable):
            _remove(new, place)
    for place, variable in wanted.items():
        _put(new, place, _reference(variable))
    for channel, keys in _CHANNELS.items():
        _switch(new, channel, keys, wanted=wanted, before=before)
    return new, wanted


def _wanted(env: Mapping[str, str]) -> dict[str, str]:
    """Return each path that must refer to a variable, with the variable."""
    places: dict[str, str] = {}
    for channel, keys in _CHANNELS.items():
        for key, variable in keys.items():
            if env.get(variable):
                places[f"channels.{channel}.{key}"] = variable
    for variable, place in _custom_paths(env).items():
        if env.get(variable) and place not in places:
            places[place] = variable
    return places


def _custom_paths(env: Mapping[str, str]) -> dict[str, str]:
    """Return the paths of custom secrets; none if the value cannot be decoded."""
    try:
        found = json.loads(env.get(PATHS_VARIABLE) or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): place for name, place in found.items() if isinstance(place, str) and place}


def _switch(
    config: dict[str, Any],
    channel: str,
    keys: Mapping[str, str],
    *,
    wanted: Mapping[str, str],
    before: Mapping[str, str],
) -> None:
    """Enable a channel whose token was just set, disable one whose last token was removed."""
    places = [f"channels.{channel}.{key}" for key in keys]
    has, had = any(p in wanted for p in places), any(p in before for p in places)
    entry = _read(config, f"channels.{channel}")
    if not isinstance(entry, dict):
        return
    if has and (not had or "enabled" not in entry):
        entry["enabled"] = True
    elif had and not has and not any(key in entry for key in keys):
        entry["enabled"] = False


def _reference(variable: str) -> str:
    return f"${{{variable}}}"


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _read(config: Mapping[str, Any], place: str) -> Any:
    found: Any = config
    for key in place.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _put(config: dict[str, Any], place: str, value: str) -> None:
    """Set a path; a value in the way that cannot hold a key is replaced."""
    *above, last = place.split(".")
    found = config
    for key in above:
        if not isinstance(found.get(key), dict):
            found[key] = {}
        found = found[key]
    found[last] = value


def _remove(config: dict[str, Any], place: str) -> None:
    *above, last = place.split(".")
    found = _read(config, ".".join(above)) if above else config
    if isinstance(found, dict):
        found.pop(last, None)
