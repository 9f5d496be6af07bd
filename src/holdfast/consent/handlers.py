"""Handlers about nodes, and what the intake of content asks of consent.

A handler checks visibility, sends an event to the node and answers with the committed row; only the
fold decides whether a decision is allowed. What is not visible is answered with 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from holdfast.actors import calls
from holdfast.actors.limits import ANSWER_WAIT_MS
from holdfast.actors.ports import Answer, Arrival, Mailboxes, Reader
from holdfast.consent import events, presenters
from holdfast.consent.apply import CANNOT_GRANT
from holdfast.consent.definition import KIND, arrival
from holdfast.consent.index import NodeIndex
from holdfast.consent.state import STATE_VERSION, Kept, Node, decode_kept, decode_state
from holdfast.consent.views import NODE_VIEW, RECEIPT_VIEW, receipts_begin
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.kernel.ids import Address, address
from holdfast.letters.names import NameOf
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.consent import (
    ConsentDetail,
    ConsentEntry,
    ConsentGrant,
    ConsentHistory,
    ConsentIntent,
    ConsentList,
    ConsentRevoke,
    IntentTaken,
    PreviewAsk,
    ReceiptBundle,
    ReceiptList,
    SigningKeys,
)
from holdfast.wire.browser_keys import KeyFormError, point_of
from holdfast.wire.consent import (
    INTENT_CLASSES,
    TEXT_VERSION,
    node_of_instance,
    node_of_name,
)
from holdfast.wire.limits import RECEIPTS_MAX
from holdfast.wire.times import time_text

_LOG_PAGE: Final = 200
_LOG_PAGES_MAX: Final = 25
"""Pages of the log read for one page of the history."""

KeysOf: TypeAlias = Callable[[], SigningKeys]
Rotate: TypeAlias = Callable[[int], Awaitable[SigningKeys]]
Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of the handlers; `keys` are the public ones, and `rotate` replaces the newest.

    `rotate` is given the time, in ms since the epoch; `name_of` names instances.
    """

    mailboxes: Mailboxes
    reader: Reader
    index: NodeIndex
    chance: Chance
    clock: Clock
    keys: KeysOf
    rotate: Rotate
    name_of: NameOf


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return the handlers by the names of their endpoints."""
    made = NodeCalls(deps)
    return {
        "consent.list": made.list_nodes,
        "consent.get": made.show,
        "consent.grant": made.grant,
        "consent.revoke": made.revoke,
        "consent.intent": made.intent,
        "consent.preview": made.preview,
        "consent.receipts": made.receipts,
        "consent.export": made.export,
        "consent.history": made.history,
        "consent.keys": made.keys,
        "consent.rotate-key": made.rotate_key,
    }


class NodeCalls:
    """One method for each endpoint about nodes."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def _visible(self, call: Call) -> Node:
        """Return a node; refuse (404) an unknown or invisible one."""
        state = self._deps.index.of(call.path["id"])
        if state is None or call.principal.account not in {None, state.account}:
            raise calls.missing("node")
        return state

    # -- reads

    async def list_nodes(self, call: Call) -> Reply:
        """Show nodes by id, with counts of all that are visible."""
        account = calls.listed_account(call)
        counts = self._deps.index.counts(account)
        now_ms = self._deps.clock.now_ms()
        if instance := call.query.get("instance"):
            found = self._deps.index.of_instance(instance)
            is_visible = found is not None and account in {None, found.account}
            rows, following = [found] if found is not None and is_visible else [], ""
        else:
            rows, following = await self._page(call, account)
        return Reply(
            ConsentList(
                items=tuple(
                    presenters.summary(one, now_ms, title=self._title(one)) for one in rows
                ),
                total=counts.get("nodes", 0),
                looked_at=counts.get("looked_at", 0),
                granted=counts.get("granted", 0),
                next=following,
            )
        )

    async def _page(self, call: Call, account: str | None) -> tuple[list[Node], str]:
        limit = call.number("limit", calls.PAGE_DEFAULT)
        page = await self._deps.reader.views(
            NODE_VIEW, account=account, after=call.query.get("after", ""), limit=limit
        )
        rows = []
        for _key, body, _seq in page:
            try:
                rows.append(decode_state(body, STATE_VERSION))
            except ValueError:
                continue  # the doctor counts damaged rows
        return rows, page[-1][0] if len(page) == limit else ""

    async def show(self, call: Call) -> Reply:
        """Show a node, and why nothing comes from it."""
        return Reply(self._detail(self._visible(call)))

    def _title(self, state: Node) -> str:
        return self._deps.name_of(state.instance) if state.instance else ""

    def _detail(self, state: Node) -> ConsentDetail:
        now_ms = self._deps.clock.now_ms()
        return presenters.detail(state, now_ms, title=self._title(state))

    async def receipts(self, call: Call) -> Reply:
        """Show signed receipts, newest first."""
        state = self._visible(call)
        limit = call.number("limit", calls.PAGE_DEFAULT)
        kept, following = await self._kept(state, call.query.get("after", ""), limit)
        shown = (presenters.receipt(one) for one in kept)
        items = tuple(one for one in shown if one is not None)
        return Reply(ReceiptList(items=items, next=following))

    async def _kept(self, state: Node, after: str, limit: int) -> tuple[list[Kept], str]:
        """Return a page of a node's receipts, and the next cursor: a key without the node."""
        begin = receipts_begin(state.node)
        page = await self._deps.reader.views(
            RECEIPT_VIEW, account=state.account, after=begin + after, limit=limit
        )
        mine = [(key, body) for key, body, _seq in page if key.startswith(begin)]
        kept = []
        for _key, body in mine:
            try:
                kept.append(decode_kept(body))
            except ValueError:
                continue
        return kept, mine[-1][0].removeprefix(begin) if len(mine) == limit else ""

    async def export(self, call: Call) -> Reply:
        """Return every receipt with the public keys, as one file for keeping."""
        state = self._visible(call)
        kept, _ = await self._kept(state, "", RECEIPTS_MAX)
        body = ReceiptBundle(
            node=state.node,
            name=state.name,
            account=state.account,
            exported_at=time_text(self._deps.clock.now_ms()),
            receipts=tuple(one.document for one in kept),
            signing=self._deps.keys(),
            grant=state.grant,
        )
        named = f'attachment; filename="consent-{state.node}.json"'
        return Reply(body, headers={"content-disposition": named})

    async def history(self, call: Call) -> Reply:
        """Show what happened to a node's consent, newest first."""
        state = self._visible(call)
        limit = call.number("limit", calls.PAGE_DEFAULT)
        before = calls.page_offset(call.query.get("after", ""))
        entries: list[ConsentEntry] = []
        for _ in range(_LOG_PAGES_MAX):
            log = await self._deps.reader.log_tail(
                _actor(state.node), before=before, limit=_LOG_PAGE
            )
            for row in log:
                entries += presenters.history((row,))
                before = row.seq
                if len(entries) == limit:
                    following = calls.page_cursor(before) if before > 1 else ""
                    return Reply(ConsentHistory(entries=tuple(entries), next=following))
            if len(log) < _LOG_PAGE:
                return Reply(ConsentHistory(entries=tuple(entries)))
        return Reply(ConsentHistory(entries=tuple(entries), next=calls.page_cursor(before)))

    async def keys(self, _call: Call) -> Reply:
        """Show the public keys."""
        return Reply(self._deps.keys())

    # -- decisions

    async def grant(self, call: Call) -> Reply:
        """Grant classes; refuse (409) a text that is not the present one."""
        body: ConsentGrant = call.body
        if body.text_version != TEXT_VERSION:
            text = f"The text of consent is {TEXT_VERSION} now, and {body.text_version} was shown."
            raise Refusal(409, "text_changed", text, field="text_version", fix="Read it again.")
        if (body.backfill == "days") != (body.backfill_days is not None):
            text = "backfill_days belongs to the backfill `days`, and to no other."
            raise Refusal(400, "bad_field", text, field="backfill_days")
        now_ms = self._deps.clock.now_ms()
        since_ms = {
            "nothing": now_ms,
            "days": max(1, now_ms - (body.backfill_days or 0) * DAY_MS),
            "everything": 0,
        }
        event = events.ConsentGranted(
            classes=body.classes,
            by=call.principal.name,
            credential=calls.caller(call.principal),
            until_ms=0 if body.days is None else now_ms + body.days * DAY_MS,
            backfill_from_ms=since_ms[body.backfill],
            text_version=body.text_version,
            address=call.peer,
        )
        return await self._decide(call, event)

    async def revoke(self, call: Call) -> Reply:
        """Revoke classes, and delete what is stored of them if asked to."""
        body: ConsentRevoke = call.body
        event = events.ConsentRevoked(
            classes=body.classes,
            by=call.principal.name,
            credential=calls.caller(call.principal),
            delete=body.delete,
            address=call.peer,
            reason=body.reason,
        )
        return await self._decide(call, event)

    async def preview(self, call: Call) -> Reply:
        """Let samples out once, for the key of a page."""
        body: PreviewAsk = call.body
        try:
            point_of(body.public_key)
        except KeyFormError as error:
            text = f"public_key: {error}"
            raise Refusal(400, "bad_field", text, field="public_key") from None
        event = events.PreviewAsked(
            by=call.principal.name,
            credential=calls.caller(call.principal),
            public_key=body.public_key,
            address=call.peer,
        )
        return await self._decide(call, event)

    async def _decide(self, call: Call, event: events.Event) -> Reply:
        state = self._visible(call)
        answer = await self._ask(call, state.node, event)
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        return await self.show(call)

    async def intent(self, call: Call) -> Reply:
        """Take an intent; the first one grants the classes that it names."""
        body: ConsentIntent = call.body
        state = self._visible(call)
        event = events.IntentShown(
            by=call.principal.name,
            credential=calls.caller(call.principal),
            classes=INTENT_CLASSES if body.classes is None else body.classes,
            address=call.peer,
        )
        answer = await self._ask(call, state.node, event)
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        after = self._visible(call)
        return Reply(
            IntentTaken(
                already_started=after.intent_event != answer.event,
                node=self._detail(after),
            )
        )

    async def rotate_key(self, call: Call) -> Reply:
        """Replace the signing key."""
        return Reply(await self._deps.rotate(call.now_ms))

    async def _ask(self, call: Call, node: str, event: events.Event) -> Answer:
        return await calls.ask(
            call,
            event,
            mailboxes=self._deps.mailboxes,
            chance=self._deps.chance,
            actor=_actor(node),
            arrival=arrival,
            dedupe=call.endpoint,
        )


