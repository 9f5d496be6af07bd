"""An agent in a simulated machine, under the controller's real supervision policy.

The agent follows a script of its machine's chance: it becomes ready, and then crashes, ends by
itself, hangs, is misconfigured, or stays up; its channel does not run always. Some machines begin
with a change of the agent's version. `words` is what is true of its process, and when that
changed, by the script; of a hang, a repair and a channel, from when the machine knows of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from holdfast.machine.controller import supervise
from holdfast.machine.controller.pairing.openclaw.channel_states import ChannelStates
from holdfast.machine.controller.report.facts import is_news
from holdfast.machine.controller.supervise.state import VERSION_TRIAL
from holdfast.sim.channels import QuietLog, SimLink
from holdfast.wire.controller.checkin import VersionChange

POLICY: Final = supervise.Policy(
    healthy_ms=20_000, calm_ms=60_000, start_ms=40_000, park_ms=120_000, stuck_ms=15_000,
    watch_ms=1_000, stop_grace_ms=3_000, trial_ms=10_000, version_ready_ms=20_000,
)  # fmt: skip
"""The figures of a machine, shorter."""

UPGRADES: Final = 0.4
"""The share of starts of a machine that change the agent's version."""

UNDER_WAY: Final = frozenset({"copy", "doctor", "start", "back"})

SIGNALS: Final = {9: "SIGKILL", 15: "SIGTERM"}


