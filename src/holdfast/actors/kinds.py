"""The kinds of actors that a process knows, each with its rules and its policy.

The engine looks a kind up by the first half of an address. A policy is a value that the rules
are given; its contents are kept under their hash, so that a replay can decide by the policy of
its time. Nothing here reads a setting: whoever wires the plane makes the policies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from holdfast.actors.definition import Definition


@dataclass(frozen=True, slots=True)
class Kind:
    """A definition with the policy that its rules are given; `policy_hash` names the policy."""

    definition: Definition[Any, Any, Any, Any]
    policy: Any
    policy_body: bytes
    policy_hash: str


Kinds: TypeAlias = Mapping[str, Kind]


def hash_policy(body: bytes) -> str:
    """Return the name under which a policy's contents are kept: 32 hexadecimal digits."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def make_kind(definition: Definition[Any, Any, Any, Any], policy: Any) -> Kind:
    """Return a kind ready for the engine."""
    body = definition.encode_policy(policy)
    return Kind(definition, policy, body, hash_policy(body))


def make_kinds(*kinds: Kind) -> dict[str, Kind]:
    """Return the table of kinds; raise ValueError when two have the same name."""
    table = {kind.definition.kind: kind for kind in kinds}
    if len(table) != len(kinds):
        message = f"kinds {[kind.definition.kind for kind in kinds]}: a name is used twice"
        raise ValueError(message)
    return table
