"""Handlers of the tools that agents of towns call, each with the token of its attempt.

What an agent reports becomes an event, and the town's fold alone decides what comes of it: what
is of an attempt that is over changes nothing, however often it is said. Texts are kept beside the
town before the event that names them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from msgspec import structs

from holdfast.actors import calls
from holdfast.actors.ports import Answer, Mailboxes
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Conflict, Outcome, Permanent, Retryable
from holdfast.relay.rate import Rate, Rates
from holdfast.towns import events
from holdfast.towns.attempts import Grant
from holdfast.towns.contact import AgentWatch, Message
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.outgoing import branches
from holdfast.towns.records import Text, TextKind, TownRecords
from holdfast.towns.state import Agent, Bead, State, found
from holdfast.towns.words import count_words
from holdfast.wire.api import town_tools as wire
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.times import time_text

REPORTS: Final = Rate(burst=200, per_s=0.5)
"""What one attempt may report: each report is an event of the town's log, taken or not."""

CATEGORY_PREFIX: Final = "agent:"
"""Before the category of what an agent asks, so that it never stands for one of the rules."""

MAYORS_WORK: Final = """\
An escalation names in `about` what somebody is needed for: a bead (b/), an agent (a/) or the town.
Answer it: write to the agent that asks (`mail`), or poke it (`nudge`). Then take the escalation on
with `acknowledge` and its id, which closes it; one that a person must decide is left as it is.
Acknowledge mail and nudges that you read. Look again when a heartbeat says that messages wait."""

Worded: TypeAlias = events.ChangesRequested | events.Escalated | events.MailSent | events.NudgeSent
"""Events that name a text."""

FIXES: Final[Mapping[str, str]] = {
    "no_branch": "commit to a branch and send its name as `branch`",
    "bad_pr_url": "send the https:// address of the pull request, or none",
    "other_agent": "end the program: the bead was handed to another agent",
    "not_a_review": "finish with `done`; only an attempt at a merge request sends one back",
    "no_such_agent": "take the id of an agent of this town; `prime` shows who there is",
    "mail_full": "wait until messages were read, or escalate",
    "nudges_full": "wait a minute, or send mail",
    "town_full": "finish with `done`; the town's owner has to make room",
    "not_the_mayor": "leave `waits` out",
}
"""The way on, by the code of what a town refuses."""


Take: TypeAlias = Callable[[str, str, str, str, str], Awaitable[Outcome[Any]]]
"""Brings what an attempt committed to the plane: of a town, its rig, attempt, branch and target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDeps:
    """Dependencies of the handlers."""

    watch: AgentWatch
    records: TownRecords
    mailboxes: Mailboxes
    chance: Chance
    rates: Rates
    take: Take


def tool_handlers(deps: ToolDeps) -> Mapping[str, Handler]:
    """Return the handlers by the names of their endpoints; each is for the token's own town."""
    made = ToolHandlers(deps)
    attempts = deps.watch.attempts

    def of_own_town(
        handle: Callable[[Call, Grant], Awaitable[Reply]], *, reports: bool = True
    ) -> Handler:
        async def handler(call: Call) -> Reply:
            grant = attempts.grant(call.principal)
            if call.path["id"] != grant.town:
                raise Refusal(
                    403, "other_town", "this token is for another town", field="id",
                    fix="call the address that this attempt was started with",
                )  # fmt: skip
            wait_s = deps.rates.wait_s(grant.hash, strict=False) if reports else 0
            if wait_s:
                raise Refusal(
                    429, "too_many_reports", f"too many reports; wait {wait_s} s",
                    fix="wait as long as retry-after says", retry_after_s=wait_s,
                )  # fmt: skip
            return await handle(call, grant)

        return handler

    return {
        "tools.prime": of_own_town(made.prime, reports=False),
        "tools.done": of_own_town(made.done),
        "tools.request-changes": of_own_town(made.request_changes),
        "tools.escalate": of_own_town(made.escalate),
        "tools.mail": of_own_town(made.mail),
        "tools.nudge": of_own_town(made.nudge),
        "tools.acknowledge": of_own_town(made.acknowledge),
        "tools.cost": of_own_town(made.cost),
        "tools.heartbeat": of_own_town(made.heartbeat, reports=False),
    }


