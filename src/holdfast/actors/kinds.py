"""The kinds of actors of a process, each with its definition and its policy.

A kind is looked up by the first half of an address. A policy is an argument of the rules; its
contents are stored under their hash, so that a replay can decide by the policy of its time.
Policies are made in plane/wiring; nothing here reads a setting.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from holdfast.actors.definition import Definition


@dataclass(frozen=True, slots=True)
class Kind:
    """A definition with the policy of its rules; `policy_hash` is the policy's key."""

    definition: Definition[Any, Any, Any, Any]
    policy: Any
    policy_body: bytes
    policy_hash: str


Kinds: TypeAlias = Mapping[str, Kind]


def hash_policy(body: bytes) -> str:
    """Return the key of a policy's stored contents: 32 hexadecimal digits."""
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


class Recipe(NamedTuple):
    """A kind for another process: where its definition is, and its policy's body."""

    found_at: str
    policy_body: bytes


def recipes(kinds: Kinds) -> tuple[Recipe, ...]:
    """Return the recipes of kinds; raise ValueError for one without `found_at`."""
    for kind in kinds.values():
        definition = kind.definition
        try:
            found = _find(definition.found_at)
        except (ImportError, AttributeError, ValueError) as error:
            text = f"definition {definition.kind!r}: found_at {definition.found_at!r}: {error}"
            raise ValueError(text) from error
        if found is not definition:
            text = f"definition {definition.kind!r}: found_at {definition.found_at!r} is another"
            raise ValueError(text)
    return tuple(Recipe(kind.definition.found_at, kind.policy_body) for kind in kinds.values())


def load_kinds(made_by: Sequence[Recipe]) -> dict[str, Kind]:
    """Return the kinds of these recipes."""
    found = [(_find(where), body) for where, body in made_by]
    return make_kinds(*(make_kind(one, one.decode_policy(body)) for one, body in found))


def _find(where: str) -> Definition[Any, Any, Any, Any]:
    """Return the definition at `module:NAME`."""
    module, _, name = where.partition(":")
    definition: Definition[Any, Any, Any, Any] = getattr(importlib.import_module(module), name)
    return definition
