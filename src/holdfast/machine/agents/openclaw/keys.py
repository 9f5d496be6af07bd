"""How OpenClaw is given a key that may be renewed while it runs.

A process cannot be given another environment, but OpenClaw reads a file of secrets again when it
is told to. So whatever in its configuration names the key by its variable, or holds it in plain,
is made to refer to that file instead: then a renewal is a new file and one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.machine.agents.openclaw.run import program
from holdfast.machine.agents.pairing import Place

PROVIDER: Final = "holdfast"
"""What the file is called in OpenClaw's configuration."""


def keys_path(place: Place) -> str:
    """Return the file of secrets: a JSON object of names and values, for the owner only."""
    return f"{place.home}/keys.json"


def reload_argv(place: Place) -> tuple[str, ...]:
    """Return the command that has the gateway read its secrets again.

    Port and token are in its environment.
    """
    return (*program(place), "secrets", "reload", "--json")


def referring(place: Place, config: Mapping[str, Any], name: str, old: str) -> dict[str, Any]:
    """Return the patch after which every use of a key refers to the file; empty if all do.

    `old` is the key's value so far, which may stand in the configuration.
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
    """Return how many uses such a patch moves."""
    return len(_object(_object(patch.get("models")).get("providers")))


def _is_use(value: object, name: str, old: str) -> bool:
    if isinstance(value, dict):
        return value.get("source") == "env" and value.get("id") == name
    return value == f"${{{name}}}" or (bool(old) and value == old)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
