"""How OpenClaw receives a renewed key while it runs.

The environment of a process cannot be changed, but OpenClaw rereads a file of secrets on command.
So every use of the key in its configuration, by variable or in plain text, is changed to refer to
that file; a renewal is then a new file and one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.machine.agents.openclaw.run import program
from holdfast.machine.agents.pairing import Place

PROVIDER: Final = "holdfast"
"""Name of the file in OpenClaw's configuration."""


def keys_path(place: Place) -> str:
    """Return the file of secrets: a JSON object of names and values, mode 0600."""
    return f"{place.home}/keys.json"


def reload_argv(place: Place) -> tuple[str, ...]:
    """Return the command that makes the gateway reread its secrets.

    It takes port and token from its environment.
    """
    return (*program(place), "secrets", "reload", "--json")


def referring(place: Place, config: Mapping[str, Any], name: str, old: str) -> dict[str, Any]:
    """Return the patch that makes every use of a key refer to the file; empty if all do.

    `old` is the key's value so far, which the configuration may contain.
    """
    providers = _object(_object(config.get("models")).get("providers"))
    reference = {"source": "file", "provider": PROVIDER, "id": f"/{name}"}
    moved = {
        called: {"apiKey": reference}
        for called, settings in providers.items()
        if _is_use(_object(settings).get("apiKey"), name, old)
    }
    if not moved:
        return {}
    file = {"source": "file", "path": keys_path(place), "mode": "json"}
    return {
        "models": {"providers": moved},
        "secrets": {"providers": {PROVIDER: file}},
    }


def moved_count(patch: Mapping[str, Any]) -> int:
    """Return how many uses such a patch changes."""
    return len(_object(_object(patch.get("models")).get("providers")))


def _is_use(value: object, name: str, old: str) -> bool:
    if isinstance(value, dict):
        return value.get("source") == "env" and value.get("id") == name
    return value == f"${{{name}}}" or (bool(old) and value == old)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
