"""A plane's signing key for tests, and the answers it would give to heartbeats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.wire.consent import (
    ContentClass,
    Document,
    Grant,
    SignedDocument,
    Successor,
    encode_document,
    signed_bytes,
    to_base64url,
)

NODE = "nd_0123456789abcdef0123"


def to_json(signed: SignedDocument) -> dict[str, str]:
    return {"payload": signed.payload, "key": signed.key, "signature": signed.signature}


class Signer:
    """Signs with a key made from one byte, so that a failure can be repeated."""

    def __init__(self, seed: int = 1) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = to_base64url(self._private.public_key().public_bytes_raw())

    def sign(self, document: Document) -> SignedDocument:
        payload = encode_document(document)
        signature = self._private.sign(signed_bytes(payload))
        return SignedDocument(
            payload=to_base64url(payload), key="k1", signature=to_base64url(signature)
        )

    def grant(
        self,
        number: int,
        classes: Sequence[ContentClass],
        *,
        node: str = NODE,
        at_ms: int = 1_700_000_000_000,
        backfill_from_ms: int = 0,
        until_ms: int = 0,
    ) -> SignedDocument:
        return self.sign(
            Grant(
                version=1,
                node=node,
                number=number,
                classes=tuple(classes),
                at_ms=at_ms,
                backfill_from_ms=backfill_from_ms,
                until_ms=until_ms,
            )
        )

    def successor(self, public: str) -> SignedDocument:
        return self.sign(Successor(version=1, public_key=public, at_ms=1_700_000_000_000))


def answer(
    grant: SignedDocument | None = None,
    *,
    keys: Sequence[SignedDocument] = (),
    sync_allowed: object = True,
    **more: Any,
) -> bytes:
    """Return the body of a heartbeat's answer."""
    body: dict[str, Any] = {"ok": True, "sync_allowed": sync_allowed, **more}
    if grant is not None:
        body["grant"] = to_json(grant)
    if keys:
        body["keys"] = [to_json(key) for key in keys]
    return json.dumps(body).encode()