class SimAgent:
    """One agent, its supervisor and its process.

    `ill` is the share of starts that do not last.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        now_ms: Callable[[], int],
        steady_ms: Callable[[], int],
        news: Callable[[], None],
        ill: float,
    ) -> None:
        """Start nothing yet; `news` is called where a controller reports at once."""
        self.state = supervise.State()
        self.ill = ill
        self.words: list[tuple[int, str]] = []
        self.ended_ms = -(1 << 40)
        self.next_try_at_ms = 0
        self._chance = chance
        self._now_ms = now_ms
        self._steady_ms = steady_ms
        self._news = news
        self._timer: asyncio.TimerHandle | None = None
        self._fates: list[asyncio.TimerHandle] = []
        self._hangs = self._ready = False
        self.change: VersionChange | None = None
        self._link = SimLink(chance, self._say_word)
        self.channels = ChannelStates(self._link, on_change=self._channel_changed, log=QuietLog())

    def start(self) -> None:
        """Start it, after a change of its version perhaps, and probe it for ever."""
        if self._chance.random() < UPGRADES:
            self._upgrade()
        else:
            self.feed(supervise.Start())
        self._later(POLICY.watch_ms, self._probe)

    def _upgrade(self) -> None:
        """Take the steps of `controller.agent.upgrade`, up to the trial or the way back."""
        copied_ms = self._chance.randrange(200, 4_000)
        cured_ms = copied_ms + self._chance.randrange(500, 8_000)
        self._step("copy")
        self._later(copied_ms, lambda: self._step("doctor"))
        if self._chance.random() < 0.2:  # noqa: PLR2004
            self._later(cured_ms, lambda: self._step("back"))
            self._later(cured_ms + 900, lambda: self._run_after("rolled_back"))
        else:
            self._later(cured_ms, lambda: self._run_after("start"))

    def _run_after(self, step: str) -> None:
        self._step(step)
        if step == "start":
            self.feed(supervise.ConfigChanged(VERSION_TRIAL + "2", restart=False))
        self.feed(supervise.Start())

    def _step(self, step: str) -> None:
        self.change = VersionChange(before="1", after="2", step=step)
        self._say_word()
        self._news()

    def _channel_changed(self) -> None:
        self._say_word()
        self._news()

    def end(self) -> None:
        """End it with its machine."""
        for timer in (*self._fates, *([self._timer] if self._timer else ())):
            timer.cancel()

    def feed(self, event: supervise.Event) -> None:
        """Let the policy decide, and carry out what it says."""
        before = self.state
        self.state, commands = supervise.step(POLICY, before, event, self._steady_ms())
        if self.state.retry_at_ms != before.retry_at_ms:
            at_ms = self.state.retry_at_ms
            left_ms = 0 if at_ms is None else at_ms - self._steady_ms()
            self.next_try_at_ms = 0 if at_ms is None else self._now_ms() + max(left_ms, 0)
        for command in commands:
            self._carry_out(command)
        self._say_word()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state.deadline_ms is not None:
            left_s = max(self.state.deadline_ms - self._steady_ms(), 0) / 1_000
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left_s, lambda: self.feed(supervise.Due(self._now_ms())))
        if self.state is not before and (
            self.state.ready != before.ready or is_news(before, self.state)
        ):
            self._news()

    def _carry_out(self, command: supervise.Command) -> None:
        match command:
            case supervise.Spawn(child):
                self._later(0, lambda: self._spawn(child))
            case supervise.Terminate(child, number):
                if not self._hangs:
                    self._later(100, lambda: self._exit(child, None, SIGNALS[number]))
            case supervise.Kill(child):
                self._later(10, lambda: self._exit(child, None, "SIGKILL"))
            case supervise.BeginRepair(repair, _, _):
                done = self._chance.random() < 0.5  # noqa: PLR2004
                for_ms = self._chance.randrange(500, 6_000)
                event = supervise.Repaired(repair, done, self._now_ms() + for_ms)
                if self._changes:
                    self._step("back")
                    self._later(for_ms, lambda: self._step("rolled_back" if done else "failed"))
                self._later(for_ms, lambda: self.feed(event))
            case supervise.BeHealthy():
                if self._changes:
                    self._step("done")
            case supervise.Drain() | supervise.CancelRepair():
                pass  # there is no work to finish, and a repair here always ends

    @property
    def _changes(self) -> bool:
        return self.change is not None and self.change.step in UNDER_WAY

    def _spawn(self, child: int) -> None:
        if self.state.child != child or self.state.status != "starting":
            self.feed(supervise.SpawnFailed(child, self._now_ms()))
            return
        self._hangs = self._ready = False
        self.feed(supervise.Spawned(child))
        boot_ms = self._chance.randrange(50, 4_000)
        self._later(boot_ms, lambda: self._become_ready(child))
        if self._chance.random() < self.ill:
            at_ms = self._chance.choice((20, 700, boot_ms + 900, boot_ms + 9_000))
            self._later(at_ms, lambda: self._fall_ill(child))

    def _become_ready(self, child: int) -> None:
        if child == self.state.child and not self._hangs:
            self._ready = True
            self._link.open(self._steady_ms())
            if self._chance.random() < 0.5:  # noqa: PLR2004
                self._later(self._chance.randrange(120_000), lambda: self._fail_channel(child))
            self._say_word()
            self._probe_once()

    def _fail_channel(self, child: int) -> None:
        gateway = self._link.gateway
        if child == self.state.child and gateway is not None:
            gateway.fail()
            self._later(self._chance.randrange(60_000), lambda: gateway.set(""))
            self._later(self._chance.randrange(60_000, 600_000), lambda: self._fail_channel(child))

    def _fall_ill(self, child: int) -> None:
        if child != self.state.child:
            return
        kind = self._chance.choice(("crash", "kill", "exit", "hang", "misconfigured"))
        if kind == "hang":
            self._hangs = True
            if self._link.gateway is not None:
                self._link.gateway.answers = False
            self._say_word()
            return
        code = {"crash": 1, "exit": 0, "misconfigured": 78}.get(kind)
        self._exit(child, code, "SIGKILL" if code is None else None)

    def _exit(self, child: int, code: int | None, signal: str | None) -> None:
        if child != self.state.child:
            return
        self._hangs = self._ready = False
        self.ended_ms = self._steady_ms()
        self._link.end(self.ended_ms)
        self.feed(supervise.Exited(child, code, signal, self._now_ms()))

    def _probe(self) -> None:
        self._later(POLICY.watch_ms, self._probe)
        self._probe_once()

    def _probe_once(self) -> None:
        state = self.state
        if state.child and state.spawned_ms is not None:
            answers = self._ready and not self._hangs
            self.feed(supervise.Probed(state.child, ready=answers, answered=not self._hangs))

    def _say_word(self) -> None:
        """Note what is true of the process now."""
        word = self._word()
        if not self.words or self.words[-1][1] != word:
            self.words.append((self._steady_ms(), word))

    def _word(self) -> str:
        state = self.state
        if self._changes:
            word = "changing"
        elif state.repair is not None:
            word = "repairing"
        elif state.parked:
            word = "parked"
        elif state.spawned_ms is None:
            word = "dead"
        elif not self._hangs:
            word = self._channel_word() if self._ready and state.ready else "boot"
        else:
            # That it hangs is known only after probes without an answer, or at its time limit.
            is_known = state.status == "stopping" or (self._ready and not state.ready)
            word = "hung" if is_known else "hanging"
        return word

    def _channel_word(self) -> str:
        """Return what is true of an agent that is up, by its channel and what is known of that."""
        gateway = self._link.gateway
        if gateway is None or not gateway.was_down:
            return "up"
        is_known = bool(self.channels.trouble)
        if gateway.trouble:
            return "muted" if is_known else "muting"
        return "unmuting" if is_known else "up"

    def _later(self, for_ms: int, call: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._fates = [timer for timer in self._fates if timer.when() > loop.time()]
        self._fates.append(loop.call_later(for_ms / 1_000, call))
