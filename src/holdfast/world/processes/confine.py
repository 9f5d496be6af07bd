"""The confinement order of the process cloud to its machines.

The machine applies it (`holdfast.machine.confine`) and receives it in one variable; grants come
from the plane's own environment and settings, never from an owner's variables, which could name
anything. It must never name a folder that holds what an agent may not see.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

VARIABLE: Final = "HOLDFAST_CONFINE_ORDER"
"""The variable read by a controller and by commands run in a machine."""

WRAPPER: Final = (sys.executable, "-I", "-m", "holdfast.machine.controller.run_confined", "--")
"""Runs a command confined, in the environment of a machine."""

Kind: TypeAlias = Literal["auto", "bubblewrap+landlock", "bubblewrap", "landlock", "none"]

_NAMING_FILES: Final = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "NPM_CONFIG_CAFILE", "npm_config_cafile",
)  # fmt: skip


class Confine(Struct, frozen=True, kw_only=True):
    """How machines are confined: `auto` uses all that the host supports.

    `hidden` are folders that no agent may see, except its own in them. `read` and `write` are
    additional grants of an operator. `plane` is the plane's port, 0 for none.
    """

    kind: Kind = "auto"
    hidden: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    plane: int = 0


def order(
    confine: Confine, inherited: Mapping[str, str], ports: tuple[int, int], own: tuple[Path, ...],
    lent: tuple[Path, ...] = (),
) -> str:  # fmt: skip
    """Return the variable's value; `inherited` is of the plane's environment, `own` the machine's.

    `ports` are the first and the last that machines have. `lent` are folders of the plane that may
    be read, though others around them may be hidden.
    """
    fields = {
        "kind": confine.kind,
        "hidden": confine.hidden,
        "write": [str(path) for path in own],
        **({"read": [str(path) for path in lent]} if lent else {}),
        "path": inherited.get("PATH", ""),
        "files": [inherited[name] for name in _NAMING_FILES if inherited.get(name)],
        "asked_read": confine.read,
        "asked_write": confine.write,
        "ports": ports,
        "plane": confine.plane,
    }
    return msgspec.json.encode(fields).decode()