class ToolHandlers:
    """One method for each tool."""

    def __init__(self, deps: ToolDeps) -> None:
        self._watch = deps.watch
        self._records = deps.records
        self._mailboxes = deps.mailboxes
        self._chance = deps.chance
        self._take = deps.take

    # -- reads

    async def prime(self, _call: Call, grant: Grant) -> Reply:
        """Say what an agent is to do."""
        self._watch.worked(grant)
        state, agent = self._look(grant)
        bead = state.beads.get(agent.hook)
        request = None if bead is None else state.beads.get(bead.source)
        messages = self._watch.messages(state, agent.id, grant.attempt)
        wanted = {one.content for one in messages}
        convoy = None if bead is None or not bead.convoy else state.beads.get(bead.convoy)
        for one in (bead, request, convoy):
            if one is not None:
                wanted |= {one.content, "" if one.review is None else one.review.content}
        texts = await self._records.texts(grant.town, tuple(sorted(wanted - {""})))
        said = wire.ToolPrime(
            town=grant.town,
            agent=agent.id,
            role=agent.role,
            attempt=grant.attempt,
            rig=agent.rig,
            messages=tuple(_message(one, texts) for one in messages),
            agents=_others(state, agent),
            drain=state.town.drain_nonce,
        )
        if bead is None:
            return Reply(_mayors(said) if agent.role == "mayor" else said)
        said = structs.replace(said, convoy=_convoy(convoy, texts))
        said = _work(said, state, bead, request, texts)
        return Reply(structs.replace(said, gates=await self._gates(state, bead)))

    async def _gates(self, state: State, bead: Bead) -> tuple[wire.ToolGate, ...]:
        rig = state.rigs.get(bead.rig)
        if rig is None or not rig.gates:
            return ()
        settings = await self._records.rig(state.town.id, rig.id)
        known = () if settings is None else settings.gates
        commands = {gate.name: gate.command for gate in known}
        return tuple(wire.ToolGate(name=one, command=commands.get(one, ())) for one in rig.gates)

    def _look(self, grant: Grant) -> tuple[State, Agent]:
        """Return a town and the agent; refuse (503) while the town is not known."""
        state = self._watch.state(grant.town)
        agent = None if state is None else state.agents.get(grant.agent)
        if state is None or agent is None:
            raise Refusal(
                503, "town_not_ready", "the plane has not looked at this town since it started",
                fix="try again in a second", retry_after_s=1,
            )  # fmt: skip
        return state, agent

    async def heartbeat(self, call: Call, grant: Grant) -> Reply:
        """Take a sign of life: nothing is written."""
        body: wire.ToolBeat = call.body
        if body.attempt and body.attempt != grant.attempt:
            raise Refusal(
                409, "other_attempt", "the token is of another attempt", field="attempt",
                fix="send the attempt that `prime` names, or leave it out",
            )  # fmt: skip
        ago = body.worked_s_ago
        self._watch.beat(
            grant,
            worked_ago_ms=None if ago is None else ago * SECOND_MS,
            tools=bool(body.tools),
            waits=body.waits,
        )
        state = self._watch.state(grant.town)
        if state is None:
            return Reply(wire.ToolBeatAnswer())
        waiting = self._watch.waiting(state, grant.agent, grant.attempt)
        return Reply(wire.ToolBeatAnswer(messages=waiting, drain=state.town.drain_nonce))

    # -- reports

    async def done(self, call: Call, grant: Grant) -> Reply:
        """Take that an attempt finished."""
        body: wire.ToolDone = call.body
        self._refuse_other_branch(grant, body.branch)
        await self._bring(grant, body.branch)
        event = events.AgentDone(
            agent=grant.agent,
            attempt=grant.attempt,
            branch=body.branch,
            commit=body.commit,
            pr_url=body.pr_url,
        )
        return self._taken(await self._ask(call, grant, event))

    def _refuse_other_branch(self, grant: Grant, branch: str) -> None:
        """Refuse (409) another branch than the attempt was given: it holds the work of others."""
        state, _agent = self._look(grant)
        of_attempt = found(state, "attempt", grant.attempt).ids() if grant.attempt else ()
        for one in of_attempt:
            given, _target = given_branches(state, state.beads[one])
            if branch not in {"", given}:
                raise Refusal(
                    409, "other_branch", "this is not the branch of the attempt", field="branch",
                    fix=f"commit the work to {given}, and send that",
                )  # fmt: skip

    async def _bring(self, grant: Grant, branch: str) -> None:
        """Bring the work of an attempt on an instance here, before anybody looks for it.

        The plane's own attempts work where it can see them.
        """
        state, agent = self._look(grant)
        if not agent.host or not branch or agent.rig not in state.rigs:
            return
        target = state.rigs[agent.rig].branch
        taken = await self._take(grant.town, agent.rig, grant.attempt, branch, target)
        if isinstance(taken, Retryable):
            raise Refusal(
                503, "not_brought", f"the work was not brought here: {taken.message}",
                fix="say it again in a moment", retry_after_s=5,
            )  # fmt: skip
        if isinstance(taken, Permanent | Conflict):
            raise Refusal(
                409, taken.code, f"the branch cannot be taken: {taken.message}", field="branch",
                fix="commit your work to the branch that you were given, then say it again",
            )  # fmt: skip

    async def request_changes(self, call: Call, grant: Grant) -> Reply:
        """Send a merge request back."""
        body: wire.ToolChanges = call.body
        content = await self._keep(call, grant, "review", body.title, body.body)
        event = events.ChangesRequested(agent=grant.agent, attempt=grant.attempt, content=content)
        return await self._said(call, grant, event)

    async def escalate(self, call: Call, grant: Grant) -> Reply:
        """Ask for a person or the mayor."""
        body: wire.ToolEscalate = call.body
        state, agent = self._look(grant)
        about = body.about or agent.hook
        if body.about and body.about not in state.beads:
            raise Refusal(
                409, "no_such_bead", f"there is no bead {body.about} here", field="about",
                fix="leave `about` out for the bead that you work on",
            )  # fmt: skip
        event = events.Escalated(
            escalation=self._new(call, "esc"),
            severity=body.severity,
            category=f"{CATEGORY_PREFIX}{body.category}",
            about=f"b/{about}" if about else f"a/{agent.id}",
            content=await self._keep(call, grant, "escalation", body.title, body.body),
        )
        return await self._said(call, grant, event, event.escalation)

    async def mail(self, call: Call, grant: Grant) -> Reply:
        """Write to another agent."""
        body: wire.ToolMail = call.body
        event = events.MailSent(
            message=self._new(call, "mail"),
            to=body.to,
            sender=grant.agent,
            content=await self._keep(call, grant, "mail", body.title, body.body),
        )
        return await self._said(call, grant, event, event.message)

    async def nudge(self, call: Call, grant: Grant) -> Reply:
        """Poke another agent."""
        body: wire.ToolNudge = call.body
        event = events.NudgeSent(
            nudge=self._new(call, "nudge"),
            agent=body.to,
            content=await self._keep(call, grant, "nudge", "", body.body),
        )
        return await self._said(call, grant, event, event.nudge)

    async def acknowledge(self, call: Call, grant: Grant) -> Reply:
        """Take that messages to this agent were read, or that it takes an escalation on."""
        body: wire.ToolAcknowledge = call.body
        state, agent = self._look(grant)
        inbox = self._watch.inbox(grant.town, agent.id, grant.attempt)
        reported = [(one, _acknowledged(state, agent, one)) for one in body.ids]
        unknown = [one for one, event in reported if event is None and one not in inbox.unread]
        changed = False
        for one, event in reported:
            if event is not None:
                stamped = self._taken(await self._ask(call, grant, event, one))
                if stamped.status != 200:  # noqa: PLR2004  it waits; the caller follows this one
                    return stamped
                changed = changed or stamped.body.changed
            changed = inbox.unread.pop(one, None) is not None or changed
        reason = f"nothing by {', '.join(unknown)} waits for this agent" if unknown else ""
        return Reply(wire.ToolTaken(changed=changed, reason=reason[: wire.BODY_MAX]))

    async def cost(self, call: Call, grant: Grant) -> Reply:
        """Take what a piece of work cost, once for its id."""
        body: wire.ToolCost = call.body
        event = events.CostReported(
            agent=grant.agent, attempt=grant.attempt, microdollars=body.microdollars, id=body.id
        )
        try:
            keyed = replace(call, idempotency_key=body.id)
            return self._taken(await self._ask(keyed, grant, event))
        except Refusal as refusal:
            if refusal.problem.code != "idempotency_key_reused":
                raise
            raise Refusal(
                409, "cost_reported", "this id was reported with another cost", field="id",
                fix="report each piece of work once, by an id of its own",
            ) from refusal  # fmt: skip

    # -- helpers

    async def _keep(self, call: Call, grant: Grant, kind: TextKind, title: str, body: str) -> str:
        """Keep a text beside the town; return its id, the same for the same Idempotency-Key."""
        one = self._new(call, "text")
        text = Text(id=one, kind=kind, title=title, body=body, made_ms=call.now_ms)
        await self._records.put_text(grant.town, text)
        return one

    def _new(self, call: Call, kind: str) -> str:
        """Return the id of something new: the same for the same Idempotency-Key of a caller."""
        unique = call.idempotency_key or call.request_id or self._chance.uuid()
        return f"{kind}-{derive(calls.caller(call.principal), call.endpoint, unique)}"

    async def _ask(self, call: Call, grant: Grant, event: events.Event, part: str = "") -> Answer:
        self._watch.worked(grant)
        return await calls.ask(
            call,
            event,
            mailboxes=self._mailboxes,
            chance=self._chance,
            actor=calls.actor_of(KIND, grant.town, noun="town"),
            arrival=arrival,
            dedupe=f"{call.endpoint}:{grant.attempt}:{part}",
        )

    async def _said(self, call: Call, grant: Grant, event: Worded, one: str = "") -> Reply:
        """Send an event that names a text; erase the text if the town does not take the event."""
        answer = await self._ask(call, grant, event)
        if answer.stamp is not None and answer.stamp.outcome in {"refused", "ignored"}:
            await self._records.drop_text(grant.town, event.content)
        return self._taken(answer, one)

    def _taken(self, answer: Answer, one: str = "") -> Reply:
        stamp = answer.stamp
        if stamp is None:
            return calls.pending(answer)
        if stamp.outcome == "refused":
            fix = FIXES.get(stamp.code, "")
            raise Refusal(409, stamp.code, stamp.message, fix=fix)
        calls.refuse_if_refused(answer)
        changed = stamp.outcome == "applied"
        reason = "" if changed else stamp.message
        return Reply(wire.ToolTaken(changed=changed, id=one if changed else "", reason=reason))


