"""Invariants of a fleet at every moment and at the end, under any fault plan.

    one machine    a sandbox never has two machines that are not destroyed, by the cloud's truth
    none replaced  a machine is not destroyed while its instance is wanted, unless it has a volume
    a way on       what exists has an alarm or a probe, and no transient status outlives its limit
    whole rules    no note, no fault, no quarantine; a dry run of what follows equals it
    nothing lost   what was acknowledged is in the log, once, and answers never change
    budgets        a level of a limit is alerted once a period; an agent is paused exactly while
                   its cap is reached, at the end of each tick
    letters        a destroyed instance has ended its pairing and its node, whatever crashed
    replay         every actor's log, folded again, is bit-equal and decides the same

It only observes. The first violation is kept with its context, and ends the scenario.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from holdfast.actors.commit import fold_loaded
from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.ports import Accepted, Answer, Commit, Stamp
from holdfast.actors.record import decode_record
from holdfast.actors.rehearsal_worker import Back, look_back
from holdfast.actors.rehearse import dry_run
from holdfast.actors.tick import Tick
from holdfast.consent.state import STATE_VERSION as NODE_VERSION
from holdfast.consent.state import decode_state as decode_node
from holdfast.instances.definition import INSTANCE, KIND
from holdfast.instances.events import ClockSetBack, SpendAlerted
from holdfast.instances.spend import over
from holdfast.instances.state import TRANSIENT_STATUSES, Instance, decode_state, exists
from holdfast.instances.views import shown_status
from holdfast.kernel.clock import MINUTE_MS, SECOND_MS
from holdfast.kernel.ids import Address, address
from holdfast.letters.instances import NODE, PAIRING
from holdfast.pairing.state import STATE_VERSION
from holdfast.pairing.state import decode_state as decode_pairing
from holdfast.wire.consent import node_of_instance
from holdfast.wire.controller.identity import decode_sandbox
from holdfast.world.clouds.port import LABEL_SANDBOX, Machine

if TYPE_CHECKING:
    from holdfast.sim.fleet import Fleet

SLACK_MS: Final = 5 * MINUTE_MS
"""How much longer than its limit a status may last.

A call under way may take 125 s to be given up, and the call to the cloud that ends a start as long
again.
"""

OVERDUE_MS: Final = 6 * MINUTE_MS
"""How late an alarm may be handled while a plane runs; the engine's own longest wait is 300 s."""

