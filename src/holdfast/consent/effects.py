"""Carries out what consent decided: signs documents, and has stored content deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.actors.definition import EffectCall
from holdfast.consent.ports import ContentDeletion, DeleteCall, Deleted, SignCall, Signer
from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.wire.consent import from_base64url


class ConsentCalls:
    """The executor of every effect of a node."""

    def __init__(self, signer: Signer, deletion: ContentDeletion) -> None:
        self._signer = signer
        self._deletion = deletion

    async def execute(self, call: EffectCall) -> Outcome[Any]:
        """Sign a document, or delete; what either raises becomes a failure that is tried again."""
        match call.body:
            case SignCall(payload=payload):
                return Ok(await asyncio.to_thread(self._signer.sign, from_base64url(payload)))
            case DeleteCall(classes=classes):
                return Ok(Deleted(await self._deletion.delete(call.actor.id, classes)))
            case other:
                return Permanent("unknown_call", f"consent makes no {type(other).__name__}")
