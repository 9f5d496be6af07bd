"""Authentication and authorisation: identity, scope, CSRF, origin, hosts, trusted proxies.

A bearer token needs no protection against forged requests, because no browser sends one by
itself. A session cookie does: the request must come from our own origin and repeat the session's
change secret, which cannot be computed from the cookie. Machines are authenticated by their
handler; here only the presence of both credentials is checked, because 401 comes before the body is
read.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from holdfast.accounts.browser import SESSION_COOKIE, BrowserSessions
from holdfast.plane.edge.ports import Authenticator, KeyOwner
from holdfast.wire import parsers
from holdfast.wire.api.call import Principal, Refusal
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.limits import IDEMPOTENCY_KEY_MAX

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ANONYMOUS: Final = Principal("anonymous", "public", None, "anonymous")
MACHINE: Final = Principal("machine", "machine", None, "machine")
GATEWAY_HEADERS: Final = ("x-holdfast-gateway-token", "x-kiloclaw-gateway-token")
NODE_KEY_HEADER: Final = "x-api-key"
"""Where the ClawMetry daemon sends its key; other parts of it send it as a bearer token."""
HOPS_MAX: Final = 16
"""Addresses of `x-forwarded-for` that are evaluated, from the end."""

CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf"

_WITH_PORT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::[0-9]+)?")
_LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
_KEY: Final = re.compile(rf"[!-~]{{1,{IDEMPOTENCY_KEY_MAX}}}")

_GRANTS: Final = {
    "public": frozenset({"public", "owner", "operator", "machine", "brain", "node", "attempt"}),
    "machine": frozenset({"machine"}),
    "brain": frozenset({"brain"}),
    "node": frozenset({"node"}),
    "attempt": frozenset({"attempt"}),
    "owner": frozenset({"owner", "operator"}),
    "operator": frozenset({"operator"}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from, after evaluating forwarded headers."""

    peer: str
    host: str
    secure: bool
    trusted_proxy: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller; `change_secret` is empty for anything but a session."""

    principal: Principal
    change_secret: str = ""

    def __repr__(self) -> str:
        """Return a form without the secret."""
        return f"Identity({self.principal!r})"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return comma-separated addresses or networks; raise ValueError naming a malformed one."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(ipaddress.ip_network(part, strict=False) for part in parts)


def _within(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks; what is no address is in none."""
    found = parsers.ip(address)
    return found is not None and any(found in network for network in networks)


def is_near(address: str, trusted: Sequence[Network]) -> bool:
    """Return whether many may share an address: this machine's own, or a trusted proxy's."""
    return address == "" or _within(address, (*_LOOPBACK, *trusted))


def _bare(hop: str) -> str:
    """Return an address without the port that some proxies add, which differs with every call."""
    found = _WITH_PORT.fullmatch(hop)
    return hop if found is None else found["v6"] or found["v4"]


def find_caller(
    peer: str, scheme: str, header: Mapping[str, str], trusted: Sequence[Network]
) -> Caller:
    """Return where a request came from; forwarded headers count from trusted proxies only.

    The client is the last address in `x-forwarded-for` that is not itself a trusted proxy:
    earlier ones are written by the client.
    """
    host = header.get("host", "")
    if not trusted or not _within(peer, trusted):
        return Caller(peer=peer, host=host, secure=scheme == "https", trusted_proxy=False)
    hops = header.get("x-forwarded-for", "").rsplit(",", HOPS_MAX)[-HOPS_MAX:]
    hops = [_bare(hop.strip()) for hop in hops if hop.strip()]
    client = next((hop for hop in reversed(hops) if not _within(hop, trusted)), peer)
    return Caller(
        peer=client[:64],
        host=header.get("x-forwarded-host", host).split(",")[0].strip(),
        secure=header.get("x-forwarded-proto", scheme).split(",")[-1].strip() == "https",
        trusted_proxy=True,
    )


def bearer(header: Mapping[str, str]) -> str:
    """Return the bearer token of a request, or an empty text; the scheme is case-insensitive."""
    scheme, _, token = header.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def shown_proof(header: Mapping[str, str]) -> str:
    """Return the credentials of a request as one text; empty if it has none."""
    shown = (header.get(name, "") for name in ("authorization", *GATEWAY_HEADERS))
    return "\x00".join(shown).strip("\x00") or header.get("cookie", "")


def _nobody(_: str) -> Principal | None:
    """Return that no key is known."""
    return None


@dataclass(frozen=True, slots=True)
class Proofs:
    """The port that looks up the credentials of requests."""

    authenticator: Authenticator
    key_owner: KeyOwner
    browsers: BrowserSessions
    node_owner: KeyOwner = _nobody
    attempt_owner: KeyOwner = _nobody


async def identify(
    row: Endpoint, header: Mapping[str, str], proofs: Proofs, *, secure: bool
) -> Identity:
    """Return the caller; refuse (401) wrong or missing credentials, (403) a wrong scope.

    A public row needs none; a token takes precedence over a cookie, also a wrong one.
    Endpoints for brains, nodes and attempts accept their keys only: a session or API token there is
    refused.
    """
    by_key = _BY_KEY.get(row.scope)
    if by_key is not None:
        return Identity(_granted(row, by_key(header, proofs)))
    if row.scope == "machine":
        if not bearer(header) or not any(header.get(name) for name in GATEWAY_HEADERS):
            raise _unauthenticated("both machine credentials are needed")
        return Identity(MACHINE)
    if row.scope == "public":
        return Identity(ANONYMOUS)
    if "authorization" in header:
        principal = await proofs.authenticator.by_token(bearer(header))
        return Identity(_granted(row, principal))
    browsers = proofs.browsers
    bound = browsers.bound(header.get("user-agent", ""), secure=secure)
    for session in browsers.sent(SESSION_COOKIE, header.get("cookie", ""), secure=secure):
        principal = await proofs.authenticator.by_session(session, bound)
        if principal is not None:
            return Identity(_granted(row, principal), browsers.change_secret(session))
    raise _unauthenticated("sign in, or send an API token")


