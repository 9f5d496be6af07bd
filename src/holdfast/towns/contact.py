"""Follows what towns commit: which attempts are present, and what their agents have not read yet.

It joins the tokens of attempts, the wheel of silence and what waits for agents, and is the one
place that has news of agents accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from msgspec import Struct

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.ports import Mailboxes
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import address
from holdfast.kernel.log import Log
from holdfast.towns.attempts import Attempts, Grant, LiveTowns, town_of, works
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.ordered import Ordered
from holdfast.towns.silence import News, Silence
from holdfast.towns.state import Bead, Nudge, State, busy, found

UNREAD_MAX: Final = 100
"""Messages of one agent that were handed over and not acknowledged; the oldest is dropped."""


TOLD_MAX: Final = 64
"""News that are accepted in one go."""

_DELIVERED: Final = ("message", "closed")


class Message(Struct, frozen=True, kw_only=True, gc=False):
    """What waits for an agent; `content` is the id of its text."""

    id: str
    kind: Literal["mail", "nudge", "escalation"]
    content: str = ""
    sender: str = ""
    about: str = ""
    sent_ms: int = 0


class Inbox:
    """What was handed over in an attempt and is not read."""

    __slots__ = ("attempt", "unread")

    def __init__(self, attempt: str) -> None:
        self.attempt = attempt
        self.unread: dict[str, Message] = {}

    def put(self, message: Message) -> None:
        """Add a message."""
        self.unread[message.id] = message
        if len(self.unread) > UNREAD_MAX:
            del self.unread[next(iter(self.unread))]


class AgentWatch:
    """What is known of agents that work, kept by the commits of their towns."""

    def __init__(
        self,
        attempts: Attempts,
        towns: LiveTowns,
        silence: Silence,
        *,
        mailboxes: Mailboxes,
        clock: Clock,
        chance: Chance,
        log: Log,
        wake: Callable[[], None],
    ) -> None:
        """Begin with nobody; `wake` is called when `step` has something to do at once."""
        self.attempts = attempts
        self.silence = silence
        self._towns = towns
        self._mailboxes = mailboxes
        self._clock = clock
        self._chance = chance
        self._log = log
        self._seen: set[str] = set()
        self._inboxes: dict[tuple[str, str], Inbox] = {}
        self._ended: list[Grant] = []
        self._wake = wake

    # -- what is committed

    def on_commit(self, committed: CommittedTick) -> None:
        """Take in what a tick of a town changed; all of the town at its first since the start."""
        state = town_of(committed)
        if state is None or not state.town.id:
            return
        town, now_ms = state.town.id, self._clock.steady_ms()
        is_first = town not in self._seen
        self._seen.add(town)
        touched = committed.tick.touched
        agents = [key[2:] for key in touched if key[:2] == "a/"]
        for one in sorted(state.agents) if is_first else agents:
            agent = state.agents.get(one)
            if agent is not None and works(agent):
                self.silence.put(town, agent, now_ms)
            else:
                self._let_go(town, one)
        if not is_first:
            self._hand_over(committed.tick.before.state, state, touched)
        is_closed = state.town.closed_ms > 0
        self._end(state, self.attempts.ended_in(state, None if is_first or is_closed else agents))
        self._keep(state)

    def _keep(self, state: State) -> None:
        """Keep a town in memory while somebody works in it, or may call."""
        has_work = busy(state) > 0 or any(
            works(state.agents[one]) for one in found(state, "role", "mayor", "")
        )
        self._towns.put(state, kept=has_work or self.attempts.has_any(state.town.id))

    def _end(self, state: State, ended: Iterable[Grant]) -> None:
        for grant in ended:
            self._ended.append(grant)
            if grant.agent not in state.agents:
                self._let_go(grant.town, grant.agent)
        if self._ended:
            self._wake()

    def _let_go(self, town: str, agent: str) -> None:
        self.silence.drop(town, agent)
        self._inboxes.pop((town, agent), None)

    def _hand_over(self, before: State, after: State, touched: Iterable[str]) -> None:
        """Keep what its host handed to an agent, until the agent says that it was read."""
        for key in touched:
            if key[:2] == "b/":
                bead, old = after.beads.get(key[2:]), before.beads.get(key[2:])
                was_open = old is None or old.status == "open"
                if bead is not None and (bead.type, bead.status) == _DELIVERED and was_open:
                    self._keep_unread(after, bead.to, _mail(bead))
            elif key[:2] == "n/" and key[2:] not in after.nudges:
                nudge = before.nudges.get(key[2:])
                if nudge is not None:
                    self._keep_unread(after, nudge.agent, _nudge(nudge), nudge.attempt)

    def _keep_unread(self, state: State, one: str, message: Message, attempt: str = "") -> None:
        agent = state.agents.get(one)
        if agent is not None and works(agent) and attempt in {"", agent.attempt}:
            self.inbox(state.town.id, one, agent.attempt).put(message)

    # -- what is asked

    def state(self, town: str) -> State | None:
        """Return a town as it was committed last; None where it is not known yet."""
        return self._towns.get(town)

    def inbox(self, town: str, agent: str, attempt: str) -> Inbox:
        """Return what an attempt has not read."""
        known = self._inboxes.get((town, agent))
        if known is None or known.attempt != attempt:
            known = self._inboxes[town, agent] = Inbox(attempt)
        return known

    def waiting(self, state: State, agent: str, attempt: str) -> int:
        """Return how many messages wait for an agent."""
        known = self._inboxes.get((state.town.id, agent))
        unread = 0 if known is None or known.attempt != attempt else len(known.unread)
        waiting = unread + len(found(state, "mail", agent)) + len(found(state, "nudges", agent))
        return waiting + len(_escalations(state, agent))

    def messages(self, state: State, agent: str, attempt: str) -> list[Message]:
        """Return what waits for an agent, what was handed over first."""
        unread = [*self.inbox(state.town.id, agent, attempt).unread.values()]
        mail = (_mail(state.beads[one]) for one in found(state, "mail", agent))
        nudges = (state.nudges[one] for one in found(state, "nudges", agent))
        fit = (_nudge(one) for one in nudges if one.attempt in {"", attempt})
        asked = (_asked(state.beads[one]) for one in _escalations(state, agent))
        return [*unread, *mail, *fit, *asked][:UNREAD_MAX]

    # -- what is heard

    def beat(
        self, grant: Grant, *, worked_ago_ms: float | None, tools: bool, waits: bool | None
    ) -> None:
        """Take a heartbeat; what comes of it is accepted by the job."""
        self.silence.beat(
            grant.town, grant.agent, grant.attempt, self._clock.steady_ms(),
            worked_ago_ms=worked_ago_ms, tools=tools, waits=waits,
        )  # fmt: skip
        if self.silence.news:
            self._wake()

    def seen(self, town: str, agent: str, attempt: str) -> None:
        """Take that a host sees an attempt run, which is a sign of life and no work.

        So a program that knows nothing of heartbeats is not thought dead. One that is not the
        present attempt, or of a town that is not known yet, is not counted.
        """
        state = self._towns.get(town)
        known = None if state is None else state.agents.get(agent)
        if known is None or not works(known) or known.attempt != attempt:
            return
        self.silence.beat(town, agent, attempt, self._clock.steady_ms(), works=False)
        if self.silence.news:
            self._wake()

    def worked(self, grant: Grant) -> None:
        """Take a call of a tool, which is a sign of life and work."""
        self.silence.worked(grant.town, grant.agent, grant.attempt, self._clock.steady_ms())
        if self.silence.news:
            self._wake()

    # -- the job

    async def step(self) -> bool:
        """Have accepted what is due, and end tokens of attempts that are over.

        Return whether more is due; it is called again then, after others had their turn.
        """
        more = self.silence.advance(self._clock.steady_ms())
        news = self.silence.take()
        for first in range(0, len(news), TOLD_MAX):
            await self._tell(news[first : first + TOLD_MAX])
        ended, self._ended = self._ended, []
        try:
            await self.attempts.forget(ended)
        except Exception as error:  # noqa: BLE001  none works any more; the start deletes the rows
            self._log.error("town.tokens_not_deleted", count=len(ended), reason=brief(error))
        for town in {grant.town for grant in ended}:
            if (state := self._towns.get(town)) is not None:
                self._keep(state)
        return more

    async def _tell(self, news: list[News]) -> None:
        rows = []
        for town, event in news:
            dedupe = f"contact:{self._chance.uuid()}"
            rows.append((address(KIND, town), arrival(event, dedupe=dedupe, source="contact")))
        try:
            await self._mailboxes.tell(rows)
        except Exception as error:  # noqa: BLE001  the next heartbeat or look says it again
            self.silence.unsaid(news)
            self._log.error("town.contact_not_accepted", count=len(news), reason=brief(error))


def _mail(bead: Bead) -> Message:
    return Message(
        id=bead.id, kind="mail", content=bead.content, sender=bead.source, sent_ms=bead.created_ms
    )


def _escalations(state: State, agent: str) -> Ordered:
    """Return open escalations, for the mayor alone."""
    known = state.agents.get(agent)
    is_mayor = known is not None and known.role == "mayor"
    return found(state, "escalations") if is_mayor else Ordered()


def _asked(bead: Bead) -> Message:
    about = "" if bead.escalation is None else bead.escalation.about
    return Message(
        id=bead.id, kind="escalation", content=bead.content, about=about, sent_ms=bead.created_ms
    )


def _nudge(nudge: Nudge) -> Message:
    return Message(id=nudge.id, kind="nudge", content=nudge.content, sent_ms=nudge.created_ms)
