"""Handlers about pairing: inbox, lists, decisions, policies, history.

A handler checks visibility, sends an event to the actor and answers with the result; only the fold
decides whether a decision is allowed. What is not visible is answered with 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from holdfast.actors import calls
from holdfast.actors.ports import Answer, Mailboxes, Reader
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Ok
from holdfast.pairing import events, presenters
from holdfast.pairing.definition import KIND, arrival
from holdfast.pairing.inbox import Inbox
from holdfast.pairing.limits import ANSWER_WAIT_MS, LIST_WAIT_MS
from holdfast.pairing.policy import Rule, remembered
from holdfast.pairing.ports import NO_MEANS, NOT_RUNNING, Place, Places
from holdfast.pairing.requests import Asked, Waiting, by_name, find, marks, named, request_id
from holdfast.pairing.state import Decision, Verb, decided
from holdfast.pairing.visibility import forget_at, shown
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.pairing import (
    PairingApprove,
    PairingDismiss,
    PairingEntry,
    PairingHistory,
    PairingInbox,
    PairingOutcome,
    PairingPolicySet,
    PairingRequest,
    PairingTrouble,
    Via,
)
from holdfast.wire.controller.pairing import PAIRING_CHANGED, STATUS_OF
from holdfast.wire.limits import PAGE_ITEMS_MAX
from holdfast.wire.times import time_text

_INBOX_CHUNK: Final = 50
"""Instances of the inbox shown before the loop gets a turn: about 2 ms."""

_LOG_PAGE: Final = 200
_LOG_PAGES_MAX: Final = 25
"""Pages of the log read for one page of the history."""

_STATUSES: Final = {
    **STATUS_OF,
    NOT_RUNNING: 409,
    NO_MEANS: 409,
    "controller_unreachable": 503,
    "controller_timeout": 504,
    "command_timeout": 504,
    "not_done": 504,
    "expired": 504,
}
_FAULT: Final = 502
_BAD_POLICY: Final = frozenset({"bad_rule", "too_many_rules"})


class Awaited:
    """Wakes calls that wait for a change of an instance's committed pairing."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def notify(self, instance: str) -> None:
        """Wake all calls that wait for this instance."""
        for event in self._waiting.get(instance, ()):
            event.set()

    @contextmanager
    def changes(self, instance: str) -> Any:
        """Yield an event that is set with each change, within the block."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(instance, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(instance, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of the handlers."""

    mailboxes: Mailboxes
    reader: Reader
    places: Places
    inbox: Inbox
    chance: Chance
    clock: Clock
    awaited: Awaited = field(default_factory=Awaited)
    answer_wait_ms: int = ANSWER_WAIT_MS
    list_wait_ms: int = LIST_WAIT_MS


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return the handlers by the names of their endpoints."""
    made = PairingCalls(deps)
    return {
        "pairing.inbox": made.whole_inbox,
        "pairing.list": made.list_one,
        "pairing.approve": made.approve,
        "pairing.dismiss": made.dismiss,
        "pairing.policy": made.policy,
        "pairing.set-policy": made.set_policy,
        "pairing.history": made.history,
    }


class PairingCalls:
    """One method for each endpoint about pairing."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def _visible(self, call: Call) -> Place:
        """Return an instance's place; refuse (404) an unknown or invisible one."""
        place = self._deps.places.of(call.path["id"])
        account = call.principal.account
        if place is None or (account is not None and place.account != account):
            raise calls.missing("instance")
        return place

    # -- reads

    async def whole_inbox(self, call: Call) -> Reply:
        """Show waiting requests of all visible instances, from memory."""
        account = calls.listed_account(call)
        items: list[PairingRequest] = []
        counts: dict[str, int] = {}
        troubles: list[PairingTrouble] = []
        for number, instance in enumerate(self._deps.inbox.instances(), 1):
            if number % _INBOX_CHUNK == 0:
                await asyncio.sleep(0)
            place = self._deps.places.of(instance)
            if place is None or account not in {None, place.account}:
                continue
            waiting = self._deps.inbox.waiting(place)
            if waiting:
                counts[instance] = len(waiting)
            items += [presenters.request(place, one) for one in waiting]
            trouble = self._deps.inbox.trouble(instance) if place.running else None
            if trouble is not None:
                troubles.append(
                    PairingTrouble(
                        instance=instance,
                        instance_name=place.name,
                        error=trouble[0],
                        at=time_text(trouble[1]),
                    )
                )
        return Reply(_inbox(call, items, counts, troubles))

    async def list_one(self, call: Call) -> Reply:
        """Show waiting requests of one instance, read from its machine."""
        place = self._visible(call)
        state = self._deps.places.pairing(place.instance)
        if not place.running:
            note = "the instance is not running"
            return Reply(presenters.nothing(place, epoch=state.epoch, note=note))
        refresh = call.query.get("refresh") == "true"
        began_ms = self._deps.clock.now_ms()
        try:
            async with asyncio.timeout(self._deps.list_wait_ms / 1_000):
                outcome = await self._deps.inbox.fetch(place, refresh=refresh)
        except TimeoutError:
            text = "Its machine has not answered yet; the list is still being read."
            raise Refusal(504, "pairing_timeout", text, fix="Ask again in a moment.") from None
        state = self._deps.places.pairing(place.instance)
        if not isinstance(outcome, Ok):
            if outcome.code == NOT_RUNNING:
                return Reply(presenters.nothing(place, epoch=state.epoch, note=outcome.message))
            if outcome.code == NO_MEANS:
                empty = presenters.nothing(
                    place, epoch=state.epoch, note=outcome.message, complete=False
                )
                return Reply(empty)
            raise _refusal(outcome.code, outcome.message)
        known = outcome.value
        via: Via = "cache" if known.fetched_ms < began_ms else known.listing.via
        items = shown(known.listing.requests, state, self._deps.clock.now_ms())
        return Reply(presenters.listing(place, known, items, epoch=state.epoch, via=via))

    async def policy(self, call: Call) -> Reply:
        """Show an instance's policy."""
        place = self._visible(call)
        state = self._deps.places.pairing(place.instance)
        return Reply(presenters.policy(place.instance, state))

    async def history(self, call: Call) -> Reply:
        """Show an instance's decisions, newest first."""
        place = self._visible(call)
        limit = call.number("limit", calls.PAGE_DEFAULT)
        before = calls.page_offset(call.query.get("after", ""))
        entries: list[PairingEntry] = []
        following = ""
        for _ in range(_LOG_PAGES_MAX):
            log = await self._deps.reader.log_tail(
                _actor(place.instance), before=before, limit=_LOG_PAGE
            )
            for row in log:
                entries += presenters.history((row,))
                before = row.seq
                if len(entries) >= limit:
                    following = calls.page_cursor(row.seq) if row.seq > 1 else ""
                    return Reply(PairingHistory(entries=tuple(entries), next=following))
            if len(log) < _LOG_PAGE:
                break
            following = calls.page_cursor(before)
        else:
            return Reply(PairingHistory(entries=tuple(entries), next=following))
        return Reply(PairingHistory(entries=tuple(entries)))

    # -- decisions

    async def approve(self, call: Call) -> Reply:
        """Approve a request."""
        body: PairingApprove = call.body
        return await self._decide(call, "approve", body, remember=body.remember)

    async def dismiss(self, call: Call) -> Reply:
        """Dismiss a request."""
        return await self._decide(call, "dismiss", call.body, remember=False)

    async def _decide(
        self, call: Call, verb: Verb, body: PairingApprove | PairingDismiss, *, remember: bool
    ) -> Reply:
        place = self._visible(call)
        asked = _named(body)
        if not place.running:
            text = "The instance is not running."
            raise Refusal(409, "instance_not_running", text, fix="Start it, then decide.")
        waiting = await self._known(place, asked)
        meant = _as_seen(body, asked, waiting)
        now_ms = self._deps.clock.now_ms()
        rule = self._remember(call, waiting, now_ms) if remember else None
        event = events.PairingDecided(
            account=place.account,
            verb=verb,
            asked=meant,
            marks=marks(asked) if waiting is None else waiting.marks,
            by=call.principal.name,
            forget_ms=forget_at(waiting, now_ms),
            remember=rule,
        )
        with self._deps.awaited.changes(place.instance) as changed:
            answer = await self._ask(call, place.instance, event)
            if answer.stamp is None:
                return calls.pending(answer)
            _refuse(answer)
            decision = await self._result(place.instance, event.marks, changed)
        if decision is None or decision.status not in {"done", "failed"}:
            return calls.pending(answer)
        if decision.status == "failed":
            raise _refusal(decision.code, decision.message)
        return Reply(self._outcome(place, event.asked, decision, rule))

    async def _known(self, place: Place, asked: Asked) -> Waiting | None:
        """Return the request as its machine lists it, or None.

        For one not in memory the list is read once; if that fails, the machine itself decides.
        """
        known = find((one.request for one in self._deps.inbox.waiting(place)), asked)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(self._deps.list_wait_ms / 1_000):
                listed = await self._deps.inbox.fetch(place, refresh=False)
        except TimeoutError:
            return None
        if not isinstance(listed, Ok):
            return None
        return find(listed.value.listing.requests, asked)

    def _remember(self, call: Call, waiting: Waiting | None, now_ms: int) -> Rule:
        """Return the rule that remembers the sender; refuse (409) where it would be too broad."""
        rule = None
        if waiting is not None:
            rule = remembered(
                waiting, rule_id=self._rule_id(), by=call.principal.name, now_ms=now_ms
            )
        if rule is None:
            text = "What is known of the request is too little to remember its sender by."
            fix = "Approve it without remembering, or add a rule to the policy."
            raise Refusal(409, "pairing_not_memorable", text, field="remember", fix=fix)
        return rule

    async def _result(
        self, instance: str, wanted: tuple[str, ...], changed: asyncio.Event
    ) -> Decision | None:
        """Return the decision once it is over or in doubt, or as it is at the deadline."""
        decision: Decision | None = None
        try:
            async with asyncio.timeout(self._deps.answer_wait_ms / 1_000):
                while True:
                    changed.clear()
                    decision = decided(self._deps.places.pairing(instance), wanted)
                    if decision is None or decision.status not in {"asked", "sent"}:
                        return decision
                    await changed.wait()
        except TimeoutError:
            return decision

    def _outcome(
        self, place: Place, asked: Asked, decision: Decision, rule: Rule | None
    ) -> PairingOutcome:
        kept = self._deps.places.pairing(place.instance).rules
        added = rule is not None and any(one.id == rule.id for one in kept)
        via: Via = "exec" if decision.via == "exec" else "controller"
        return PairingOutcome(
            instance=place.instance,
            request_id=request_id(asked),
            decision=decision.verb,
            message=decision.message,
            by=decision.by,
            via="none" if decision.via == "plane" else via,
            remembered=rule.id if rule is not None and added else "",
        )

    # -- the policy

    async def set_policy(self, call: Call) -> Reply:
        """Set an instance's policy."""
        body: PairingPolicySet = call.body
        place = self._visible(call)
        state = self._deps.places.pairing(place.instance)
        now_ms = self._deps.clock.now_ms()
        rules: list[Rule] = []
        for number, given in enumerate(body.rules):
            fresh = Rule(
                id=self._rule_id(),
                kind=given.kind,
                sender=given.sender,
                by=call.principal.name,
                created_ms=now_ms,
            )
            try:
                rules.append(presenters.rule_of(given, known=state.rules, fresh=fresh))
            except ValueError as error:
                field_name = f"rules.{number}.expires_at"
                raise Refusal(400, "bad_field", str(error), field=field_name) from None
        event = events.PolicySet(
            account=place.account,
            mode=body.mode,
            by=call.principal.name,
            rules=tuple(rules),
            version=body.version,
        )
        answer = await self._ask(call, place.instance, event)
        if answer.stamp is None:
            return calls.pending(answer)
        _refuse(answer)
        self._deps.inbox.notice(place.instance)
        return Reply(presenters.policy(place.instance, self._deps.places.pairing(place.instance)))

    def _rule_id(self) -> str:
        return "r" + self._deps.chance.uuid()[:8]

    async def _ask(self, call: Call, instance: str, event: events.Event) -> Answer:
        return await calls.ask(
            call,
            event,
            mailboxes=self._deps.mailboxes,
            chance=self._deps.chance,
            actor=_actor(instance),
            arrival=arrival,
            dedupe=call.endpoint,
        )


