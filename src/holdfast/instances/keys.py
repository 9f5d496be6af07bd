"""A machine's key and tokens over time: when they are renewed, who has which, what is still good.

A new key is stored before any machine gets it, and from then on the plane accepts it; it replaces
the old one only when it has arrived. The old one stays valid until its own expiry, so a machine
that was not reached keeps working, and is launched anew before that moment. Pure: the fold is here,
and rules use the functions at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Verdict
from holdfast.instances import events
from holdfast.instances.limits import (
    DOUBT_MS,
    HAND_OVER_CAP_MS,
    HAND_OVER_FIRST_MS,
    RELAUNCH_MS,
)
from holdfast.instances.policy import Policy
from holdfast.instances.state import Credentials, Instance, may_be_up
from holdfast.instances.transitions import settled
from holdfast.kernel.backoff import Backoff

_BACKOFF: Final = Backoff(first_ms=HAND_OVER_FIRST_MS, cap_ms=HAND_OVER_CAP_MS)
_STALE: Final = "of an older incarnation or an abandoned call"

# --------------------------------------------------------------------------------- fold


def launched(credentials: Credentials, key_hash: str, token_version: int) -> Credentials:
    """Return the credentials after a machine was launched with this key and these tokens."""
    if not key_hash:
        return credentials
    if key_hash == credentials.pending_hash:
        credentials = _promoted(credentials)
    return replace(
        credentials,
        live_hash="" if key_hash == credentials.key_hash else key_hash,
        live_token_version=0 if token_version == credentials.token_version else token_version,
        tries=0,
        tried_ms=0,
        doubt_until_ms=0,
    )


def _promoted(old: Credentials) -> Credentials:
    """Return the credentials with the pending key in force and the one before it until expiry."""
    ends = [ms for ms in (old.key_expires_ms, old.renew_until_ms) if ms]
    return replace(
        old,
        key_hash=old.pending_hash,
        sealed_key=old.pending_sealed,
        key_expires_ms=old.pending_expires_ms,
        previous_hash=old.key_hash,
        previous_expires_ms=min(ends) if ends else old.pending_expires_ms,
        pending_hash="",
        pending_sealed="",
        pending_expires_ms=0,
        renew_until_ms=0,
        live_hash=old.live_hash or old.key_hash,
    )


def _minted(state: Instance, event: events.KeyMinted, _at: At) -> Verdict[Instance]:
    if state.job is None or state.job.serial != event.serial:
        return Ignored(_STALE)
    pending = replace(
        state.credentials,
        pending_hash=event.key_hash,
        pending_sealed=event.sealed_key,
        pending_expires_ms=event.expires_ms,
        tries=0,
        tried_ms=0,
    )
    return Applied(replace(settled(state, event.serial), credentials=pending))


def _handed_over(state: Instance, event: events.SecretsHandedOver, at: At) -> Verdict[Instance]:
    """Take what arrived, whether or not it is still waited for: a fact is a fact."""
    current = event.epoch == state.epoch
    credentials = state.credentials
    if event.key_hash == credentials.pending_hash != "":
        credentials = _promoted(credentials)
    if event.pushed and current:
        new_key = event.key_hash == credentials.key_hash
        new_tokens = event.token_version == credentials.token_version
        credentials = replace(
            credentials,
            live_hash="" if new_key else event.key_hash,
            live_token_version=0 if new_tokens else event.token_version,
            tries=0,
            tried_ms=0,
            doubt_until_ms=0,
        )
    elif current:
        credentials = failed(credentials, at.now_ms)
    faults = {name: kept for name, kept in state.faults.items() if name != "secrets"}
    return Applied(replace(settled(state, event.serial), credentials=credentials, faults=faults))


def _rotate_key(state: Instance, event: events.KeyRotated, _at: At) -> Verdict[Instance]:
    old = state.credentials
    if event.key_hash == old.key_hash:
        return Ignored("it is the present key")
    live = (old.live_hash or old.key_hash) if may_be_up(state) else ""
    return Applied(
        replace(
            state,
            credentials=replace(
                old,
                key_hash=event.key_hash,
                sealed_key=event.sealed_key,
                key_expires_ms=event.key_expires_ms,
                previous_hash=old.key_hash,
                previous_expires_ms=event.previous_expires_ms,
                live_hash=live,
            ),
        )
    )


def _rotate_tokens(state: Instance, event: events.TokenRotated, _at: At) -> Verdict[Instance]:
    old, up = state.credentials, may_be_up(state)
    return Applied(
        replace(
            state,
            credentials=replace(
                old,
                token_version=old.token_version + 1,
                previous_token_version=old.token_version,
                previous_token_expires_ms=event.previous_expires_ms,
                live_token_version=(old.live_token_version or old.token_version) * up,
                renew_until_ms=event.previous_expires_ms if event.renew_key else old.renew_until_ms,
                tries=0,
                tried_ms=0,
            ),
        )
    )


def _reseal(state: Instance, event: events.SecretsResealed, _at: At) -> Verdict[Instance]:
    """Put the new texts in the places of the old ones; no version grows, for nothing differs."""
    new, config, credentials = event.sealed, state.config, state.credentials
    secrets = {name: new.get(text, text) for name, text in config.secrets.items()}
    resealed = replace(
        credentials,
        sealed_key=new.get(credentials.sealed_key, credentials.sealed_key),
        pending_sealed=new.get(credentials.pending_sealed, credentials.pending_sealed),
    )
    if (secrets, resealed) == (config.secrets, credentials):
        return Ignored("nothing is sealed as it was then")
    return Applied(replace(state, config=replace(config, secrets=secrets), credentials=resealed))


FOLDS: Final[dict[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.KeyMinted: _minted,
    events.SecretsHandedOver: _handed_over,
    events.KeyRotated: _rotate_key,
    events.TokenRotated: _rotate_tokens,
    events.SecretsResealed: _reseal,
}

# ---------------------------------------------------------------------------- questions


def due_ms(state: Instance, policy: Policy) -> int | None:
    """Return from when on a new key is to be made, or None when none is; 0 for at once."""
    credentials = state.credentials
    if credentials.pending_hash:
        return None
    if credentials.renew_until_ms:
        return 0
    if not credentials.key_expires_ms or not policy.key_renew_ms:
        return None
    return credentials.key_expires_ms - policy.key_renew_ms


def lacks(state: Instance) -> str:
    """Return what the running machine does not have yet, in words, or nothing."""
    credentials = state.credentials
    key = credentials.pending_hash or credentials.live_hash
    if credentials.doubt_until_ms:
        return "the machine may not have its present key and tokens"
    if key and credentials.live_token_version:
        return "the machine does not have its new key and tokens"
    if key:
        return "the machine does not have its new key"
    return "the machine does not have its new tokens" if credentials.live_token_version else ""


def retry_ms(state: Instance) -> int:
    """Return when making or handing over may be tried again, in ms since the epoch."""
    credentials = state.credentials
    if not credentials.tries:
        return 0
    return credentials.tried_ms + _BACKOFF.delay_ms(credentials.tries, state.id)


def relaunch_ms(state: Instance) -> int | None:
    """Return when a machine that took no new secrets must be launched anew, or None.

    Only after a try: what it has now is good until then, and handing over is cheaper.
    """
    credentials = state.credentials
    if not credentials.tries:
        return None
    ends = []
    if credentials.live_hash and not credentials.pending_hash:
        ends.append(credentials.previous_expires_ms)
    if credentials.live_token_version:
        ends.append(credentials.previous_token_expires_ms)
    if credentials.doubt_until_ms:
        ends.append(credentials.doubt_until_ms + RELAUNCH_MS)
    return min(ends) - RELAUNCH_MS if ends else None


def doubted(old: Credentials, now_ms: int) -> Credentials:
    """Return the credentials where the running machine may have others than are known here.

    Key and tokens are handed over once more, which a machine that knows these tokens takes without
    a restart. One that refuses has newer ones, and is launched anew after `DOUBT_MS`.
    """
    return replace(old, doubt_until_ms=now_ms + DOUBT_MS, tries=0, tried_ms=0)


def failed(credentials: Credentials, now_ms: int) -> Credentials:
    """Return the credentials after making or handing over came to nothing: all stays in force."""
    return replace(credentials, tries=credentials.tries + 1, tried_ms=now_ms)
