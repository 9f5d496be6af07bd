"""Names and ids: an app for each sandbox, and ids that name the app as well. Pure.

Fly addresses a machine or volume by its app and its id, and the port has one id. So ours are
`app.id`, which needs no memory and no search: after a restart each call still goes to the one app
in which the machine can be.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from holdfast.kernel.ids import derive
from holdfast.world.clouds.regions import volume_name

API: Final = "https://api.machines.dev/v1"
"""Where Fly's Machines API answers."""
PREFIX: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")
"""What the names of a plane's apps begin with; they are public, and unique in all of Fly."""
_ID: Final = re.compile(r"(?P<app>[a-z][a-z0-9-]{0,62})\.(?P<own>[a-z0-9_]{1,64})")


class Id(NamedTuple):
    """A machine or volume: its app, and its id within."""

    app: str
    own: str

    def __str__(self) -> str:
        """Return the id as the port has it."""
        return f"{self.app}.{self.own}"


def parse_id(text: str) -> Id | None:
    """Return the parts of an id; None for what this cloud never gave out."""
    found = _ID.fullmatch(text)
    return Id(found["app"], found["own"]) if found is not None else None


def app_of_volume(prefix: str, name: str) -> str:
    """Return the app of a volume by its name: that of the sandbox's machine."""
    return f"{prefix}-{derive('fly', name)}"


def app_of(prefix: str, sandbox_id: str) -> str:
    """Return the app of a sandbox: a full hash, so that no two ever share one."""
    return app_of_volume(prefix, volume_name(sandbox_id))
