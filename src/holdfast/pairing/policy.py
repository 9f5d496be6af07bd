"""Rules that approve a request without a person. Pure; in doubt a rule does not match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from holdfast.pairing.requests import Kind, Waiting
from holdfast.wire.api.pairing import ANYBODY


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A rule of approval; `*` means any, and an omitted field never does.

    `scopes` are all that a device may request. Times are ms since the epoch; `expires_ms` 0 is
    for ever.
    """

    id: str
    kind: Kind
    sender: str
    channel: str = ""
    role: str = ""
    scopes: tuple[str, ...] = ()
    expires_ms: int = 0
    by: str = ""
    created_ms: int = 0


def judge(rules: Iterable[Rule], request: Waiting, now_ms: int) -> Rule | None:
    """Return the first rule that matches the request, or None."""
    return next((rule for rule in rules if lets_in(rule, request, now_ms)), None)


def lets_in(rule: Rule, request: Waiting, now_ms: int) -> bool:
    """Return whether one rule matches a request."""
    asked = request.asked
    if rule.kind != asked.kind or (rule.expires_ms and now_ms >= rule.expires_ms):
        return False
    if rule.sender not in {ANYBODY, asked.sender}:
        return False
    if asked.kind == "channel":
        return rule.channel == asked.channel
    return _has_role(rule.role, request.roles) and _within(rule.scopes, request.scopes)


def _has_role(allowed: str, roles: Sequence[str]) -> bool:
    """Return whether every requested role is the allowed one; false without any."""
    if allowed == ANYBODY:
        return True
    return bool(roles) and all(role == allowed for role in roles)


def _within(cap: Sequence[str], scopes: Sequence[str] | None) -> bool:
    """Return whether the requested scopes are within the cap; unknown ones are not."""
    if ANYBODY in cap:
        return True
    return scopes is not None and set(scopes) <= set(cap)


def problem(rule: Rule) -> tuple[str, str] | None:
    """Return (field, error) of an invalid rule, or None."""
    if rule.kind == "channel":
        if not rule.channel:
            return "channel", "a channel's rule names its channel"
        if rule.role or rule.scopes:
            return "role" if rule.role else "scopes", "roles and scopes are for devices"
    else:
        if rule.channel:
            return "channel", "a device has no channel"
        if not rule.role:
            return "role", "a device's rule names the role, or * for any"
    return None


def remembered(request: Waiting, *, rule_id: str, by: str, now_ms: int) -> Rule | None:
    """Return the rule that would approve the same sender again, or None if there is none.

    A device with unknown role or scopes cannot be remembered: the rule would have to allow
    any.
    """
    asked = request.asked
    if not asked.sender:
        return None
    if asked.kind == "channel":
        return Rule(
            id=rule_id,
            kind="channel",
            sender=asked.sender,
            channel=asked.channel,
            by=by,
            created_ms=now_ms,
        )
    if len(request.roles) != 1 or request.scopes is None:
        return None
    return Rule(
        id=rule_id,
        kind="device",
        sender=asked.sender,
        role=request.roles[0],
        scopes=tuple(sorted(set(request.scopes))),
        by=by,
        created_ms=now_ms,
    )
