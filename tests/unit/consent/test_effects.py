"""Signatures and deletions are made, and counted as they came."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.actors.definition import EffectCall
from holdfast.consent.actions import SIGNER
from holdfast.consent.effects import ConsentCalls
from holdfast.consent.ports import DeleteCall, Deleted, SignCall
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.plane.consent_key import make_consent_key
from holdfast.wire.consent import ContentClass, SignedDocument, from_base64url, to_base64url
from tests.unit.consent.rig import NODE


class Stored:
    """Content of one node, by class."""

    def __init__(self) -> None:
        self.rows: dict[ContentClass, int] = {"logs": 3, "memory": 1}

    async def delete(self, node: str, classes: tuple[ContentClass, ...]) -> dict[ContentClass, int]:
        assert node == NODE
        return {each: self.rows.pop(each, 0) for each in classes}


def call(body: Any) -> EffectCall:
    return EffectCall("f1", address("node", NODE), "lane", SIGNER, body, 0, 1, "k")


def test_documents_are_signed_and_content_deleted() -> None:
    key = make_consent_key(bytes(32), now_ms=0)
    calls = ConsentCalls(key, Stored())
    signed = asyncio.run(calls.execute(call(SignCall(1, to_base64url(b"{}")))))
    assert isinstance(signed, Ok)
    assert isinstance(signed.value, SignedDocument)
    assert from_base64url(signed.value.payload) == b"{}"
    gone = asyncio.run(calls.execute(call(DeleteCall(1, ("logs", "files")))))
    assert gone == Ok(Deleted({"logs": 3, "files": 0}))
    assert isinstance(asyncio.run(calls.execute(call(None))), Permanent)
