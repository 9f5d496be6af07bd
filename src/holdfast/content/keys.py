"""The form of nodes' keys, and their ids. Pure: random bytes are an argument."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

ENTROPY_BYTES: Final = 16
_SECRET: Final = re.compile(r"cm_[0-9a-f]{32}")


def make_secret(entropy: bytes) -> str:
    """Return a new key, made of 16 random bytes: the form that the daemon insists on."""
    return "cm_" + entropy.hex()


def looks_right(text: str) -> bool:
    """Return whether a text has the form of a node's key."""
    return _SECRET.fullmatch(text) is not None


def id_of(hashed: str) -> str:
    """Return the id of the key with this hash; it reveals nothing about the key."""
    return "nk_" + hashlib.sha256(b"id:" + hashed.encode()).hexdigest()[:16]


def dashboard_id(node: str) -> str:
    """Return a node's id in the form of a UUID, as clients expect one."""
    return str(uuid.UUID(bytes=hashlib.sha256(b"dashboard:" + node.encode()).digest()[:16]))
