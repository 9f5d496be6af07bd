"""Every environment variable of the observer; no other module of it reads any.

Names of existing observers and agents are read as well (compat/clawmetry-daemon.md), and ours win.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.machine.controller.observing import protocol

_API_KEYS: Final = ("HOLDFAST_API_KEY", "KILOCODE_API_KEY")
_GATEWAY_TOKENS: Final = ("HOLDFAST_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_TOKEN")
_SANDBOXES: Final = ("HOLDFAST_SANDBOX_ID", "KILOCLAW_SANDBOX_ID")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_URLS: Final = ("HOLDFAST_PLANE_URL", "CLAWMETRY_ENDPOINT", "CLAWMETRY_INGEST_URL")


class Settings(NamedTuple):
    """What the observer is told.

    `home` is where the agent's files are, `folder` where the observer keeps its own. `pinned_key`
    and `pinned_node` are the plane's consent key and its id of this node, where whoever starts the
    observer knows them; empty, they are asked of the plane. `credentials` are headers that prove a
    machine of the plane. `within` are the only folders of which files are read; empty, all are.
    `certificates` are where those are that the plane's is checked against, if not the host's.
    """

    url: str
    home: Path
    folder: Path
    openclaw: Path
    workspace: Path
    log_folders: tuple[Path, ...]
    claude: Path
    codex: Path
    hostname: str
    machine_id: str
    source: str
    sandbox: str
    credentials: Mapping[str, str]
    pinned_key: str
    pinned_node: str
    within: tuple[Path, ...] = ()
    certificates: tuple[str, ...] = ()


def process_environment() -> Mapping[str, str]:
    """Return this process's environment; the only place that reads it."""
    return os.environ


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings."""
    home = Path(_first(environ, "HOLDFAST_AGENT_HOME", "HOME") or "/")
    state = _first(environ, "OPENCLAW_STATE_DIR", "CLAWMETRY_OPENCLAW_DIR")
    openclaw = Path(state) if state else _openclaw_home(environ, home)
    temporary = Path(environ.get("TMPDIR") or "/tmp")  # noqa: S108  # where OpenClaw writes its log
    hostname = environ.get("HOSTNAME") or os.uname().nodename
    within = tuple(Path(path) for path in environ.get(protocol.WITHIN, "").split(":") if path)
    logs = (temporary / "openclaw", openclaw / "logs", Path("/data/logs"))
    return Settings(
        url=_first(environ, *_URLS).rstrip("/"),
        home=home,
        folder=Path(environ.get("HOLDFAST_OBSERVER_HOME") or home / ".holdfast" / "observer"),
        openclaw=openclaw,
        workspace=openclaw / "workspace",
        log_folders=tuple(path for path in logs if _is_within(path, within)),
        claude=Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude"),
        codex=Path(environ.get("CODEX_HOME") or home / ".codex"),
        hostname=hostname,
        machine_id=_first(environ, "HOLDFAST_MACHINE_ID", "FLY_MACHINE_ID") or hostname,
        source=environ.get("HOLDFAST_OBSERVER_SOURCE") or "holdfast",
        sandbox=_first(environ, *_SANDBOXES),
        credentials=_credentials(environ),
        pinned_key=environ.get("HOLDFAST_CONSENT_KEY", ""),
        pinned_node=environ.get("HOLDFAST_CONSENT_NODE", ""),
        within=within,
        certificates=tuple(path for name in _CERTIFICATES if (path := environ.get(name))),
    )


def _is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    return not folders or any(path.is_relative_to(folder) for folder in folders)


def _credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the two proofs of a machine, as they go with its check-ins."""
    api_key, token = _first(environ, *_API_KEYS), _first(environ, *_GATEWAY_TOKENS)
    found = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return found | ({"x-holdfast-gateway-token": token} if token else {})


def _openclaw_home(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("OPENCLAW_HOME") or home) / ".openclaw"


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")
