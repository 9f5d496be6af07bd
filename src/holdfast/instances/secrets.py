"""The calls about channel tokens and secrets: which are set, and setting them.

A value is sealed the moment it comes in, and no answer holds one. Whether a set of secrets may be
is decided in the fold; here keys of the catalogue become variables, and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.actors import calls
from holdfast.actors.ports import Mailboxes, Reader
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.ports import Context, Sealer
from holdfast.instances.secret_catalogue import CATALOGUE, KEYS, VARIABLES
from holdfast.instances.views import DETAIL_VIEW, INSTANCE_VIEW, decode_detail
from holdfast.kernel.chance import Chance
from holdfast.kernel.ids import address
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.secrets import (
    CustomSecret,
    SecretField,
    SecretGroup,
    SecretList,
    SecretsPatch,
)

_BAD: Final = frozenset(
    {
        "secrets_incomplete",
        "too_many_secrets",
        "no_such_secret",
        "path_not_yours",
        "path_taken",
        "reserved_name",
        "config_too_large",
    }
)
"""Refusals of the fold that mean a bad request, not a conflict."""


_ABOUT_PATHS: Final = frozenset({"no_such_secret", "path_not_yours", "path_taken"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the handlers need."""

    mailboxes: Mailboxes
    reader: Reader
    sealer: Sealer
    chance: Chance


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return a handler for each row about secrets, by the row's name."""

    async def show(call: Call) -> Reply:
        instance, _ = await _visible(deps.reader, call)
        return Reply(await _listed(deps.reader, instance))

    async def change(call: Call) -> Reply:
        return await _change(deps, call)

    return {"instance.secrets": show, "instance.set-secrets": change}


async def _visible(reader: Reader, call: Call) -> tuple[str, str]:
    """Return (instance, account); refuse with 404 what is not there or not the caller's."""
    instance = call.path["id"]
    row = await calls.visible(call, reader, INSTANCE_VIEW, instance, noun="instance")
    return instance, row[1]


async def _listed(reader: Reader, instance: str) -> SecretList:
    """Return which secrets are set, by the committed row."""
    row = await reader.view(DETAIL_VIEW, instance)
    if row is None:
        raise calls.missing("instance")
    detail = decode_detail(row[0])
    names = set(detail.secret_names)
    custom = sorted(names - KEYS.keys())
    return SecretList(
        instance=instance,
        groups=tuple(
            SecretGroup(
                id=group.id,
                label=group.label,
                all_required=group.all_required,
                fields=tuple(
                    SecretField(
                        key=field.key,
                        variable=field.variable,
                        label=field.label,
                        is_set=field.variable in names,
                    )
                    for field in group.fields
                ),
            )
            for group in CATALOGUE
        ),
        custom=tuple(
            CustomSecret(name=name, config_path=detail.secret_paths.get(name, ""))
            for name in custom
        ),
        configured=tuple(sorted(KEYS.get(name, name) for name in names)),
        config_version=detail.config_version,
        restart_needed=detail.launched_version not in {0, detail.config_version},
    )


async def _change(deps: Deps, call: Call) -> Reply:
    """Seal what came in, have the fold take it, and answer which secrets are set now."""
    body: SecretsPatch = call.body
    instance, account = await _visible(deps.reader, call)
    secrets: dict[str, str | None] = {}
    for name, value in sorted(body.secrets.items()):
        variable = _variable(name)
        sealed = None
        if value is not None:
            sealed = deps.sealer.seal(value, Context(account, instance, variable))
        secrets[variable] = sealed
    event = events.ConfigChanged(secrets=secrets, paths=dict(sorted(body.config_paths.items())))
    answer = await calls.ask(
        call,
        event,
        mailboxes=deps.mailboxes,
        chance=deps.chance,
        actor=address(KIND, instance),
        arrival=arrival,
        dedupe=call.endpoint,
    )
    if answer.stamp is None:
        return calls.pending(answer)
    if answer.stamp.code in _BAD:
        raise _refused(answer.stamp.code, answer.stamp.message)
    calls.refuse_if_refused(answer)
    return Reply(await _listed(deps.reader, instance))


def _variable(name: str) -> str:
    """Return the variable of a field's key, or of a custom secret; refuse (400) the wrong name."""
    if name in KEYS:
        text = f"This variable is the catalogue's {KEYS[name]}."
        raise Refusal(
            400, "bad_field", text, field=f"secrets.{name}", fix=f"Send {KEYS[name]} instead."
        )
    return VARIABLES.get(name, name)


def _refused(code: str, message: str) -> Refusal:
    """Return the refusal of a set that may not be, as a bad request that names the field."""
    named, colon, _ = message.partition(":")
    part = "config_paths" if code in _ABOUT_PATHS else "secrets"
    where = part if named == part or not colon else f"{part}.{named}"
    return Refusal(400, code, message, field=where)
