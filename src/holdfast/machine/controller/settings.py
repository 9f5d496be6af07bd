"""Every environment variable of the controller; no other module reads any.

Ours are named HOLDFAST_*; the existing names of machines (docs/compat/controller.md) are read as
well, and ours win. Three groups are read separately, because each may fail without the others:
where to listen (required by all), how to report (so that a failed start can be reported), and what
to run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from holdfast.kernel.secret import Secret, SecretError
from holdfast.machine.confine import sandbox
from holdfast.machine.controller import limits
from holdfast.machine.controller.sealed_settings import is_sealing
from holdfast.machine.controller.supervise import Policy
from holdfast.wire import parsers
from holdfast.wire.address import Base, Place

PORT: Final = 18_789
AGENT_PORT: Final = 3_001
_PORT_MAX: Final = 65_535

_API_KEYS: Final = ("HOLDFAST_API_KEY", "KILOCODE_API_KEY")
_GATEWAY_TOKENS: Final = ("HOLDFAST_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_TOKEN")

_OURS_ALONE: Final = ("HOLDFAST_", "KILOCLAW_")
"""Prefixes excluded from the agent's environment: they are between the plane and us."""

_TOLD: Final = frozenset(
    {
        "HOLDFAST_INCARNATION",
        "HOLDFAST_INSTANCE_ID",
        "HOLDFAST_MACHINE_ID",
        "HOLDFAST_SANDBOX_ID",
        "HOLDFAST_SECRET_PATHS",
    }
)
"""The exceptions: names by which a cloud recognises a machine's processes."""

_CARRIED: Final = "HOLDFAST_AGENT_ENV_"
"""Prefix of variables for the agent alone, which would change what code we load."""

_MACHINE_SECRETS: Final = frozenset({"OPENCLAW_GATEWAY_TOKEN"})
"""The machine's credentials, which the agent does not need: it has its own loopback token."""


class SettingError(ValueError):
    """A variable is missing or malformed; the message names it and the valid form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where to listen and where the machine keeps its files."""

    host: str
    port: int
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """How to report to the plane; no URL means not to."""

    sandbox_id: str
    machine_id: str
    epoch: int
    checkin_url: str
    wake_url: str
    api_key: Secret
    gateway_token: Secret
    credentials_file: Path | None
    first_ms: int
    interval_ms: int
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What to run and how.

    `agent_home` is the agent's folder, empty for one below the machine's own. `child_env` is the
    environment the agent inherits. `confine` is the confinement a cloud wants, empty for none.
    `shared_cpu` means that the processors are shared with other machines, so that a busy machine
    does not count as idle. `drain_ms` is how long running work is waited for, None for the agent's
    own limit. `supervision` overrides figures of supervision by name. `install` is the installation
    of the agent, `version_turn` the number of the order that chose it.
    """

    agent: str
    agent_home: str
    agent_port: int
    arguments: tuple[str, ...]
    install: str
    version_turn: int
    python: str
    stop_grace_ms: int | None
    drain_ms: int | None
    supervision: Mapping[str, int]
    shared_cpu: bool
    approve_own: bool
    confine: str
    child_env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxying:
    """Settings of the proxy, by the variables of compat/controller.md; times in ms.

    `require_token` means that callers must show the proxy token, which is the gateway token unless
    set. `agent_token` guards the agent's loopback port, empty to generate one.
    """

    require_token: bool = False
    sockets_max: int = limits.SOCKETS_MAX
    idle_ms: int = limits.SOCKET_IDLE_MS
    handshake_ms: int = limits.HANDSHAKE_MS
    token: Secret = Secret("")  # noqa: RUF009  it is immutable
    agent_token: Secret = Secret("")  # noqa: RUF009


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """What the observer is told; `off` is why it does not run, empty where it does.

    `consent_key` is the plane's key that signs grants, `consent_node` its id of this node: an
    observer that had to ask for them would trust whoever answers first.
    """

    off: str = ""
    plane_url: str = ""
    consent_key: str = ""
    consent_node: str = ""


def process_environment() -> MutableMapping[str, str]:
    """Return this process's environment; the only place that reads it."""
    return os.environ


def read_listening(environ: Mapping[str, str]) -> Listening:
    """Return where to listen; raise SettingError."""
    home = _first(environ, "HOLDFAST_MACHINE_HOME", "HOLDFAST_STATE_DIR") or "~/.holdfast/machine"
    return Listening(
        host=environ.get("HOLDFAST_CONTROLLER_HOST") or "127.0.0.1",
        port=_port(environ, "HOLDFAST_CONTROLLER_PORT", "PORT", default=PORT),
        home=Path(home).expanduser().absolute(),
    )


