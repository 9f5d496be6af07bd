"""How OpenClaw's configuration gets its secrets: by reference to the environment, never by value.

OpenClaw replaces `${NAME}` in its configuration by the variable. A token that the plane set makes
its channel's entry refer to it and switches the channel on; one that the plane took away switches
it off. Places of custom secrets come by name. What was put in is written down beside, so that only
our own references are ever taken out. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

PATHS_VARIABLE: Final = "HOLDFAST_SECRET_PATHS"
"""Custom secrets and where the configuration refers to them, as a JSON object."""

_CHANNELS: Final[Mapping[str, Mapping[str, str]]] = {
    "telegram": {"botToken": "TELEGRAM_BOT_TOKEN"},
    "discord": {"token": "DISCORD_BOT_TOKEN"},
    "slack": {"botToken": "SLACK_BOT_TOKEN", "appToken": "SLACK_APP_TOKEN"},
}
"""For each channel the keys of its entry, and the variables they refer to."""


def refer(
    config: Mapping[str, Any], env: Mapping[str, str], before: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the configuration with its references put right, and where ours are now.

    `before` is what an earlier call put in: the variable by the place, keys joined by dots. A
    place that holds something else by now is no longer ours and stays as it is.
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
    """Return each place that is to refer to a variable, and to which."""
    places: dict[str, str] = {}
    for channel, keys in _CHANNELS.items():
        for key, variable in keys.items():
            if env.get(variable):
                places[f"channels.{channel}.{key}"] = variable
    for variable, place in _told(env).items():
        if env.get(variable) and place not in places:
            places[place] = variable
    return places


def _told(env: Mapping[str, str]) -> dict[str, str]:
    """Return the places of custom secrets; none when what was told cannot be read."""
    try:
        found = json.loads(env.get(PATHS_VARIABLE) or "{}")
    except ValueError:
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
    """Switch a channel on when its token was set just now, off when its last one went."""
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
    """Set a place; what stands in the way of it gives way, as it could not hold a key."""
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
