"""An instance's channel tokens and secrets: which are set, never what they are. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from holdfast.web.parts.words import Badge
from holdfast.wire.api.secrets import SecretField, SecretGroup, SecretList


class FieldRow(NamedTuple):
    """One value that can be given."""

    key: str
    label: str
    variable: str
    is_set: bool


class GroupRow(NamedTuple):
    """Values that belong together; `removal` is the change that takes all of them away."""

    id: str
    label: str
    badge: Badge
    is_set: bool
    all_required: bool
    fields: tuple[FieldRow, ...]
    removal: dict[str, Any]


class SecretsPanel(NamedTuple):
    """The panel; `variables` are those that the catalogue has fields for."""

    groups: tuple[GroupRow, ...]
    custom: tuple[tuple[str, str], ...]
    restart_needed: bool
    variables: frozenset[str]


def secrets_panel(found: SecretList) -> SecretsPanel:
    """Return the panel, what is set first."""
    groups = sorted((_group(each) for each in found.groups), key=lambda row: not row.is_set)
    return SecretsPanel(
        groups=tuple(groups),
        custom=tuple((each.name, each.config_path) for each in found.custom),
        restart_needed=found.restart_needed,
        variables=frozenset(field.variable for group in found.groups for field in group.fields),
    )


def _group(group: SecretGroup) -> GroupRow:
    """Return one group; where all are required, some are as good as none."""
    fields = group.fields
    there = [field for field in fields if field.is_set]
    badge = Badge("set", "ok") if there else Badge("not set", "off")
    if there and group.all_required and len(there) < len(fields):
        badge = Badge("incomplete", "warn", "It works when all of its values are set.")
    return GroupRow(
        id=group.id,
        label=group.label,
        badge=badge,
        is_set=bool(there),
        all_required=group.all_required,
        fields=tuple(_field(field) for field in fields),
        removal={"secrets": {field.key: None for field in there}},
    )


def _field(field: SecretField) -> FieldRow:
    return FieldRow(field.key, field.label, field.variable, field.is_set)
