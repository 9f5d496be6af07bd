"""How requests are decided: rules in sentences, and the policies that buttons set. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import channel_words
from holdfast.wire.api.pairing import PairingPolicy, PairingRule

_ANYBODY: Final = "*"


class RuleRow(NamedTuple):
    """One rule, in a sentence; `without` is the policy that is left when it is taken away."""

    text: str
    by: str
    expires: Moment | None
    without: dict[str, Any]


class Policy(NamedTuple):
    """How requests are decided; `turned` is the policy of the other mode."""

    uses_rules: bool
    rules: tuple[RuleRow, ...]
    turned: dict[str, Any]
    present: dict[str, Any]


def policy(found: PairingPolicy, *, now_ms: int) -> Policy:
    """Return how an instance decides, with the policies that its buttons would set."""
    uses_rules = found.mode == "rules"
    return Policy(
        uses_rules=uses_rules,
        rules=tuple(
            RuleRow(
                text=rule_words(rule),
                by=rule.by,
                expires=moment(rule.expires_at, now_ms),
                without=_setting(found, tuple(r for r in found.rules if r is not rule)),
            )
            for rule in found.rules
        ),
        turned=_setting(found, found.rules) | {"mode": "manual" if uses_rules else "rules"},
        present=_setting(found, found.rules),
    )


def _setting(found: PairingPolicy, rules: tuple[PairingRule, ...]) -> dict[str, Any]:
    """Return the body that sets a policy, valid only in place of the version `found`."""
    kept = []
    for rule in rules:
        fields = {
            "id": rule.id,
            "kind": rule.kind,
            "channel": rule.channel,
            "sender": rule.sender,
            "role": rule.role,
            "scopes": list(rule.scopes),
            "expires_at": rule.expires_at,
        }
        kept.append({name: value for name, value in fields.items() if value})
    return {"mode": found.mode, "rules": kept, "version": found.version}


def rule_words(rule: PairingRule) -> str:
    """Return a rule as a sentence."""
    who = "anybody" if rule.sender == _ANYBODY else rule.sender
    if rule.kind == "channel":
        if rule.channel in {None, _ANYBODY}:
            return f"{who}, on any channel"
        return f"{who}, on {channel_words(rule.channel or '')}"
    who = "any device" if rule.sender == _ANYBODY else f"device {rule.sender}"
    role = "" if rule.role in {None, _ANYBODY} else f" as {rule.role}"
    if _ANYBODY in rule.scopes:
        return f"{who}{role}, whatever it asks for"
    return f"{who}{role}, asking for {', '.join(rule.scopes) or 'nothing'} at most"
