"""Consent of nodes in memory: what is granted is a call, and a plane is made over it."""

from __future__ import annotations

from typing import Any, Literal

from holdfast.plane.wiring.content import Content, make_content
from holdfast.wire.api.call import Refusal
from holdfast.wire.consent import (
    CLASSES,
    INTENT_CLASSES,
    UNKNOWN,
    ContentClass,
    SignedDocument,
    Standing,
    node_of_instance,
    node_of_name,
)


class ToyConsents:
    """Both ports: a node that is registered is pending until it is granted something.

    `wire` stands in for `make_content` in the wiring of a plane: content then asks this consent,
    whatever other the plane has.
    """

    def __init__(self) -> None:
        self.known: dict[str, Standing] = {}
        self.registered: list[tuple[str, str, str]] = []
        self.intents: list[tuple[str, str]] = []
        self.seen: list[tuple[str, int]] = []
        self.failing = False
        self.intent_fails: Exception | None = None

    def wire(self, core: Any, observed: Any, *others: Any, **named: Any) -> Content:
        return make_content(core, observed, self, self, others[-1], **named)

    def standing(self, node: str) -> Standing:
        return self.known.get(node, UNKNOWN)

    async def register(
        self,
        account: str,
        name: str,
        *,
        instance: str,
        source: Literal["auto", "person"],
        by: str,
        credential: str,
    ) -> str:
        if self.failing:
            raise OSError("consent was told to fail")
        node = node_of_instance(account, instance) if instance else node_of_name(account, name)
        self.registered.append((node, source, credential))
        if node not in self.known:
            self.grant(node, INTENT_CLASSES if source == "person" else (), account=account)
        return node

    async def intent(self, node: str, *, by: str, credential: str, address: str = "") -> bool:
        if self.intent_fails is not None:
            raise self.intent_fails
        self.intents.append((node, credential))
        standing = self.standing(node)
        if not standing.registered:
            raise Refusal(403, "unknown_node", "there is no such node")
        if standing.intent_ms:
            return True
        self.grant(node, INTENT_CLASSES)
        return False

    def numbers_seen(self, node: str, number: int) -> None:
        self.seen.append((node, number))

    def grant(
        self,
        node: str,
        classes: tuple[ContentClass, ...] = CLASSES,
        *,
        account: str = "local",
        document: SignedDocument | None = None,
    ) -> None:
        """Have these classes granted and no other."""
        self.known[node] = Standing(
            registered=True,
            account=account,
            classes=frozenset(classes),
            reason="intent_started" if classes else "intent_pending",
            grant=document,
            number=0,
            intent_ms=1 if classes else None,
        )

    def revoke(self, node: str) -> None:
        """Have nothing granted any more."""
        self.grant(node, ())