def missing_credential(environ: Mapping[str, str]) -> str:
    """Return the name of a credential that has no value and no file, or an empty string.

    Both are required: the token authenticates our callers, the key authenticates us.
    """
    if environ.get("HOLDFAST_CREDENTIALS_FILE"):
        return ""
    pairs = (_API_KEYS, _GATEWAY_TOKENS)
    return next((names[0] for names in pairs if not _first(environ, *names)), "")


def read_reporting(environ: Mapping[str, str]) -> Reporting:
    """Return how to report; raise SettingError."""
    checkin = _url(environ, "checkin", "HOLDFAST_CHECKIN_URL", "KILOCLAW_CHECKIN_URL")
    wake = _url(environ, "wake", "HOLDFAST_WAKE_URL")
    file = environ.get("HOLDFAST_CREDENTIALS_FILE", "")
    return Reporting(
        sandbox_id=_first(environ, "HOLDFAST_SANDBOX_ID", "KILOCLAW_SANDBOX_ID"),
        machine_id=_machine_id(environ),
        epoch=_number(environ, "HOLDFAST_MACHINE_EPOCH", default=0, least=0),
        checkin_url=checkin,
        wake_url=wake,
        api_key=_secret(environ, *_API_KEYS),
        gateway_token=_secret(environ, *_GATEWAY_TOKENS),
        credentials_file=Path(file) if file else None,
        first_ms=_number(environ, "HOLDFAST_CHECKIN_FIRST_MS", default=limits.CHECKIN_FIRST_MS),
        interval_ms=_number(
            environ, "HOLDFAST_CHECKIN_INTERVAL_MS", default=limits.CHECKIN_INTERVAL_MS
        ),
        commit=environ.get("HOLDFAST_COMMIT") or "unknown",
    )


def _machine_id(environ: Mapping[str, str]) -> str:
    """Return the id of this machine as its cloud has it.

    Where ids are unique within a scope only, such as an app at Fly, the scope is part of it.
    """
    own = _first(environ, "HOLDFAST_MACHINE_ID", "FLY_MACHINE_ID")
    scope = environ.get("HOLDFAST_MACHINE_SCOPE", "")
    return f"{scope}.{own}" if scope and own else own


def read_running(environ: Mapping[str, str]) -> Running:
    """Return what to run; raise SettingError."""
    grace_ms = _number(environ, "HOLDFAST_STOP_GRACE_MS", default=0, least=0)
    if "HOLDFAST_STOP_GRACE_MS" in environ and not grace_ms:
        message = "HOLDFAST_STOP_GRACE_MS: must be a whole number of at least 1"
        raise SettingError(message)
    return Running(
        confine=environ.get(sandbox.VARIABLE, ""),
        agent=environ.get("HOLDFAST_AGENT") or "demo",
        agent_home=environ.get("HOLDFAST_AGENT_HOME", ""),
        agent_port=_port(environ, "HOLDFAST_AGENT_PORT", default=AGENT_PORT),
        arguments=_arguments(environ.get("HOLDFAST_AGENT_ARGS", "[]")),
        install=environ.get("HOLDFAST_OPENCLAW_HOME", ""),
        version_turn=_number(environ, "HOLDFAST_AGENT_TURN", default=0, least=0),
        python=sys.executable,
        stop_grace_ms=grace_ms or None,
        drain_ms=_drain_ms(environ),
        supervision=_figures(environ.get("HOLDFAST_SUPERVISION", "{}")),
        shared_cpu=_shared_cpu(environ),
        approve_own=_first(environ, "HOLDFAST_APPROVE_OWN", "AUTO_APPROVE_DEVICES").lower()
        == "true",
        child_env=child_environment(environ),
    )


def read_observing(environ: Mapping[str, str]) -> Observing:
    """Return what the observer is told; raises nothing, since no boot may fail for it."""
    for name, word in (("HOLDFAST_OBSERVER", "false"), ("KILOCLAW_CLAWMETRY_DISABLED", "true")):
        if environ.get(name, "").strip().lower() == word:
            return Observing(off=f"{name}={word} turns it off")
    wanted = ("HOLDFAST_PLANE_URL", "HOLDFAST_CONSENT_KEY", "HOLDFAST_CONSENT_NODE")
    missing = [name for name in wanted if not environ.get(name)]
    if missing:
        return Observing(off=f"the plane did not tell what it needs: {', '.join(missing)}")
    plane_url, consent_key, consent_node = (environ[name] for name in wanted)
    return Observing(plane_url=plane_url, consent_key=consent_key, consent_node=consent_node)


