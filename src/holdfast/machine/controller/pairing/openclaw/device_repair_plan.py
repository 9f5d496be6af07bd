"""The repair of the agent's device records before its start: only those of its own client.

Releases that keep devices in files may have approved their own client before it needed the scope
for approvals, and then wait for an approval that no interface can show. Pure: takes both files as
read, returns them as they should be. No new device is approved, no token is made or restored, and
the only scope ever added is that of approvals, where it was approved once or the owner of the
machine set that this client is approved automatically.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

OPERATOR: Final = "operator"
APPROVALS: Final = "operator.approvals"
_REQUESTABLE: Final = frozenset({APPROVALS, "operator.read"})
"""A request for any other scope needs a person, even from the agent's own client."""

_CLIENT: Final = "gateway-client"
_MODE: Final = "backend"
_IMPLIED: Final[Mapping[str, str]] = {"operator.write": "operator.read"}
"""Scopes that a scope includes, by the agent's own rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedStore:
    """Both files as they should be, None for one that is right, and what was changed."""

    paired: dict[str, Any] | None = None
    pending: dict[str, Any] | None = None
    repaired: int = 0
    removed: int = 0
    token_updated: bool = False


def plan_repair(paired: object, pending: object, own: str, *, trusted: bool) -> RepairedStore:
    """Return what to write; raise ValueError for an unknown form.

    `own` is the id of the device whose key is in the agent's folder. `trusted` means that the owner
    wants it approved automatically.
    """
    devices, requests = _objects(paired, "paired.json"), _objects(pending, "pending.json")
    device = devices.get(own)
    if device is None or device.get("deviceId", own) != own:
        return RepairedStore()
    requested = {key: entry for key, entry in requests.items() if _is_request(entry, device, own)}
    if not _is_client(device, proven=bool(requested)):
        return RepairedStore()
    fixed, token_updated = _fix(device, trusted=trusted)
    held = _with_implied(_texts(fixed, "scopes"))
    done = {key for key, entry in requested.items() if held.issuperset(_texts(entry, "scopes"))}
    return RepairedStore(
        paired={**devices, own: fixed} if fixed != device else None,
        pending={key: entry for key, entry in requests.items() if key not in done}
        if done
        else None,
        repaired=int(fixed != device),
        removed=len(done),
        token_updated=token_updated,
    )


def _objects(content: object, name: str) -> dict[str, dict[str, Any]]:
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        message = f"{name}: not an object of objects"
        raise ValueError(message)
    return content


def _texts(entry: Mapping[str, Any], field: str) -> list[str]:
    found = entry.get(field)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        message = f"{field}: not a list of texts"
        raise ValueError(message)
    return found


def _roles(entry: Mapping[str, Any]) -> set[object]:
    return {entry.get("role"), *_texts(entry, "roles")} - {None, ""}


def _is_client(device: Mapping[str, Any], *, proven: bool) -> bool:
    """Return whether it is the agent's own client; `proven` replaces an absent mode."""
    mode = device.get("clientMode")
    return (
        device.get("clientId") == _CLIENT
        and (mode == _MODE or (mode is None and proven))
        and OPERATOR in _roles(device)
    )


def _is_request(entry: Mapping[str, Any], device: Mapping[str, Any], own: str) -> bool:
    """Return whether the paired device itself requests the scope of approvals, nothing beyond."""
    key = device.get("publicKey")
    return (
        entry.get("deviceId") == own
        and (key is None or entry.get("publicKey", key) == key)
        and (entry.get("clientId"), entry.get("clientMode")) == (_CLIENT, _MODE)
        and _roles(entry) == {OPERATOR}
        and APPROVALS in _texts(entry, "scopes")
        and _REQUESTABLE.issuperset(_texts(entry, "scopes"))
    )


def _with_implied(scopes: Sequence[str]) -> set[str]:
    return {*scopes, *(_IMPLIED[scope] for scope in scopes if scope in _IMPLIED)}


def _fix(device: dict[str, Any], *, trusted: bool) -> tuple[dict[str, Any], bool]:
    """Return the device as it should be, and whether its token got another scope."""
    approved = _texts(device, "approvedScopes")
    if not trusted and APPROVALS not in approved:
        return device, False
    fixed = {
        **device,
        "role": device.get("role") or OPERATOR,
        "roles": _with(_texts(device, "roles"), OPERATOR),
        "scopes": _with(_texts(device, "scopes"), APPROVALS),
        # If none are stored, the agent uses the scopes.
        "approvedScopes": _with(approved or _texts(device, "scopes"), APPROVALS),
    }
    tokens = device.get("tokens")
    if not isinstance(tokens, dict):
        return fixed, False
    token = tokens.get(OPERATOR)
    if not isinstance(token, dict) or token.get("revokedAtMs"):
        return fixed, False
    scopes = _texts(token, "scopes")
    if APPROVALS in scopes:
        return fixed, False
    fixed["tokens"] = {**tokens, OPERATOR: {**token, "scopes": _with(scopes, APPROVALS)}}
    return fixed, True


def _with(texts: list[str], text: str) -> list[str]:
    return texts if text in texts else [*texts, text]