def _inbox(
    call: Call,
    items: list[PairingRequest],
    counts: dict[str, int],
    troubles: list[PairingTrouble],
) -> PairingInbox:
    """Return one page of the inbox, newest first."""
    kind, text = call.query.get("kind"), call.query.get("text", "").lower()
    kept = [
        one
        for one in items
        if (not kind or one.kind == kind)
        and (
            not text
            or any(
                text in told.lower()
                for told in (one.instance_name, one.channel, one.sender, one.sender_name)
            )
        )
    ]
    kept.sort(key=lambda one: (one.instance_name, one.instance, one.request_id))
    kept.sort(key=lambda one: one.created_at or "", reverse=True)
    start = calls.page_offset(call.query.get("after", ""))
    limit = call.number("limit", calls.PAGE_DEFAULT)
    return PairingInbox(
        items=tuple(kept[start : start + limit]),
        total=sum(counts.values()),
        counts=counts,
        next=calls.page_cursor(start + limit) if start + limit < len(kept) else "",
        troubles=tuple(troubles[:PAGE_ITEMS_MAX]),
    )


def _named(body: PairingApprove | PairingDismiss) -> Asked:
    """Return the request referred to; refuse (400) none, a partial reference, or two."""
    if body.request_id is not None:
        if body.channel is not None or body.code is not None:
            text = "Name the request by its id, or by channel and code; not by both."
            raise Refusal(400, "bad_field", text, field="request_id", fix="Leave one out.")
        return named(body.request_id)
    if body.channel is None or body.code is None:
        missing = "channel" if body.channel is None and body.code is not None else "code"
        if body.channel is None and body.code is None:
            missing = "request_id"
        text = "Name the request: by request_id, or by channel and code."
        raise Refusal(400, "bad_field", text, field=missing, fix=f"Send {missing}.")
    return by_name(body.channel, body.code)


