"""Ports of consent: bodies and results of effects, who signs, and who deletes."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.wire.consent import ContentClass, SignedDocument


class SignCall(Struct, frozen=True, tag="sign", gc=False):
    """Sign a document: `payload` is its bytes as base64url."""

    number: int
    payload: str


class DeleteCall(Struct, frozen=True, tag="delete", gc=False):
    """Delete what is stored of the node in these classes."""

    serial: int
    classes: tuple[ContentClass, ...]


Body: TypeAlias = SignCall | DeleteCall

encode_body = msgspec.json.Encoder(order="deterministic").encode
decode_body = msgspec.json.Decoder(Body).decode


class Deleted(Struct, frozen=True, gc=False):
    """A finished deletion: rows by class."""

    counts: dict[ContentClass, int]


class Signer(Protocol):
    """Holds the plane's signing key."""

    def sign(self, payload: bytes) -> SignedDocument:
        """Return the payload with its signature."""
        ...


class ContentDeletion(Protocol):
    """Deletes stored content; repeated, it deletes what is left."""

    async def delete(self, node: str, classes: tuple[ContentClass, ...]) -> dict[ContentClass, int]:
        """Return how many rows were deleted by class, once that is durable."""
        ...
