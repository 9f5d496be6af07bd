"""The letters that an instance sends."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

PAIRING: Final = "pairing"
"""The kind of actor that receives them, at the instance's own id."""
NODE: Final = "node"
"""The kind that receives them too, at the id of the instance's node (`wire.consent`)."""


class InstanceDestroyed(Struct, frozen=True, kw_only=True, tag="InstanceDestroyed", gc=False):
    """The instance is destroyed and nothing of it is left; `account` owned it."""

    account: str
