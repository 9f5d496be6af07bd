"""What of the agent's record of devices is repaired before it starts: that of its own client.

Releases that keep devices in files may have let their own client in before it needed to see
approvals, and then wait for somebody to approve what nobody can show. Pure: both files go in as
they were read, and come out as they should be. Nobody is let in who was not, no token is made or
brought back, and the one scope that is ever added is that of approvals, where it was approved once
or the owner of the machine said that this client is approved without a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

OPERATOR: Final = "operator"
APPROVALS: Final = "operator.approvals"
_MAY_ASK: Final = frozenset({APPROVALS, "operator.read"})
"""A request for more than these is for a person, even of the agent's own client."""

_CLIENT: Final = "gateway-client"
_MODE: Final = "backend"
_IMPLIED: Final[Mapping[str, str]] = {"operator.write": "operator.read"}
"""What somebody holds besides, by the agent's own rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedStore:
    """Both files as they should be, None for one that is right, and what was done to them."""

    paired: dict[str, Any] | None = None
    pending: dict[str, Any] | None = None
    repaired: int = 0
    removed: int = 0
    token_updated: bool = False


def mend(paired: object, pending: object, own: str, *, trusted: bool) -> RepairedStore:
    """Return what is to be written; raise ValueError for a form that is not known.

    `own` is the id of the device whose key lies in the agent's folder. `trusted` says that the
    owner wants it approved without a person.
    """
    devices, requests = _objects(paired, "paired.json"), _objects(pending, "pending.json")
    device = devices.get(own)
    if device is None or device.get("deviceId", own) != own:
        return RepairedStore()
    asked = {key: entry for key, entry in requests.items() if _is_request(entry, device, own)}
    if not _is_client(device, proven=bool(asked)):
        return RepairedStore()
    fixed, token_updated = _fix(device, trusted=trusted)
    held = _with_implied(_texts(fixed, "scopes"))
    done = {key for key, entry in asked.items() if held.issuperset(_texts(entry, "scopes"))}
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
    """Return whether it is the agent's own client; `proven` stands for a mode that is not said."""
    mode = device.get("clientMode")
    return (
        device.get("clientId") == _CLIENT
        and (mode == _MODE or (mode is None and proven))
        and OPERATOR in _roles(device)
    )


def _is_request(entry: Mapping[str, Any], device: Mapping[str, Any], own: str) -> bool:
    """Return whether the paired device itself asks to see approvals, and for nothing beyond."""
    key = device.get("publicKey")
    return (
        entry.get("deviceId") == own
        and (key is None or entry.get("publicKey", key) == key)
        and (entry.get("clientId"), entry.get("clientMode")) == (_CLIENT, _MODE)
        and _roles(entry) == {OPERATOR}
        and APPROVALS in _texts(entry, "scopes")
        and _MAY_ASK.issuperset(_texts(entry, "scopes"))
    )


def _with_implied(scopes: Sequence[str]) -> set[str]:
    return {*scopes, *(_IMPLIED[scope] for scope in scopes if scope in _IMPLIED)}


def _fix(device: dict[str, Any], *, trusted: bool) -> tuple[dict[str, Any], bool]:
    """Return the device as it should be, and whether its token has another scope."""
    approved = _texts(device, "approvedScopes")
    if not trusted and APPROVALS not in approved:
        return device, False
    fixed = {
        **device,
        "role": device.get("role") or OPERATOR,
        "roles": _with(_texts(device, "roles"), OPERATOR),
        "scopes": _with(_texts(device, "scopes"), APPROVALS),
        # Where none are written, the agent goes by the scopes.
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