def given_branches(state: State, bead: Bead) -> tuple[str, str]:
    """Return the branch that the present attempt at a bead was given, and where it lands."""
    # The bead counts the present attempt already, which the branch is named after.
    return branches(state, structs.replace(bead, attempts=max(bead.attempts - 1, 0)))


def _work(
    said: wire.ToolPrime, state: State, bead: Bead, request: Bead | None, texts: Mapping[str, Text]
) -> wire.ToolPrime:
    """Add the bead, where its work belongs, and what was asked to change."""
    branch, target = given_branches(state, bead)
    review = bead.review
    if review is None and request is not None:
        review = request.review
    text = texts.get(bead.content)
    asked = None if review is None else texts.get(review.content)
    return structs.replace(
        said,
        bead=bead.id,
        type=bead.type,
        purpose=bead.purpose,
        rig=bead.rig,
        title="" if text is None else text.title[: wire.TITLE_MAX],
        text="" if text is None else text.body[: wire.BODY_MAX],
        branch=branch,
        target=target,
        commit="" if review is None else review.commit,
        pr_url="" if review is None else review.pr_url,
        why="" if review is None else review.why,
        changes="" if asked is None else asked.body[: wire.BODY_MAX],
    )


def _mayors(said: wire.ToolPrime) -> wire.ToolPrime:
    """Add what a mayor is to do, who has no bead."""
    escalations = sum(one.kind == "escalation" for one in said.messages)
    others = len(said.messages) - escalations
    waits = f"{count_words(escalations, 'escalation')} and {count_words(others, 'message')}"
    return structs.replace(said, title=f"{waits} wait for you", text=MAYORS_WORK)


