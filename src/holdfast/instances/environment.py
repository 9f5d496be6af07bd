"""The environment that a machine is launched with, and the names that users may not set.

Layers, later ones win: what the platform sets by default, the owner's plain variables, the
owner's secrets, and what is reserved. A sensitive value is never in the plain half. This module
only composes; the caller opens and seals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from holdfast.instances.ports import Launch
from holdfast.wire.consent import node_of_instance

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

RESERVED: Final = frozenset(
    {
        "AUTO_APPROVE_DEVICES",
        "KILOCODE_API_KEY",
        "OPENCLAW_GATEWAY_TOKEN",
    }
)
RESERVED_PREFIXES: Final = ("HOLDFAST_", "KILOCLAW_", "FLY_")


class Platform(Struct, frozen=True, kw_only=True):
    """What every machine of this plane is launched with.

    `defaults` are variables that owners may change. With `consent_key`, which returns the public
    key that signs grants now, an observer runs beside each agent and sends to `plane_url`.
    `installed` returns the folder of a version of an agent, that of new instances without a
    version, and nothing for a bundled agent.
    """

    checkin_url: str
    wake_url: str = ""
    checkin_first_ms: int = 120_000
    checkin_interval_ms: int = 300_000
    plane_url: str = ""
    consent_key: Callable[[], str] | None = None
    defaults: dict[str, str] = {}
    installed: Callable[[str, str], str] | None = None


class Environment(Struct, frozen=True):
    """The two halves: plain values, and sensitive ones still to be sealed for the machine."""

    plain: dict[str, str]
    sensitive: dict[str, str]

    def __repr__(self) -> str:
        """Return a form without the sensitive values."""
        return f"Environment(plain={sorted(self.plain)}, sensitive={sorted(self.sensitive)})"


def reserved_reason(name: str) -> str | None:
    """Return why an owner may not set this variable, or None when they may."""
    if not NAME.fullmatch(name):
        return "want letters, digits and underscores, not beginning with a digit"
    if name in RESERVED:
        return "the plane sets this variable itself"
    if name.startswith(RESERVED_PREFIXES):
        return f"names beginning with {name.split('_', maxsplit=1)[0]}_ are the plane's own"
    return None


def compose(
    launch: Launch,
    platform: Platform,
    *,
    secrets: Mapping[str, str],
    api_key: str,
    gateway_token: str,
    proxy_token: str,
    agent_token: str,
) -> Environment:
    """Return the environment of a launch; `secrets` are opened already.

    A reserved name among the owner's is left out even if it slipped in before it was reserved.
    """
    sensitive = _allowed(secrets)
    owned = platform.defaults | _allowed(launch.env)
    plain = {name: value for name, value in owned.items() if name not in sensitive}
    plain.update(_reserved(launch, platform) | _observing(launch, platform))
    sensitive["HOLDFAST_API_KEY"] = api_key
    sensitive["HOLDFAST_GATEWAY_TOKEN"] = gateway_token
    sensitive["HOLDFAST_PROXY_TOKEN"] = proxy_token
    sensitive["HOLDFAST_AGENT_TOKEN"] = agent_token
    return Environment(plain, sensitive)


def _paths(launch: Launch) -> str:
    """Return which secret stands where in the agent's configuration, as JSON; names alone."""
    known = {n: path for n, path in launch.paths.items() if n in launch.secrets}
    return msgspec.json.encode(known, order="deterministic").decode() if known else ""


def _allowed(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the owner's variables by name, without any that only the plane may set."""
    return {n: v for n, v in sorted(variables.items()) if reserved_reason(n) is None}


def _observing(launch: Launch, platform: Platform) -> dict[str, str]:
    """Return what the machine's observer has to know before it asks anybody."""
    if platform.consent_key is None:
        return {"HOLDFAST_OBSERVER": "false"}
    return {
        "HOLDFAST_PLANE_URL": platform.plane_url,
        "HOLDFAST_CONSENT_KEY": platform.consent_key(),
        "HOLDFAST_CONSENT_NODE": node_of_instance(launch.account, launch.instance_id),
    }


def _reserved(launch: Launch, platform: Platform) -> dict[str, str]:
    """Return the variables that the plane sets for every machine."""
    always = {
        "HOLDFAST_SANDBOX_ID": launch.sandbox_id,
        "HOLDFAST_INSTANCE_ID": launch.instance_id,
        "HOLDFAST_MACHINE_EPOCH": str(launch.epoch),
        "HOLDFAST_AGENT": launch.agent,
        "HOLDFAST_CHECKIN_URL": platform.checkin_url,
        "HOLDFAST_CHECKIN_FIRST_MS": str(platform.checkin_first_ms),
        "HOLDFAST_CHECKIN_INTERVAL_MS": str(platform.checkin_interval_ms),
        "HOLDFAST_REQUIRE_PROXY_TOKEN": "true",
    }
    optional = {
        "HOLDFAST_WAKE_URL": platform.wake_url,
        "HOLDFAST_AGENT_VERSION": launch.agent_version,
        "HOLDFAST_AGENT_TURN": str(launch.agent_turn) if launch.agent_turn else "",
        "HOLDFAST_DEFAULT_MODEL": launch.model,
        "HOLDFAST_SECRET_PATHS": _paths(launch),
    }
    given = {name: value for name, value in optional.items() if value}
    return always | given | _installation(launch, platform)


def _installation(launch: Launch, platform: Platform) -> dict[str, str]:
    """Return where the version is that the instance keeps; nothing for a bundled agent."""
    installed = platform.installed
    folder = installed(launch.agent, launch.agent_version) if installed is not None else ""
    return {f"HOLDFAST_{launch.agent.upper()}_HOME": folder} if folder else {}