def _brain(header: Mapping[str, str], proofs: Proofs) -> Principal:
    """Return the principal of a brain's key; refuse (401) a wrong one."""
    brain = proofs.key_owner(bearer(header))
    if brain is None:
        raise Refusal(
            401, "not_authenticated", "the brain key is missing, wrong or revoked",
            fix="send `Authorization: Bearer hfb_…` (POST /api/brain-keys makes one)",
        )  # fmt: skip
    return brain


def _node(header: Mapping[str, str], proofs: Proofs) -> Principal:
    """Return the principal of a node's key; refuse (401) a wrong one."""
    node = proofs.node_owner(header.get(NODE_KEY_HEADER) or bearer(header))
    if node is None:
        raise Refusal(
            401, "invalid_api_key", "the node's key is missing, wrong or revoked",
            fix="send `X-Api-Key: cm_…` (POST /api/node-keys makes one)",
        )  # fmt: skip
    return node


def _attempt(header: Mapping[str, str], proofs: Proofs) -> Principal:
    """Return the principal of an attempt's token; refuse (401) a wrong one."""
    attempt = proofs.attempt_owner(bearer(header))
    if attempt is None:
        raise Refusal(
            401, "not_an_attempt", "the token is missing, wrong, or of an attempt that has ended",
            fix="send the `Authorization: Bearer hfa_…` that this attempt was started with; if it"
            " has ended, end the program: its bead was handed on",
        )  # fmt: skip
    return attempt


_BY_KEY: Final[Mapping[str, Callable[[Mapping[str, str], Proofs], Principal]]] = {
    "brain": _brain,
    "node": _node,
    "attempt": _attempt,
}
"""Who looks up the only credential that a row of a scope accepts."""


def _granted(row: Endpoint, principal: Principal | None) -> Principal:
    """Return the principal if its scope is sufficient."""
    if principal is None:
        raise _unauthenticated("sign in, or send an API token")
    if principal.scope not in _GRANTS[row.scope]:
        raise Refusal(
            403, "scope_too_narrow", f"this needs the scope {row.scope}",
            fix=f"ask for a token or person with the scope {row.scope}",
        )  # fmt: skip
    return principal


def _unauthenticated(message: str) -> Refusal:
    return Refusal(
        401, "not_authenticated", message,
        fix="send `Authorization: Bearer hf_…` (holdfast token create), or sign in at /sign-in",
    )  # fmt: skip


def known_hosts(listens_on: str, public_url: str) -> frozenset[str] | None:
    """Return the host names of a plane that listens on loopback; None for any other.

    A plane that listens on the network may have any name there.
    """
    if listens_on != "localhost" and not _within(listens_on, _LOOPBACK):
        return None
    return frozenset({"localhost", urlsplit(public_url).hostname or "localhost"})


def https_host(public_url: str) -> str:
    """Return the host of the public URL as browsers send it, if that is https; else empty."""
    parts = urlsplit(public_url)
    return parts.netloc if parts.scheme == "https" else ""


def check_host(header: Mapping[str, str], known: frozenset[str] | None) -> None:
    """Refuse (421) a request for a host name which is not ours.

    A web page can resolve its own name to this machine's loopback address (DNS rebinding) and is
    then same-origin for the browser. An IP address cannot be rebound. Forwarded headers are not
    evaluated: such a page can send those as well.
    """
    host = header.get("host", "")
    if known is None or not host:
        return
    asked = parsers.host(host)
    name = "" if asked is None else asked.name
    if name in known or name.endswith(".localhost") or parsers.ip(name) is not None:
        return
    raise Refusal(
        421, "unknown_host", "this plane does not go by the name that was asked for", field="host",
        fix="use its address, or set HOLDFAST_PUBLIC_URL to the name it is reached by",
    )  # fmt: skip


def check_origin(header: Mapping[str, str], caller: Caller) -> None:
    """Refuse (403) a mutating call that a browser marks as cross-site."""
    site = header.get("sec-fetch-site", "same-origin")
    origin = header.get("origin")
    same = origin is None or parsers.origin(origin) == caller.host
    if site not in {"same-origin", "none"} or not same:
        raise Refusal(
            403, "cross_site", "this change comes from another site", field="origin",
            fix="use the dashboard's own pages, or an API token",
        )  # fmt: skip


def check_csrf(given: str, identity: Identity) -> None:
    """Refuse (403) a change by a session that does not repeat its change secret."""
    if not hmac.compare_digest(given.encode(), identity.change_secret.encode()):
        raise Refusal(
            403, "csrf", "the change does not come from the page that signed in", field=CSRF_HEADER,
            fix=f"sign in again; programs send `{CSRF_HEADER}` from the answer to signing in",
        )  # fmt: skip


def idempotency_key(header: Mapping[str, str]) -> str:
    """Return the caller's idempotency key, or an empty text; refuse (400) a malformed one."""
    key = header.get("idempotency-key")
    if key is None:
        return ""
    if not _KEY.fullmatch(key):
        raise Refusal(
            400, "bad_idempotency_key", "the idempotency key does not fit", field="idempotency-key",
            fix=f"send 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters",
        )  # fmt: skip
    return key
