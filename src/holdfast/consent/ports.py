"""Ports of consent: bodies and results of effects, who signs, who deletes, and the settled rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.consent.state import Node
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

    @property
    def key_id(self) -> str:
        """Return the id of the key that signs."""
        ...

    @property
    def public_key(self) -> str:
        """Return its public key, base64url."""
        ...

    @property
    def successors(self) -> tuple[SignedDocument, ...]:
        """Return the documents in which each earlier key names the next, the oldest first."""
        ...


class ContentDeletion(Protocol):
    """Deletes stored content; repeated, it deletes what is left."""

    async def delete(self, node: str, classes: tuple[ContentClass, ...]) -> dict[ContentClass, int]:
        """Return how many rows were deleted by class, once that is durable."""
        ...


class CommittedNodes(Protocol):
    """The committed rows of nodes."""

    def of(self, node: str) -> Node | None:
        """Return a node without its receipts, or None for an unknown one."""
        ...

    def counts(self, account: str | None) -> Mapping[str, int]:
        """Return how many nodes there are, looked at, and granted anything: of an account or all.

        The keys are `nodes`, `looked_at` and `granted`.
        """
        ...