def _as_seen(body: PairingApprove | PairingDismiss, asked: Asked, waiting: Waiting | None) -> Asked:
    """Return the reference for the machine; refuse (409) a request changed since it was seen."""
    if waiting is None:
        return msgspec.structs.replace(asked, fingerprint=body.fingerprint)
    if body.fingerprint and waiting.asked.fingerprint != body.fingerprint:
        text = "The request is not what it was; look again."
        raise Refusal(409, PAIRING_CHANGED, text, field="fingerprint", fix="List who waits.")
    return waiting.asked


def _refusal(code: str, message: str) -> Refusal:
    """Return the refusal of a machine's failure."""
    status = _STATUSES.get(code, _FAULT)
    name = "instance_not_running" if code == NOT_RUNNING else code
    retry_after_s = 5 if status == 503 else None  # noqa: PLR2004  HTTP
    return Refusal(status, name, message or code, retry_after_s=retry_after_s)


def _refuse(answer: Answer) -> None:
    """Raise the fold's refusal, if any; an invalid rule is a bad request (400)."""
    stamp = answer.stamp
    if stamp is not None and stamp.code in _BAD_POLICY:
        raise Refusal(400, stamp.code, stamp.message, field=stamp.message.partition(":")[0])
    calls.refuse_if_refused(answer)


def _actor(instance: str) -> Address:
    return calls.actor_of(KIND, instance, noun="instance")
