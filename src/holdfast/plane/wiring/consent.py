"""Makes consent: its kind of actor, the memory of committed rows, signatures, and handlers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, make_kind
from holdfast.actors.limiter import Limiter
from holdfast.consent.actions import DELETER, SIGNER
from holdfast.consent.definition import NODE_DEFINITION, Policy
from holdfast.consent.effects import ConsentCalls
from holdfast.consent.handlers import Deps, Nodes, handlers
from holdfast.consent.index import NodeIndex
from holdfast.consent.limits import (
    DELETE_TIMEOUT_MS,
    RENEW_AGAIN_S,
    RENEW_FIRST_S,
    SIGN_TIMEOUT_MS,
)
from holdfast.consent.ports import ContentDeletion
from holdfast.consent.views import NODE_VIEW
from holdfast.kernel.failure import brief
from holdfast.letters import topics
from holdfast.letters.names import NameOf, unnamed
from holdfast.plane.consent_key import ConsentKey, key_id, read_consent_key, rotate_consent_key
from holdfast.plane.key_folder import KeysError
from holdfast.plane.wiring.consent_renewal import Renewal
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part, every
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.consent import SigningKey, SigningKeys
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.times import time_text

SIGNATURES_MAX: Final = 32
DELETIONS_MAX: Final = 4
"""Calls made concurrently; a signature takes less than a millisecond, a deletion minutes."""
CALLS_PER_S: Final = 1_000.0
_NAMED_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentMade:
    """What the intake of content asks: `index` is its `Consents`, `nodes` its `Nodes`.

    `renewal` has grants signed anew after a rotation.
    """

    index: NodeIndex
    nodes: Nodes
    renewal: Renewal
    part: Part


def node_kind() -> Kind:
    """Return the kind of actor."""
    return make_kind(NODE_DEFINITION, Policy())


def make_consent(
    core: Core, deletion: ContentDeletion, *, name_of: NameOf = unnamed
) -> ConsentMade:
    """Return the memory, the port of clients, and the part with the handlers."""
    index = NodeIndex(core.clock)
    key, folder, turn = core.consent_key, core.settings.keys_folder, asyncio.Lock()

    async def fill() -> None:
        await index.fill(core.stores.reader)

    renewal = Renewal(
        index, core.mailbox, key=lambda: key.key_id, chance=core.chance, clock=core.clock,
        log=core.log,
    )  # fmt: skip

    async def rotate(now_ms: int) -> SigningKeys:
        async with turn:
            rotated = await _rotate(key, folder, now_ms)
        core.run(renewal.run())
        return rotated

    async def check_key() -> DoctorCheck:
        left = index.signed_with_others(key.key_id)
        return await asyncio.to_thread(_check, key, folder, left)

    async def check_rows() -> DoctorCheck:
        return _check_rows(index)

    deps = Deps(
        mailboxes=core.mailbox,
        reader=core.stores.reader,
        index=index,
        chance=core.chance,
        clock=core.clock,
        keys=lambda: signing_keys(key),
        rotate=rotate,
        name_of=name_of,
    )
    execute = ConsentCalls(key, deletion).execute

    def provider(concurrency: int, timeout_ms: int) -> Provider:
        gate = Limiter(core.clock, concurrency=concurrency, rate_per_s=CALLS_PER_S)
        return Provider(execute=execute, gate=gate, timeout_ms=timeout_ms)

    part = Part(
        name="consent",
        kinds=(node_kind(),),
        providers={
            SIGNER: provider(SIGNATURES_MAX, SIGN_TIMEOUT_MS),
            DELETER: provider(DELETIONS_MAX, DELETE_TIMEOUT_MS),
        },
        handlers=handlers(deps),
        on_commit=(index.on_commit,),
        topics={NODE_VIEW: topics.NODE},
        start=fill,
        checks=(check_key, check_rows),
        jobs=(every("consent.renew", renewal.run, RENEW_AGAIN_S, core.log, first_s=RENEW_FIRST_S),),
    )
    nodes = Nodes(core.mailbox, index, core.chance, core.run)
    return ConsentMade(index=index, nodes=nodes, renewal=renewal, part=part)


def signing_keys(key: ConsentKey) -> SigningKeys:
    """Return the public keys for the API."""
    return SigningKeys(
        keys=tuple(
            SigningKey(
                id=key_id(one.public_key),
                public_key=one.public_key,
                created_at=time_text(one.created_ms),
            )
            for one in key.keys
        ),
        successors=key.successors,
    )


async def _rotate(key: ConsentKey, folder: Path, now_ms: int) -> SigningKeys:
    try:
        rotated = await asyncio.to_thread(rotate_consent_key, folder, now_ms=now_ms)
    except KeysError as error:
        raise Refusal(409, "key_not_rotated", f"{brief(error)}.") from None
    key.follow(rotated)
    return signing_keys(key)


def _check_rows(index: NodeIndex) -> DoctorCheck:
    """Return whether the row of every node can be read."""
    counts = index.counts(None)
    if index.damaged:
        named = ", ".join(sorted(index.damaged)[:_NAMED_MAX])
        return DoctorCheck(
            name="consent-rows",
            result="failed",
            message=f"{len(index.damaged)} nodes cannot be read, so nothing may leave: {named}",
            fix="holdfast restore with a backup from before",
        )
    text = f"{counts.get('nodes', 0)} nodes, {counts.get('granted', 0)} with something granted"
    return DoctorCheck(name="consent-rows", result="ok", message=text)


def _check(key: ConsentKey, folder: Path, left: int) -> DoctorCheck:
    """Return whether the signing key on the disk is the one in use, and signed what is granted."""
    fix = "restore it from the backup, or start the plane again"
    try:
        stored = read_consent_key(folder)
    except (KeysError, OSError) as error:
        return DoctorCheck(name="consent-key", result="failed", message=brief(error), fix=fix)
    if stored is None or stored.public_key != key.public_key:
        text = "the key that signs consent is not the one in the keys folder"
        return DoctorCheck(name="consent-key", result="failed", message=text, fix=fix)
    text = f"{key.key_id} signs grants and receipts; {len(key.keys)} public keys verify them"
    if left:
        text += f"; {left} nodes have a grant by an earlier key, which is signed anew"
    return DoctorCheck(name="consent-key", result="ok", message=text)