PREVIEWED: Final = 0.06
"""Share of ticks that are also rehearsed, from the store alone, before they are committed."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


class Checker:
    """Checks one simulation."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        """Check `fleet`; `chance` draws which ticks are rehearsed."""
        self.violations: list[str] = []
        self.previews = 0
        self._fleet = fleet
        self._chance = chance
        self._acknowledged: dict[str, None] = {}
        self._answers: dict[str, Stamp] = {}
        self._since: dict[str, tuple[Any, float, float]] = {}
        self._overdue: dict[str, tuple[int, float, float]] = {}
        self._alerted: dict[str, set[tuple[object, ...]]] = {}

    def accuse(self, text: str) -> None:
        """Record a violation."""
        self.violations.append(text)
        self._fleet.trace.note("VIOLATION", text)

    def raise_any(self) -> None:
        """Raise ViolationError with the first violation."""
        if self.violations:
            raise ViolationError(self.violations[0])

    # ---------------------------------------------------------------------------- the cloud

    def moved(self, machine: Machine) -> None:
        """Check a machine that changed, and the others of its sandbox."""
        fleet = self._fleet
        sandbox = machine.labels.get(LABEL_SANDBOX, "")
        if decode_sandbox(sandbox) is None:
            return
        living = fleet.living(sandbox)
        if len(living) > 1:
            listed = [(row.id, row.state) for row in living]
            self.accuse(f"two machines for {sandbox}: {listed}")
        if machine.state == "destroying" and not fleet.fault_plan.policy.volumes:
            state = fleet.state_of_sandbox(sandbox)
            if state is not None and state.desired != "destroyed":
                self.accuse(f"machine {machine.id} is destroyed but {sandbox} is wanted")

    # ------------------------------------------------------------------------------- ticks

    def committed(self, committed: CommittedTick) -> None:
        """Check a committed tick."""
        result, trace = committed.tick, self._fleet.trace
        trace.steps += 1
        where = result.after.address.id
        for note in result.notes:
            self.accuse(f"{where} tick {result.after.number}: note {note}")
        for decision in result.decisions:
            trace.rules[decision.rule] += 1
            if decision.result == "fault":
                self.accuse(f"{where} tick {result.after.number}: {decision}")
        for withheld in result.withheld:
            trace.rules[withheld.rule] += 1
        for stamp in result.stamps:
            if stamp.outcome == "quarantined":
                self.accuse(f"{where}: event {stamp.id} was quarantined: {stamp.message}")
        if result.after.address.kind == KIND:
            self._look_at_instance(result)

    def _look_at_instance(self, result: Tick[Instance]) -> None:
        """Check a tick of an instance: what exists has an alarm or a probe."""
        state, where = result.after.state, result.after.address.id
        self._fleet.trace.statuses[shown_status(state)] += 1
        self._look_at_budget(result)
        if exists(state):
            probed = INSTANCE.probes(state, self._fleet.fault_plan.policy)
            transient = state.status in TRANSIENT_STATUSES
            if result.deadline_ms is None and (transient or not probed):
                self.accuse(f"{where} is {state.status} without a deadline")

    def _look_at_budget(self, result: Tick[Instance]) -> None:
        """Check that no level is alerted twice in a period of a budget, and that a pause is due.

        A clock that is set back over the begin of a period may have it begin anew.
        """
        before, state = result.before.state, result.after.state
        intents = [INSTANCE.decode_event(one.body, INSTANCE.version) for one in result.intents]
        if before.budget != state.budget or ClockSetBack() in intents:
            self._alerted.pop(state.id, None)
        known = self._alerted.setdefault(state.id, set())
        for event in intents:
            if isinstance(event, SpendAlerted):
                key = (event.period, event.measure, event.starts_ms, event.level)
                if key in known:
                    self.accuse(f"{state.id} was alerted twice: {event}")
                known.add(key)
        due = state.desired == "running" and over(state) is not None
        if due != bool(state.paused_ms):
            self.accuse(f"{state.id}: its cap is reached: {due}, paused: {state.paused_ms}")

    def before_commit(self, commit: Commit) -> None:
        """Rehearse some ticks from the store alone, to compare with what is then committed."""
        if self._chance.random() >= PREVIEWED or commit.record is None:
            return
        fleet = self._fleet
        kind = fleet.kinds[commit.actor.kind]
        loaded = fleet.reader.load_now(commit.actor)
        folded = fold_loaded(kind.definition, commit.actor, loaded).folded
        waiting = fleet.store.waiting.get(commit.actor, {})
        pending = [waiting[stamp.id] for stamp in commit.stamps]
        ahead = dry_run(kind, folded, pending, now_ms=commit.now_ms).steps[0]
        record = decode_record(commit.record)
        self.previews += 1
        calls = tuple(call for call, _lane, _provider in ahead.calls)
        pairs = (
            ("number", ahead.number, record.number),
            ("digest", ahead.digest, record.digest),
            ("seq", ahead.seq, record.seq),
            ("inputs", ahead.inputs, record.inputs),
            ("notes", ahead.notes, record.notes),
            ("deadline", ahead.deadline_ms, record.deadline_ms),
            ("rules", [d.rule for d in ahead.decisions], [d.rule for d in record.decisions]),
            ("calls", calls, tuple(effect.id for effect in commit.effects)),
        )
        for name, rehearsed, made in pairs:
            if rehearsed != made:
                self.accuse(
                    f"{commit.actor} tick {commit.number}: the dry run's {name} was {rehearsed!r},"
                    f" the tick's {made!r}"
                )

    def after_commit(self, commit: Commit) -> None:
        """Check the store's rows of an actor after its commit."""
        actor = self._fleet.store.actors[commit.actor]
        if actor.state_seq != actor.seq:
            self.accuse(
                f"{commit.actor}: the state stored is of {actor.state_seq}, not {actor.seq}"
            )

    # -------------------------------------------------------------------------- the promises

    def acknowledged(self, accepted: Sequence[Accepted]) -> None:
        """Record what was acknowledged as durable."""
        self._acknowledged.update((answer.id, None) for answer in accepted)

    def answered(self, actor: Address, answer: Answer) -> None:
        """Record the answer about an event; a later answer must be the same."""
        del actor
        if answer.stamp is None:
            return
        known = self._answers.setdefault(answer.event, answer.stamp)
        if known != answer.stamp:
            self.accuse(f"event {answer.event} was answered {known}, then {answer.stamp}")

    # ------------------------------------------------------------------------------- sweeps

    def sweep(self) -> None:
        """Check every instance: a way on, a status within its limit, an alarm handled."""
        fleet = self._fleet
        probed = {actor for actor, _key in fleet.store.probes}
        for where, actor in fleet.store.actors.items():
            if where.kind != KIND or actor.state is None:
                continue
            state = decode_state(actor.state, actor.state_version)
            if not exists(state):
                continue
            if actor.alarm_ms is None and str(where) not in probed:
                self.accuse(f"{where} is {state.status} with neither alarm nor probe")
            self._look_status(state)
            self._look_alarm(str(where), actor.alarm_ms)

    def _look_status(self, state: Instance) -> None:
        policy = self._fleet.fault_plan.policy
        limits = {
            "starting": policy.start_timeout_ms,
            "restarting": policy.restart_hard_ms,
        }
        limit = limits.get(state.status)
        now, excused = self._fleet.virtual_ms(), self._fleet.excused_ms()
        key = (state.status, state.epoch, state.since_ms)
        known = self._since.get(state.id)
        if limit is None or known is None or known[0] != key:
            self._since[state.id] = (key, now, excused)
            return
        lasted = now - known[1] - (excused - known[2])
        if lasted > limit + SLACK_MS:
            self.accuse(f"{state.id} has been {state.status} for {lasted / SECOND_MS:.0f} s")

    def _look_alarm(self, where: str, alarm_ms: int | None) -> None:
        fleet = self._fleet
        now, excused = fleet.virtual_ms(), fleet.excused_ms()
        if alarm_ms is None or alarm_ms > fleet.clock.now_ms():
            self._overdue.pop(where, None)
            return
        known = self._overdue.get(where)
        if known is None or known[0] != alarm_ms:
            self._overdue[where] = (alarm_ms, now, excused)
            return
        late = now - known[1] - (excused - known[2])
        if late > OVERDUE_MS:
            self.accuse(f"{where}: its alarm is {late / SECOND_MS:.0f} s late")

    # ------------------------------------------------------------------------------ the end

    async def finish(self) -> None:
        """Check the whole log: nothing lost, nothing doubled, and the same when folded again."""
        store = self._fleet.store
        for event in self._acknowledged:
            if event not in store.known:
                self.accuse(f"event {event} was acknowledged and is not there")
        if store.waiting:
            self.accuse(f"events wait for ever: {sorted(map(str, store.waiting))}")
        for event, stamp in self._answers.items():
            logged: Any = store.known[event].event
            if (logged.seq, logged.outcome) != (stamp.seq, stamp.outcome):
                self.accuse(f"event {event} was answered {stamp} and the log has {logged}")
        for where in store.actors:
            await self._look_back(where)
        self._look_at_letters()
        self.raise_any()

    def _look_at_letters(self) -> None:
        """Check that pairing and node of every destroyed instance have ended with it."""
        fleet = self._fleet
        for state in fleet.states():
            node = address(NODE, node_of_instance(state.account, state.id))
            closed = (found := fleet.store.actors.get(node)) is not None and bool(
                found.state and decode_node(found.state, NODE_VERSION).closed_ms
            )
            if closed != (state.status == "destroyed"):
                self.accuse(f"{state.id} is {state.status}; its node is closed: {closed}")
            actor = fleet.store.actors.get(address(PAIRING, state.id))
            body = None if actor is None else actor.state
            ended = body is not None and decode_pairing(body, STATE_VERSION).gone
            if ended != (state.status == "destroyed"):
                self.accuse(f"{state.id} is {state.status}; its pairing has ended: {ended}")

    async def _look_back(self, where: Address) -> None:
        fleet = self._fleet
        log = fleet.store.log.get(where, [])
        if [row.seq for row in log] != list(range(1, len(log) + 1)):
            self.accuse(f"{where}: its log has gaps or doubles")
        if len({row.id for row in log}) != len(log):
            self.accuse(f"{where}: an event stands in its log twice")
        replay = await look_back(fleet.reader, fleet.kinds, Back(actor=str(where)))
        if not replay.match or replay.bit_equal is not True:
            self.accuse(f"{where}: its replay differs: {replay.divergences[:3]}")
