"""The life of one town by a seed: people order, faults happen, then all is calm.

At the end everything must have ended, or wait for a reason that is named; then all ticks are made
again. Many seeds are one campaign (`make sim ARGS="--towns"`).
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import msgspec

from holdfast.actors.commit import check_all
from holdfast.actors.ports import Pending
from holdfast.actors.tick import full_digest
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.ids import EventId
from holdfast.sim.town_world import Chances, TownWorld
from holdfast.sim.towns import Result, TownLoop, repeat
from holdfast.towns import events
from holdfast.towns.definition import TOWN
from holdfast.towns.limits import NUDGE_KEPT_MS
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import explain, reconcile
from holdfast.towns.state import TERMINAL, Config, NewBead, State

CALM_MS: Final = 4 * DAY_MS
NAMED: Final = frozenset(
    {"convoys.land", "beads.blocked_by_failed", "beads.blocked", "beads.held", "beads.staged",
     "reviews.merge", "reviews.poll", "reviews.wait", "mail.deliver"}
)  # fmt: skip
"""Rules whose reasons need a person, or another bead that waits for one."""


def make_chances(random: Random) -> Chances:
    """Return the faults of a seed."""

    def often(*choices: float) -> float:
        return random.choice([0.0, *choices])

    return Chances(
        start_refused=often(0.05, 0.3),
        start_lost=often(0.05, 0.2),
        answer_lost=often(0.05, 0.2),
        agent_bad=often(0.1, 0.4),
        gate_red=often(0.1, 0.3),
        target_moved=often(0.1, 0.3),
        conflict=often(0.1),
        forge_down=often(0.1, 0.3),
        repeat=often(0.3),
        pull_requests=random.random() < 0.3,  # noqa: PLR2004
        work_ms=random.choice([MINUTE_MS, 10 * MINUTE_MS, 40 * MINUTE_MS]),
    )


def situation(state: State, bead: str) -> str:
    """Return in words what a bead waits for that no rule holds back, or an empty string."""
    known = state.beads.get(bead)
    if known is None:
        return ""
    if known.status in TERMINAL:
        return f"it is {known.status}"
    if known.attempt:
        return f"{known.assignee} works on it"
    if known.status == "in_review":
        return "its merge request is under way"
    review = known.review
    if review is not None and review.stage in {"gating", "landing"}:
        return "its gates run" if review.stage == "gating" else "it is being landed"
    if known.convoy_of is not None:
        return "its beads are under way"
    if known.escalation is not None:
        return "somebody has to take it on"
    return ""


class Life:
    """The life of one town by a seed: people order, faults happen, then all is calm."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  repeatable on purpose
        self.world = TownWorld(self.random, make_chances(self.random))
        self.loop = TownLoop(self.world, Policy(), random=self.random)
        self.loop.result.seed = seed
        self.beads: list[str] = []
        self._count = 0

    def run(self) -> Result:
        """Run everything and return what was found."""
        loop, random = self.loop, self.random
        loop.crash_rate = random.choice([0.0, 0.0, 0.02])
        self._found_town()
        acts = (
            self._sling, self._sling, self._convoy, self._cancel, self._hold, self._mail,
            self._crash, self._jump, self._drain, self._host_lost, self._configure, self._garbage,
            self._acknowledge, self._adopt,
        )  # fmt: skip
        for _ in range(random.randrange(6, 24)):
            random.choice(acts)()
            loop.pass_time(random.choice([0, 30 * SECOND_MS, 10 * MINUTE_MS, HOUR_MS]))
            self._explain_all()
            if loop.result.wrong:
                return loop.result
        self._calm()
        return loop.result

    # -- what people do

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def _found_town(self) -> None:
        random, loop = self.random, self.loop
        config = Config(
            code_review=random.random() < 0.8,  # noqa: PLR2004
            merge_strategy="pr" if self.world.chances.pull_requests else "direct",
            town_agents_max=random.choice([2, 5, 50]),
            auto_merge_delay_ms=random.choice([None, 0, MINUTE_MS]),
            resolve_feedback=random.random() < 0.5,  # noqa: PLR2004
            failures_hold=random.random() < 0.7,  # noqa: PLR2004
            budget_day=random.choice([0, 0, 20_000]),
        )
        loop.accept(events.TownCreated(account="acme", name="t1", by="ann", config=config))
        for number in range(random.randrange(1, 3)):
            gates = ("lint", "test")[: random.randrange(3)]
            loop.accept(events.RigAdded(rig=f"r{number}", name=f"rig {number}", gates=gates))
        loop.accept(events.AgentAdded(agent="mayor", role="mayor"))
        loop.settle()

    def _new(self, *, among: list[str] | None = None, rig: str = "") -> NewBead:
        known = self.beads if among is None else among
        most = min(len(known), 2)
        return NewBead(
            id=self._id("bead"),
            rig=rig or self.random.choice(sorted(self.loop.state.rigs)),
            content="c1",
            priority=self.random.randrange(4),
            blocked_by=tuple(self.random.sample(known, self.random.randrange(most + 1))),
        )

    def _sling(self) -> None:
        for _ in range(self.random.randrange(1, 6)):
            new = self._new()
            self.beads.append(new.id)
            self.loop.accept(events.BeadCreated(bead=new, by="ann", bounded=True))

    def _convoy(self) -> None:
        beads: list[NewBead] = []
        rig = self.random.choice(sorted(self.loop.state.rigs))
        for _ in range(self.random.randrange(1, 5)):
            beads.append(self._new(among=[one.id for one in beads], rig=rig))
        convoy = self._id("convoy")
        staged = self.random.random() < 0.3  # noqa: PLR2004
        self.loop.accept(
            events.ConvoyCreated(
                convoy=convoy,
                beads=tuple(beads),
                branch=f"convoy/{convoy}/head",
                mode=self.random.choice(["review-then-land", "review-and-merge"]),
                staged=staged,
            )
        )
        if staged and self.random.random() < 0.7:  # noqa: PLR2004
            self.loop.accept(events.ConvoyStarted(convoy))

    def _cancel(self) -> None:
        if self.loop.state.beads:
            one = self.random.choice(sorted(self.loop.state.beads))
            self.loop.accept(events.BeadCancelled(one, self.random.choice(["closed", "failed"])))

    def _hold(self) -> None:
        if self.beads:
            held = self.random.random() < 0.5  # noqa: PLR2004
            self.loop.accept(events.BeadHeld(self.random.choice(self.beads), held))

    def _mail(self) -> None:
        to = self.random.choice([*sorted(self.loop.state.agents), "nobody"])
        self.loop.accept(events.MailSent(message=self._id("mail"), to=to))
        self.loop.accept(events.NudgeSent(nudge=self._id("nudge"), agent=to))

    def _crash(self) -> None:
        self.loop.crash(self.random.choice([0, MINUTE_MS, HOUR_MS, 10 * HOUR_MS]))

    def _jump(self) -> None:
        self.loop.jump(self.random.choice([-HOUR_MS, -SECOND_MS, 5 * SECOND_MS, 6 * HOUR_MS]))

    def _drain(self) -> None:
        loop = self.loop
        if loop.state.town.drain_nonce:
            loop.accept(events.DrainEnded(loop.state.town.drain_nonce))
        else:
            until_ms = loop.now_ms + self.loop.policy.drain_ms
            loop.accept(events.DrainStarted(self._id("drain"), until_ms))

    def _host_lost(self) -> None:
        self.world.kill_all()

    def _configure(self) -> None:
        known = self.loop.state.town.config
        changed = msgspec.structs.replace(
            known,
            town_agents_max=self.random.choice([1, 5, 50]),
            attempts_max=3,
            failures_hold=known.failures_hold and self.random.random() < 0.9,  # noqa: PLR2004
        )
        self.loop.accept(events.TownConfigured(config=changed, by="ann", steps=True))

    def _garbage(self) -> None:
        self.loop.pending.append(
            Pending(id=EventId(self._id("torn")), body=b'{"type":"Nope"', version=1, source="api",
                    accepted_ms=self.loop.now_ms)
        )  # fmt: skip

    def _acknowledge(self) -> None:
        for bead in self._escalations():
            self.loop.accept(events.EscalationAcknowledged(bead, "ann"))

    def _adopt(self) -> None:
        rig = self.random.choice(sorted(self.loop.state.rigs))
        one = self._id("adopted")
        self.loop.accept(
            events.PullRequestAdopted(bead=one, rig=rig, branch="b", pr_url=f"https://forge/{one}")
        )

    def _escalations(self) -> list[str]:
        beads = self.loop.state.beads
        return [one for one in sorted(beads) if beads[one].type == "escalation"]

    # -- what must hold

    def _waits_for(self, bead: str) -> list[str]:
        """Return the rules that hold a bead back, or the words for what goes on with it."""
        loop = self.loop
        plan = reconcile(loop.state, loop.policy, loop.now_ms, 0)
        if any(action.entity == f"b/{bead}" for action in plan.actions):
            return ["it is acted on"]
        held = explain(loop.state, loop.policy, loop.now_ms, f"b/{bead}")
        words = situation(loop.state, bead)
        return [one.rule for one in held] + ([words] if words else [])

    def _explain_all(self) -> None:
        live = self._live()
        for one in self.random.sample(live, min(3, len(live))):
            if not self._waits_for(one):
                self.loop.accuse(f"nothing says why {self.loop.state.beads[one]} waits")
        if self.random.random() < 0.2:  # noqa: PLR2004
            self._count_all()

    def _count_all(self) -> None:
        """Compare what a plan counts with what is said of each bead."""
        loop = self.loop
        plan = reconcile(loop.state, loop.policy, loop.now_ms, 0)
        counted: Counter[tuple[str, str]] = Counter()
        for some in plan.counted:
            counted[some.rule, some.because] += some.entities
        named = {(one.rule, one.because, one.entity) for one in plan.suppressed}
        said: Counter[tuple[str, str]] = Counter()
        for one in self._live():
            for why in explain(loop.state, loop.policy, loop.now_ms, f"b/{one}"):
                if why not in named:
                    said[why.rule, why.because] += 1
        if said != counted:
            loop.accuse(f"counted {counted - said}, said {said - counted}")

    def _live(self) -> list[str]:
        beads = self.loop.state.beads
        return [one for one in sorted(beads) if beads[one].status not in TERMINAL]

    def _calm(self) -> None:
        """End all faults; everything must end, or wait for a reason that is named."""
        loop, world = self.loop, self.world
        loop.crash_rate = 0.0
        world.chances = Chances(pull_requests=world.chances.pull_requests)
        for process in world.processes.values():  # a mayor that hangs is ended by the rules
            if process.ending == "hang" and process.call.role != "mayor":
                process.ending = "crash"
        town = loop.state.town
        loop.accept(events.DrainEnded(town.drain_nonce))
        config = msgspec.structs.replace(town.config, budget_day=0)
        loop.accept(events.TownConfigured(config=config, by="ann"))
        loop.pass_time(CALM_MS, lambda: not self._unfinished())
        for text in self._unfinished():
            loop.accuse(f"it does not end: {text}")
        if not loop.result.wrong:
            self._quiet()
        loop.result.wrong += [
            f"at the end: {note}" for note in check_all(TOWN, loop.state) if not loop.result.wrong
        ]
        if full_digest(TOWN, loop.state) != loop.folded.digest:
            loop.accuse("the digest that was kept is not that of the state")
        loop.result.wrong += repeat(loop)
        loop.result.wrong += world.wrong
        loop.result.digest = hashlib.sha256(
            b"".join(one.decisions for one in loop.history) + f"{loop.folded.digest}".encode()
        ).hexdigest()
        loop.result.ends.update(bead.status for bead in loop.state.beads.values())

    def _unfinished(self) -> list[str]:
        now_ms = self.loop.now_ms
        left = [
            f"the mayor is {one.status}"
            for one in self.loop.state.agents.values()  # when it may start again is no work
            if one.role == "mayor" and (one.status != "idle" or one.due_ms > now_ms)
        ]
        for one in self._live():
            bead = self.loop.state.beads[one]
            if (
                bead.type in {"escalation", "convoy"} and not bead.due_ms
            ) or bead.type == "message":
                continue
            if bead.status == "in_review":
                continue  # its merge request is looked at by itself
            why = self._waits_for(one)
            if bead.type != "escalation" and not NAMED.intersection(why):
                left.append(f"{one} {bead.type} {bead.status}: {why}")
        return left

    def _quiet(self) -> None:
        """Check that a town in which nothing is left to do writes nothing for an hour."""
        loop = self.loop
        if any(self.loop.state.beads[one].due_ms for one in self._live()) or loop.probes:
            return
        if loop.state.nudges:  # until they have expired, that is left to do
            loop.pass_time(NUDGE_KEPT_MS)
        before = loop.result.events, len(loop.history)
        start = loop.folded.seq
        loop.pass_time(HOUR_MS)
        if loop.folded.seq != start and not any(
            one.body for record in loop.history[before[1] :] for one in record.rows
        ):
            done = [record.decisions[:200] for record in loop.history[before[1] :]]
            if not all(b"retention" in one for one in done):
                loop.accuse(f"it wrote with nothing to do: {done[:3]}")


def run_seed(seed: int) -> Result:
    """Run one seed; what it raises is what it found."""
    life = Life(seed)
    try:
        return life.run()
    except Exception as error:  # noqa: BLE001  the seed has found something
        life.loop.accuse(f"{type(error).__name__}: {error}")
        return life.loop.result


def run_seeds(seeds: Sequence[int], *, jobs: int) -> Iterator[Result]:
    """Run seeds in `jobs` processes and yield their results as they come."""
    if jobs <= 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=8)