def read_proxying(environ: Mapping[str, str]) -> Proxying:
    """Return the settings of the proxy; raise SettingError."""
    required = _first(environ, "HOLDFAST_REQUIRE_PROXY_TOKEN", "REQUIRE_PROXY_TOKEN")
    return Proxying(
        require_token=required.strip().lower() == "true",
        sockets_max=_number(environ, "MAX_WS_CONNS", default=limits.SOCKETS_MAX),
        idle_ms=_number(environ, "WS_IDLE_TIMEOUT_MS", default=limits.SOCKET_IDLE_MS),
        handshake_ms=_number(environ, "WS_HANDSHAKE_TIMEOUT_MS", default=limits.HANDSHAKE_MS),
        token=_secret(environ, "HOLDFAST_PROXY_TOKEN"),
        agent_token=_secret(environ, "HOLDFAST_AGENT_TOKEN"),
    )


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment the agent inherits: ours without what is between plane and us."""
    inherited = {
        name: value
        for name, value in environ.items()
        if not is_sealing(name)
        and (name in _TOLD or not name.startswith(_OURS_ALONE))
        and name not in _MACHINE_SECRETS
    }
    for name, value in environ.items():
        if name.startswith(_CARRIED):
            inherited.setdefault(name.removeprefix(_CARRIED), value)
    return inherited


def _shared_cpu(environ: Mapping[str, str]) -> bool:
    provider = environ.get("KILOCLAW_RUNTIME_PROVIDER")
    fly = provider == "fly" if provider is not None else "FLY_MACHINE_ID" in environ
    return fly and environ.get("KILOCLAW_MACHINE_CPU_KIND") == "shared"


def _drain_ms(environ: Mapping[str, str]) -> int | None:
    if not environ.get("HOLDFAST_DRAIN_MS"):
        return None
    return _number(environ, "HOLDFAST_DRAIN_MS", default=0, least=0)


def _figures(text: str) -> dict[str, int]:
    """Return figures of supervision, checked by name; see docs/supervision.md."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        message = "HOLDFAST_SUPERVISION: want a JSON object of whole numbers"
        raise SettingError(message)
    known = {field.name for field in fields(Policy) if field.type == "int"}
    for name, value in given.items():
        if name not in known:
            message = f"HOLDFAST_SUPERVISION: want names of {', '.join(sorted(known))}"
            raise SettingError(message)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            message = f"HOLDFAST_SUPERVISION: {name} must be a whole number of at least 0"
            raise SettingError(message)
    return given


def _arguments(text: str) -> tuple[str, ...]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        message = "HOLDFAST_AGENT_ARGS: not JSON; want an array of strings"
        raise SettingError(message) from None
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        message = "HOLDFAST_AGENT_ARGS: want a JSON array of strings"
        raise SettingError(message)
    return tuple(given)


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _secret(environ: Mapping[str, str], *names: str) -> Secret:
    """Return the first of these variables that is set, as a secret; raise SettingError."""
    name = next((name for name in names if environ.get(name)), names[0])
    try:
        return Secret.read(environ.get(name, ""), name)
    except SecretError as error:
        raise SettingError(str(error)) from None


def _url(environ: Mapping[str, str], route: str, *names: str) -> str:
    """Return the URL of one of the plane's routes, given in full or by the plane's own URL."""
    name = next((name for name in names if environ.get(name)), "HOLDFAST_PLANE_URL")
    given = environ.get(name, "")
    try:
        if given and name == "HOLDFAST_PLANE_URL":
            return Base.parse(given).url(f"/api/controller/{route}")
        if given:
            Place.parse(given)
    except ValueError as error:
        raise SettingError(f"{name}: {error}") from None
    return given


def _port(environ: Mapping[str, str], *names: str, default: int) -> int:
    name = next((name for name in names if environ.get(name)), names[0])
    port = _number(environ, name, default=default, least=0)
    if port > _PORT_MAX:
        message = f"{name}: not a port; want 0 (any free one) to {_PORT_MAX}"
        raise SettingError(message)
    return port


def _number(environ: Mapping[str, str], name: str, *, default: int, least: int = 1) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    number = parsers.whole(text)
    if number is None or number < least:
        message = f"{name}: want a whole number from {least} to {parsers.WHOLE_MAX}"
        raise SettingError(message)
    return number
