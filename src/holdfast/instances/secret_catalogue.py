"""The secrets that have a name of their own: tokens of channels. Pure data, and what may not be.

A field's key is what people and programs call it, its variable what the machine finds it under.
Everything else is a custom secret, named by its variable. The keys are those of
docs/compat/instance-life.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from holdfast.instances.limits import SECRETS_MAX


class Field(NamedTuple):
    """One secret of the catalogue."""

    key: str
    variable: str
    label: str


class Group(NamedTuple):
    """Fields of one channel; with `all_required` either all are set or none."""

    id: str
    label: str
    fields: tuple[Field, ...]
    all_required: bool = False


CATALOGUE: Final = (
    Group(
        "telegram",
        "Telegram",
        (Field("telegramBotToken", "TELEGRAM_BOT_TOKEN", "Bot token"),),
    ),
    Group(
        "discord",
        "Discord",
        (Field("discordBotToken", "DISCORD_BOT_TOKEN", "Bot token"),),
    ),
    Group(
        "slack",
        "Slack",
        (
            Field("slackBotToken", "SLACK_BOT_TOKEN", "Bot token"),
            Field("slackAppToken", "SLACK_APP_TOKEN", "App token"),
        ),
        all_required=True,
    ),
)

VARIABLES: Final[Mapping[str, str]] = {
    field.key: field.variable for group in CATALOGUE for field in group.fields
}
"""The variable of each field's key."""

_REFERABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
"""What OpenClaw replaces in its configuration: `${NAME}` with such a name, and no other."""

KEYS: Final[Mapping[str, str]] = {variable: key for key, variable in VARIABLES.items()}
"""The field's key of each variable of the catalogue."""


def secrets_problem(names: Collection[str], paths: Mapping[str, str]) -> tuple[str, str] | None:
    """Return (code, message) of why these secrets may not be set together, or None.

    `names` are variables. A message begins with the name of the field it is about.
    """
    for group in CATALOGUE:
        missing = [field.key for field in group.fields if field.variable not in names]
        if group.all_required and missing and len(missing) < len(group.fields):
            text = f"{missing[0]}: {group.label} needs all of its tokens, or none"
            return "secrets_incomplete", text
    custom = [name for name in names if name not in KEYS]
    if len(custom) > SECRETS_MAX:
        return "too_many_secrets", f"secrets: at most {SECRETS_MAX} custom ones for one instance"
    held: dict[str, str] = {}
    for name, path in sorted(paths.items()):
        if name not in names:
            return "no_such_secret", f"{name}: there is no such secret to have a place"
        if name in KEYS:
            return "path_not_yours", f"{name}: where a channel's token stands is known already"
        if not _REFERABLE.fullmatch(name):
            text = f"{name}: only upper-case names can be referred to in a configuration"
            return "path_not_yours", text
        other = held.setdefault(path, name)
        if other != name or _overlaps(path, held, name):
            return "path_taken", f"{name}: another secret stands at or below {path}"
    return None


def _overlaps(path: str, held: Mapping[str, str], name: str) -> bool:
    """Return whether another secret's place lies on the way to this one, or below it."""
    return any(
        other != name and (path.startswith(f"{taken}.") or taken.startswith(f"{path}."))
        for taken, other in held.items()
    )