class Nodes:
    """The port `Nodes` of the intake of content: registration, intent and numbers of clients."""

    def __init__(self, mailboxes: Mailboxes, index: NodeIndex, chance: Chance, run: Run) -> None:
        """Use the committed nodes; `run` starts a background task and logs what it raises."""
        self._mailboxes = mailboxes
        self._index = index
        self._chance = chance
        self._run = run

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
        """Register a node and return its id; that of an instance is of the instance alone.

        `credential` is its kind, a colon, and what names it. A person's connection grants what a
        bare intent does. Raise Refusal: 400 for a malformed name, 409 for a closed node, 503 where
        no tick takes it in time.
        """
        try:
            node = node_of_instance(account, instance) if instance else node_of_name(account, name)
        except ValueError as error:
            raise Refusal(400, "bad_field", f"The node's {error}.", field="node_id") from None
        known = self._index.of(node)
        if known is not None and _is_same(known, name, source):
            return node
        event = events.NodeRegistered(
            account=account, name=name, instance=instance, source=source, by=by,
            credential=credential,
        )  # fmt: skip
        await self._ask(node, event, by)
        return node

    async def intent(self, node: str, *, by: str, credential: str, address: str = "") -> bool:
        """Take a bare intent, and return whether there was one before.

        Raise Refusal: 403 for a credential that the agent may have read, 404 for an unknown node.
        """
        event = events.IntentShown(
            by=by,
            credential=credential,
            classes=INTENT_CLASSES,
            address=address,
        )
        answer = await self._ask(node, event, by)
        state = self._index.of(node)
        return state is None or state.intent_event != answer.event

    def numbers_seen(self, node: str, number: int) -> None:
        """Take the last number that a node has seen: one above ours closes what is granted.

        Called for each heartbeat, and does not wait: without an event unless the number is above.
        """
        if not self._index.is_news(node, number):
            return
        row = arrival(
            events.NumberSeen(number), dedupe=f"number:{number}", source="contact", by=node
        )
        self._run(self._tell(_actor(node), row))

    async def _tell(self, actor: Address, row: Arrival) -> None:
        await self._mailboxes.tell([(actor, row)])

    async def _ask(self, node: str, event: events.Event, by: str) -> Answer:
        row = arrival(event, dedupe=f"client:{self._chance.uuid()}", source="api", by=by)
        answer = await self._mailboxes.ask(_actor(node), row, wait_ms=ANSWER_WAIT_MS)
        if answer.stamp is None:
            text = "The plane is busy; the request is kept and taken soon."
            raise Refusal(503, "busy", text, fix="Ask again in a moment.", retry_after_s=1)
        if answer.stamp.code == CANNOT_GRANT:
            raise Refusal(403, CANNOT_GRANT, _sentence(answer.stamp.message))
        if answer.stamp.code == "no_such_node":
            raise calls.missing("node")
        calls.refuse_if_refused(answer)
        return answer


def _is_same(known: Node, name: str, source: str) -> bool:
    """Return whether a registration says nothing new, as at each start of a machine."""
    return not known.closed_ms and known.name == name and source in {"auto", known.source}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _actor(node: str) -> Address:
    return address(KIND, node)
