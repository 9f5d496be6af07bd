"""Messages about an instance's channel tokens and secrets: which are set, and setting them.

A value goes in and never comes out. Fields of the catalogue have keys of their own
(`telegramBotToken`); any other secret is custom, named by its environment variable.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Counter, EnvName, EnvValue, Id, Label, Reason
from holdfast.wire.limits import CONFIG_PATH_MAX, ENV_VARIABLES_MAX, SECRET_FIELDS_MAX

CONFIG_PATH_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+){0,15}"
"""Keys of the agent's configuration, joined by dots: `models.providers.openai.apiKey`."""

ConfigPath = Annotated[
    str,
    Meta(min_length=1, max_length=CONFIG_PATH_MAX, pattern=rf"^{CONFIG_PATH_PATTERN}$(?!\n)"),
]
Secret = Annotated[EnvValue, Meta(min_length=1)]


class SecretField(Struct, frozen=True, kw_only=True):
    """One field of the catalogue: its key, its variable, and whether it is set."""

    key: Label
    variable: EnvName
    label: Label
    is_set: bool


class SecretGroup(Struct, frozen=True, kw_only=True):
    """Fields that belong together; with `all_required` either all are set or none."""

    id: Label
    label: Label
    all_required: bool
    fields: Annotated[tuple[SecretField, ...], Meta(max_length=SECRET_FIELDS_MAX)]


class CustomSecret(Struct, frozen=True, kw_only=True):
    """A secret that is in no catalogue; `config_path` is where the agent's file refers to it."""

    name: EnvName
    config_path: Label = ""


class SecretList(Struct, frozen=True, kw_only=True):
    """Which secrets of an instance are set; never a value.

    `configured` lists the keys of set fields and the names of custom secrets. With
    `restart_needed` the machine has yet to be restarted to learn of a change.
    """

    instance: Id
    groups: Annotated[tuple[SecretGroup, ...], Meta(max_length=SECRET_FIELDS_MAX)]
    custom: Annotated[tuple[CustomSecret, ...], Meta(max_length=ENV_VARIABLES_MAX)]
    configured: Annotated[tuple[Reason, ...], Meta(max_length=ENV_VARIABLES_MAX)]
    config_version: Counter
    restart_needed: bool = False


class SecretsPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes: a value sets, null removes, what is not named stays.

    `secrets` is keyed by field keys and variable names, `config_paths` by the variable names of
    custom secrets.
    """

    secrets: Annotated[dict[EnvName, Secret | None], Meta(max_length=ENV_VARIABLES_MAX)] = {}
    config_paths: Annotated[
        dict[EnvName, ConfigPath | None], Meta(max_length=ENV_VARIABLES_MAX)
    ] = {}
