"""Samples that a signed preview lets out of a node: carried to the page that asked, and not stored.

They are in memory for a minute. The plane can open neither of their two seals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from holdfast.actors import calls
from holdfast.content import limits
from holdfast.content.directory import Directory
from holdfast.content.ports import Consents
from holdfast.content.records import Node
from holdfast.kernel.clock import Clock
from holdfast.wire.api.browser_keys import Carried, ObserverSamples, SamplesView
from holdfast.wire.api.call import Call, Refusal, Reply

OVER: Final = "preview_over"
REPEATED: Final = "preview_repeated"


class _Held(NamedTuple):
    account: str
    number: int
    sealed: str
    until_ms: float


class SampleCalls:
    """One method for each endpoint, and the memory of what is carried."""

    def __init__(self, directory: Directory, consents: Consents, *, clock: Clock) -> None:
        self._directory = directory
        self._consents = consents
        self._clock = clock
        self._held: dict[str, _Held] = {}

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {"samples.get": self.show, "observer.samples": self.take}

    async def purge(self) -> None:
        """Forget what was carried long enough."""
        now_ms = self._clock.steady_ms()
        self._held = {node: one for node, one in self._held.items() if now_ms < one.until_ms}

    async def take(self, call: Call) -> Reply:
        """Take samples; refuse (409) and count those that no preview asks for, late or again."""
        body: ObserverSamples = call.body
        key = self._directory.key(call.principal.token_id)
        node = await self._directory.node(key, body.node_id)
        await self.purge()
        standing = self._consents.standing(node.id)
        held = self._held.get(node.id)
        if standing.preview is None or body.number != standing.preview_number:
            self._refuse(node, body)
            raise Refusal(409, OVER, "no preview asks for these samples now", field="number")
        if held is not None and held.number == body.number:
            self._refuse(node, body)
            raise Refusal(409, REPEATED, "the samples of this preview came already", field="number")
        carried = [one for one in self._held.values() if one.account == node.account]
        if held is None and len(carried) >= limits.SAMPLES_MAX:
            self._refuse(node, body)
            raise Refusal(409, "too_many_samples", "too many samples are carried; ask again soon")
        until_ms = self._clock.steady_ms() + limits.SAMPLES_MS
        self._held[node.id] = _Held(node.account, body.number, body.sealed, until_ms)
        return Reply(Carried(ok=True))

    def _refuse(self, node: Node, body: ObserverSamples) -> None:
        self._directory.refuse(node, "transcripts", "consent", len(body.sealed))

    async def show(self, call: Call) -> Reply:
        """Show what is carried of a node, while the preview that asked for it holds."""
        node = self._directory.find(call.path["id"], call.principal.account)
        if node is None:
            raise calls.missing("node", field="id")
        await self.purge()
        standing = self._consents.standing(node.id)
        asked = standing.preview is not None
        held = self._held.get(node.id)
        if held is None or not asked or held.number != standing.preview_number:
            # The owner has decided about the node since, or asked anew.
            return Reply(SamplesView(asked=asked))
        return Reply(SamplesView(asked=asked, number=held.number, sealed=held.sealed))
