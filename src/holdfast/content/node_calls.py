"""Handlers for observers: ours, and the ClawMetry daemon (docs/compat/clawmetry.md).

A client with a key is never answered with 429 or 503, and what concerns one node has its gate. A
heartbeat reads memory alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from holdfast.actors.ports import MailboxFullError
from holdfast.content import gate
from holdfast.content.accept import ROUTES, kept_facts, refused_parts, text
from holdfast.content.directory import Directory
from holdfast.content.flow import KEEP_AND_RESEND, ContentFlow, Outcome
from holdfast.content.gaps import Gaps
from holdfast.content.ports import Consents, Nodes
from holdfast.content.presence import Presence
from holdfast.content.records import Node, NodeKey
from holdfast.content.registration import Registration, credential
from holdfast.content.senders import Heard, program_of, resends, sender_id
from holdfast.wire import parsers
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.clawmetry import (
    AccountAnswer,
    ApprovalAnswer,
    AuthAnswer,
    AuthRequest,
    ClaimAnswer,
    Heartbeat,
    HeartbeatAnswer,
    IntentAnswer,
    NodeAnswer,
    PendingQuery,
    PoliciesAnswer,
    Upload,
    WakeAnswer,
)
from holdfast.wire.consent import SignedDocument, Standing
from holdfast.wire.limits import COUNTER_MAX, NODE_WAIT_S, NODE_WAIT_S_MAX, SUCCESSORS_MAX

Run = Callable[[Coroutine[Any, Any, Any]], None]
"""Runs something beside the rest."""

_REFUSED: Final[dict[Outcome, tuple[str, str]]] = {
    "consent": (
        "not_consented", "the node's owner has not let this in; keep it and send it later"
    ),
    "quota": ("quota_full", "the node's quota has no room for this; keep it and send it later"),
    "sender": (
        "second_sender", "another program sends for this node; its owner chooses one on its page"
    ),
    "unused": ("unused", "this plane keeps nothing of this kind"),
    "unreadable": ("unreadable", "nothing of it can be read"),
    "older": ("older", "all of it is older than the node's owner has let out"),
}  # fmt: skip
"""Code and message of a body of which nothing is kept."""
_FORBIDDEN: Final = 403
_REPEATED: Final = frozenset({429, 503})
"""Statuses that a client repeats in the loop that must hear of a change, or takes for the end of a
trial: no key is answered with one."""
APPROVAL: Final = "clawmetry.approval"


class NodeCalls:
    """One method for each endpoint for observers."""

    def __init__(
        self,
        directory: Directory,
        flow: ContentFlow,
        registration: Registration,
        presence: Presence,
        gaps: Gaps,
        *,
        consents: Consents,
        nodes: Nodes,
        run: Run,
        successors: Callable[[], tuple[SignedDocument, ...]],
    ) -> None:
        self._directory = directory
        self._flow = flow
        self._registration = registration
        self._presence = presence
        self._gaps = gaps
        self._consents = consents
        self._nodes = nodes
        self._run = run
        self._successors = successors

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {
            **dict.fromkeys(ROUTES, self.upload),
            "clawmetry.register": self._registration.register,
            "clawmetry.auth": self.connect,
            "clawmetry.heartbeat": self.heartbeat,
            "clawmetry.wake": self.wake,
            "clawmetry.intent": self.intent,
            "clawmetry.account": self.account,
            "clawmetry.claim": self.claim,
            "clawmetry.policies": self.policies,
            APPROVAL: self.ask_approval,
            "clawmetry.approved": self.show_approval,
        }

    # -- contact

    async def heartbeat(self, call: Call) -> Reply:
        """Answer a sign of life with the node's gate, and keep a closed list of its facts."""
        body: Heartbeat = call.body
        key = self._key(call)
        node = await self._node(key, body.node_id)
        standing = self._consents.standing(node.id)
        heard = self._hear(call, node, key, text(body.version))
        self._keep(call, node, standing, is_second=heard.is_second)
        self._note_number(node, standing, body.seen_number)
        if not standing.registered and self._registration.take_turn(node):
            self._run(self._registration.tell(node, key))
        questions: tuple[PendingQuery, ...] = ()
        if self._flow.may_ask(node) and not heard.is_second:
            questions = self._gaps.next_questions(node, call.now_ms)
        allowed, reason = gate.told(standing, is_second=heard.is_second)
        is_seen = self._presence.is_seen(node)
        if not heard.is_second:
            node.told_allowed, node.told_seen = allowed, is_seen
            node.told_preview = standing.preview_number
        return Reply(
            HeartbeatAnswer(
                ok=True,
                sync_allowed=allowed,
                reason=reason,
                viewer_active=is_seen,
                pending_queries=questions,
                grant=standing.grant,
                preview=standing.preview,
                keys=self._successors()[-SUCCESSORS_MAX:],
                node=node.id,
            )
        )

    def _hear(self, call: Call, node: Node, key: NodeKey, version: str = "") -> Heard:
        """Note a request of a sender.

        One that newly sends was refused before, and a newer client gave that up: it is asked for.
        """
        heard = self._directory.hear(node, _program(call), key, version)
        if heard.since_ms and not resends(version or node.version):
            self._gaps.note_refused(node, heard.since_ms)
        return heard

    def _keep(self, call: Call, node: Node, standing: Standing, *, is_second: bool) -> None:
        """Keep the facts of a heartbeat, those of a second sender not, and count the rest."""
        body: Heartbeat = call.body
        counters = gate.allows(standing, "counters") and not is_second
        version, platform = text(body.version), text(body.platform)
        facts = kept_facts(body, counters=counters)
        if not is_second:
            node.version, node.platform = version or node.version, platform or node.platform
            node.facts = facts
        named = {"node_id": node.name, "version": version, "platform": platform}
        parts = refused_parts(body, named | facts, counters=counters, size=_size(call))
        self._flow.refuse_parts(node, standing, parts, is_second=is_second)

    def _note_number(self, node: Node, standing: Standing, seen: object) -> None:
        """Tell consent of a number above its own: the plane was restored from a backup since."""
        is_number = isinstance(seen, int) and not isinstance(seen, bool)
        if is_number and standing.number < seen <= COUNTER_MAX:  # type: ignore[operator]
            self._nodes.numbers_seen(node.id, seen)  # type: ignore[arg-type]

    async def wake(self, call: Call) -> Reply:
        """Hold the call until somebody looks at the node or its consent changes.

        Refuse (404) where too many are held: both clients then do without for ten minutes.
        """
        key = self._key(call)
        node = await self._node(key, call.query.get("node_id", ""))
        wait_s = min(call.number("wait", NODE_WAIT_S), NODE_WAIT_S_MAX)
        program = _program(call)

        def has_news() -> bool:
            # A second sender is told nothing by its heartbeats that a poll could be ahead of.
            return not node.senders.is_second(program, key.id) and self._has_news(node)

        if not (has_news() or await self._presence.wait(node, wait_s)):
            raise Refusal(
                404, "polls_full", "as many polls as there is room for are held",
                fix="send heartbeats, and poll again in ten minutes",
            )  # fmt: skip
        standing = self._consents.standing(node.id)
        is_second = node.senders.is_second(program, key.id)
        allowed, reason = gate.told(standing, is_second=is_second)
        answer = WakeAnswer(
            ok=True,
            work=has_news(),
            viewer_active=self._presence.is_seen(node),
            sync_allowed=allowed,
            reason=reason,
        )
        return Reply(answer)

    def consent_changed(self, node_id: str) -> None:
        """End the long poll of a node, if what its client was told does not hold any more.

        Call it after each commit that changed a node's consent; most do not move its gate.
        """
        node = self._directory.find(node_id, None)
        if node is not None and self._has_news(node):
            self._presence.wake(node)

    def _has_news(self, node: Node) -> bool:
        """Return whether the next heartbeat's answer would open what the last one closed, or ask.

        A poll is answered at once only then: else its client would beat without a pause while
        somebody looks.
        """
        standing = self._consents.standing(node.id)
        if gate.sync_allowed(standing) != node.told_allowed:
            return True
        if standing.preview_number not in {0, node.told_preview}:
            return True
        return self._presence.is_seen(node) and not node.told_seen

    # -- content

    async def upload(self, call: Call) -> Reply:
        """Take a body of content, as far as the node's consent lets it in."""
        body: Upload = call.body
        key = self._key(call)
        node = await self._node(key, body.node_id)
        heard = self._hear(call, node, key)
        size = _size(call) or _raw_size(body)
        outcome = await self._flow.take(node, call.endpoint, body, size, is_second=heard.is_second)
        standing = self._consents.standing(node.id)
        allowed, reason = gate.told(standing, is_second=heard.is_second)
        if outcome == "failed":
            # Old clients keep the body. Newer ones give it up in 150 s, and the session is asked
            # for then. A 5xx would be repeated in the loop that must hear of a change.
            return Reply(
                NodeAnswer(
                    ok=False, sync_allowed=allowed, reason=reason, error="not_stored",
                    message="the disk of the plane did not take it; send it again",
                ),
                status=409,
            )  # fmt: skip
        if outcome == "stored":
            return Reply(NodeAnswer(ok=True, sync_allowed=allowed, reason=reason))
        error, message = _REFUSED[outcome]
        sender = node.senders.find(sender_id(_program(call), key.id))
        version = sender.version if heard.is_second and sender is not None else node.version
        if outcome in KEEP_AND_RESEND and resends(version):
            return Reply(
                NodeAnswer(
                    ok=False, sync_allowed=allowed, reason=reason, error=error, message=message
                ),
                status=403,
            )
        return Reply(
            NodeAnswer(
                ok=True, sync_allowed=allowed, reason=reason, accepted=0, error=error,
                message=message,
            )
        )  # fmt: skip

    async def ask_approval(self, call: Call) -> Reply:
        """Count a request for approval, whose arguments are content; nobody decides it here."""
        body: Upload = call.body
        key = self._key(call)
        node = await self._node(key, body.node_id)
        heard = self._hear(call, node, key)
        size = _size(call) or _raw_size(body)
        await self._flow.take(node, APPROVAL, body, size, is_second=heard.is_second)
        standing = self._consents.standing(node.id)
        return Reply(
            ApprovalAnswer(
                ok=True,
                id=text(body.id),
                status="pending",
                sync_allowed=gate.sync_allowed(standing),
                reason=gate.reason(standing),
            )
        )

    async def show_approval(self, call: Call) -> Reply:
        """Answer that nobody decided, so that the client's own rule applies."""
        key = self._key(call)
        allowed, reason = self._gate_of(key)
        return Reply(
            ApprovalAnswer(
                ok=True, id=call.path["id"], status="expired", sync_allowed=allowed, reason=reason
            )
        )

    # -- account

    async def connect(self, call: Call) -> Reply:
        """Answer a client that connects with its key; a person's key is that person's grant."""
        body: AuthRequest = call.body
        key = self._key(call)
        name = text(body.existing_node_id) or key.node or text(body.hostname)
        node = await self._node(key, name)
        await self._registration.tell(node, key)
        standing = self._consents.standing(node.id)
        return Reply(
            AuthAnswer(
                ok=True,
                valid=True,
                node_id=node.name,
                sync_allowed=gate.sync_allowed(standing),
                reason=gate.reason(standing),
                node=node.id,
                plane_key=self._registration.plane_key(),
            )
        )

    async def intent(self, call: Call) -> Reply:
        """Pass on that the owner wants to see the nodes of a key.

        Refuse (403) an instance's own key, which its agent can read, before consent is asked.
        """
        key = self._key(call)
        nodes = self._directory.nodes_of_key(key)
        if key.instance:
            for node in nodes:
                self._directory.refuse_intent(node)
            raise Refusal(
                403, "not_the_owner", "an instance's own key cannot give its owner's consent",
                fix="open the node on the dashboard, or use the controller's own route",
            )  # fmt: skip
        known = bool(nodes)
        for node in nodes:
            known = await self._intent(node, key) and known
            self.consent_changed(node.id)
        allowed, reason = self._gate_of(key)
        return Reply(
            IntentAnswer(ok=True, already_started=known, sync_allowed=allowed, reason=reason)
        )

    async def _intent(self, node: Node, key: NodeKey) -> bool:
        try:
            return await self._nodes.intent(node.id, by=key.created_by, credential=credential(key))
        except Refusal as refusal:
            if refusal.status == _FORBIDDEN:
                self._directory.refuse_intent(node)
            if refusal.status in _REPEATED:
                problem = refusal.problem
                raise Refusal(409, problem.code, problem.message, fix=problem.fix) from refusal
            raise
        except MailboxFullError as error:
            raise Refusal(
                409, "mailbox_full", "too many orders wait for this node", fix="wait a second"
            ) from error

    async def account(self, call: Call) -> Reply:
        """Answer whose key it is, with an address that no client takes for a placeholder's."""
        return Reply(AccountAnswer(ok=True, email=f"{self._key(call).account}@holdfast.invalid"))

    async def claim(self, call: Call) -> Reply:
        """Answer that nobody took over the account."""
        self._key(call)
        return Reply(ClaimAnswer(ok=True, claimed=False))

    async def policies(self, call: Call) -> Reply:
        """Answer that there are no rules for approvals."""
        self._key(call)
        return Reply(PoliciesAnswer(ok=True))

    # --

    def _key(self, call: Call) -> NodeKey:
        return self._directory.key(call.principal.token_id)

    async def _node(self, key: NodeKey, name: object) -> Node:
        return await self._directory.node(key, text(name))

    def _gate_of(self, key: NodeKey) -> tuple[bool, Any]:
        """Return the gate of a key's only node; closed where it has another number of them."""
        nodes = self._directory.nodes_of_key(key)
        if len(nodes) != 1:
            return False, "intent_pending"
        standing = self._consents.standing(nodes[0].id)
        return gate.sync_allowed(standing), gate.reason(standing)


def _program(call: Call) -> str:
    return program_of(call.header.get("user-agent", ""))


def _raw_size(body: Upload) -> int:
    """Return the bytes of what may be large in a body whose sender declared no size."""
    parts = (
        body.blob, body.events, body.lines, body.sessions, body.memory_content, body.snapshots
    )  # fmt: skip
    return sum(len(memoryview(part)) for part in parts)


def _size(call: Call) -> int:
    """Return the bytes of a body, as its sender declared them."""
    return parsers.whole(call.header.get("content-length", ""), most=COUNTER_MAX) or 0
