"""Whether a check-in is taken: every check, in the order of docs/compat/check-in.md.

The order is what other people's controllers were built against: 401 before 400 before 503 before
403, and an unknown machine is refused exactly as a wrong key is. A machine proves two things, its
sandbox with a gateway token and its owner with an API key; the ones before each are good for a
while after a rotation, because a machine learns of a rotation later than the plane. Pure: it
stores nothing and cannot be made to wait.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from holdfast.letters.machine import MachineFacts
from holdfast.wire import parsers
from holdfast.wire.controller.checkin import PROTOCOL, CheckIn
from holdfast.wire.controller.identity import decode_sandbox, gateway_token, key_hash
from holdfast.wire.limits import CHECKIN_BODY_BYTES_MAX, TEXT_MAX

GATEWAY_HEADERS: Final = ("x-holdfast-gateway-token", "x-kiloclaw-gateway-token")
REGION_HEADER: Final = "fly-region"

Find = Callable[[str], MachineFacts | None]

_DECODER: Final = msgspec.json.Decoder(CheckIn)


class Rejected(NamedTuple):
    """Why a call is refused, as HTTP would say it."""

    status: int
    code: str
    message: str
    field: str = ""
    fix: str = ""


class Credentials(NamedTuple):
    """The two proofs that came with a call."""

    api_key: str
    token: str


class Admitted(NamedTuple):
    """A check-in that is proven and well-formed. `ours`: the answer is a directive."""

    facts: MachineFacts
    checkin: CheckIn
    region: str
    ours: bool


NO_CREDENTIALS: Final = Rejected(
    401,
    "credentials_missing",
    "A machine shows two credentials, and at least one is missing.",
    fix="Send `Authorization: Bearer <api key>` and `x-holdfast-gateway-token`.",
)
NO_SECRET: Final = Rejected(
    503,
    "secret_unset",
    "The plane has no gateway token secret, so it can prove no machine.",
    fix="Set HOLDFAST_GATEWAY_TOKEN_SECRET and start the plane again.",
)
NOT_PROVEN: Final = Rejected(
    403, "machine_unproven", "The credentials do not prove this machine.", field="sandboxId"
)
UNDECODABLE: Final = Rejected(
    400,
    "sandbox_undecodable",
    "The sandbox id is neither `ki_` with 32 hexadecimal digits nor base64.",
    field="sandboxId",
)
TOO_LARGE: Final = Rejected(
    413, "body_too_large", f"A check-in has at most {CHECKIN_BODY_BYTES_MAX} bytes."
)


def admit(
    header: Mapping[str, str],
    body: bytes | CheckIn | None,
    *,
    secret: str,
    find: Find,
    now_ms: int,
    trusted_proxy: bool,
) -> Admitted | Rejected:
    """Return the check-in with the facts of its machine, or why it is refused.

    Header names are lower case. A body that is not JSON counts as null, which fits no schema;
    one that the edge has decoded already is taken as it is.
    """
    shown = credentials(header)
    if shown is None:
        return NO_CREDENTIALS
    checkin = body if isinstance(body, CheckIn) else _decode(body)
    if isinstance(checkin, Rejected):
        return checkin
    facts = prove(shown, checkin.sandbox_id, secret=secret, find=find, now_ms=now_ms)
    if isinstance(facts, Rejected):
        return facts
    ours = is_ours(checkin)
    region = _region(header, facts) if trusted_proxy else facts.region
    return Admitted(facts, checkin if ours else _older_half(checkin), region, ours)


def credentials(header: Mapping[str, str]) -> Credentials | None:
    """Return both credentials, or None when one is missing or malformed."""
    scheme, _, api_key = header.get("authorization", "").partition(" ")
    token = header.get(GATEWAY_HEADERS[0]) or header.get(GATEWAY_HEADERS[1], "")
    api_key = api_key.strip()
    if scheme.lower() != "bearer" or not api_key or not token:
        return None
    return Credentials(api_key, token)


def prove(
    shown: Credentials, sandbox: str, *, secret: str, find: Find, now_ms: int
) -> MachineFacts | Rejected:
    """Return the facts of the machine that the credentials prove, or why they prove none.

    The gateway token is checked first and needs no stored fact but its version, so that a caller
    without a token for a sandbox id cannot find out whether the id exists.
    """
    if not secret:
        return NO_SECRET
    facts = find(sandbox)
    if not _token_fits(shown.token, sandbox, secret=secret, facts=facts, now_ms=now_ms):
        return NOT_PROVEN
    if facts is None:
        return NOT_PROVEN if decode_sandbox(sandbox) else UNDECODABLE
    if not _key_fits(shown.api_key, facts, now_ms):
        return NOT_PROVEN
    return facts


def is_ours(checkin: CheckIn) -> bool:
    """Return whether a check-in is of our protocol, in this version or the one before."""
    return checkin.protocol is not None and PROTOCOL - 1 <= checkin.protocol <= PROTOCOL


def _older_half(checkin: CheckIn) -> CheckIn:
    """Return a check-in without the half that is in no protocol of ours.

    What an unknown version means by its fields is not known, so only its older half is used, as
    for a controller that has no other.
    """
    if checkin.protocol is None and not checkin.boot_id and not checkin.outcomes:
        return checkin
    return msgspec.structs.replace(
        checkin,
        protocol=None,
        boot_id="",
        sequence=0,
        epoch=0,
        interval_ms=0,
        earlier_boots=(),
        outcomes=(),
    )


def _decode(body: bytes | None) -> CheckIn | Rejected:
    if body is not None and len(body) > CHECKIN_BODY_BYTES_MAX:
        return TOO_LARGE
    try:
        return parsers.from_json(_DECODER, body or b"null")
    except msgspec.DecodeError as error:
        return Rejected(
            400,
            "checkin_malformed",
            f"The check-in does not fit its schema: {error}"[:500],
            fix="See /api/openapi.json for the fields and their limits.",
        )


def _token_fits(
    token: str, sandbox: str, *, secret: str, facts: MachineFacts | None, now_ms: int
) -> bool:
    """Compare with the token of this version and, for a while, of those before it."""
    version = 0 if facts is None else facts.token_version
    given = token.encode()
    if hmac.compare_digest(gateway_token(secret, sandbox, version=version).encode(), given):
        return True
    if facts is None or version == 0 or now_ms >= facts.previous_token_until_ms:
        return False
    return any(
        hmac.compare_digest(gateway_token(secret, sandbox, version=before).encode(), given)
        for before in {version - 1, facts.live_token_version or version - 1}
    )


def _key_fits(api_key: str, facts: MachineFacts, now_ms: int) -> bool:
    """Compare with the API key on record, the next one, and the one before until it expires."""
    given = key_hash(api_key)
    for known in (facts.api_key_hash, facts.next_key_hash):
        if known and hmac.compare_digest(known, given):
            return True
    if not facts.previous_key_hash or now_ms >= facts.previous_key_until_ms:
        return False
    return hmac.compare_digest(facts.previous_key_hash, given)


def _region(header: Mapping[str, str], facts: MachineFacts) -> str:
    return header.get(REGION_HEADER, "")[:TEXT_MAX] or facts.region