def _convoy(convoy: Bead | None, texts: Mapping[str, Text]) -> wire.ToolConvoy | None:
    if convoy is None or convoy.convoy_of is None:
        return None
    text, work = texts.get(convoy.content), convoy.convoy_of
    return wire.ToolConvoy(
        id=convoy.id,
        title="" if text is None else text.title[: wire.TITLE_MAX],
        branch=work.branch,
        total=work.total,
        closed=work.closed,
        failed=work.failed,
    )


def _others(state: State, agent: Agent) -> tuple[wire.ToolAgent, ...]:
    """Return other agents: the mayor, those of the same rig, and then the rest."""
    ranked = sorted(
        (one.role != "mayor", one.rig != agent.rig, one.id)
        for one in state.agents.values()
        if one.id != agent.id
    )
    chosen = (state.agents[one] for *_, one in ranked[: wire.AGENTS_MAX])
    return tuple(
        wire.ToolAgent(id=one.id, role=one.role, name=one.name, rig=one.rig, status=one.status)
        for one in chosen
    )


def _message(one: Message, texts: Mapping[str, Text]) -> wire.ToolMessage:
    text = texts.get(one.content)
    return wire.ToolMessage(
        id=one.id,
        kind=one.kind,
        sender=one.sender,
        about=one.about,
        title="" if text is None else text.title[: wire.TITLE_MAX],
        body="" if text is None else text.body[: wire.BODY_MAX],
        sent_at=time_text(one.sent_ms) if one.sent_ms else None,
    )


def _acknowledged(state: State, agent: Agent, one: str) -> events.Event | None:
    """Return the event of what an agent acknowledges; None for what does not wait for it."""
    if one in found(state, "mail", agent.id):
        return events.MailDelivered(one)
    if one in found(state, "nudges", agent.id):
        return events.NudgeDelivered(one)
    bead = state.beads.get(one)
    if bead is not None and bead.escalation is not None and bead.status == "open":
        if agent.role != "mayor":
            raise Refusal(
                403, "only_the_mayor", "only the mayor or a person takes an escalation on",
                field="ids", fix="leave it to them, or send mail to the mayor",
            )  # fmt: skip
        return events.EscalationAcknowledged(one, agent.id)
    return None
