"""Directives of the plane: applied as they come, with each command executed once.

A directive is state. The wish to run or not is acted on when it differs from the last one, so an
agent that was stopped by hand stays stopped until the plane's wish changes. A command is executed
once by its id; its outcome is kept until a check-in has delivered it. Orders for an older
incarnation of the machine are ignored.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from msgspec import structs

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.limits import COMMANDS_REMEMBERED
from holdfast.machine.controller.log import Log
from holdfast.wire.controller.checkin import CommandOutcome
from holdfast.wire.controller.directive import Command, Directive


class Orders:
    """Executes directives, one command at a time."""

    def __init__(self, epoch: int, *, notify: Callable[[], None], clock: Clock, log: Log) -> None:
        """Accept directives for the machine's incarnation `epoch`; 0 if unknown."""
        self._epoch = epoch
        self._notify = notify
        self._clock = clock
        self._log = log
        self._supervisor: Supervisor | None = None
        self._desired = "running"
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._outcomes: dict[str, CommandOutcome] = {}
        self._work: asyncio.Queue[Command | None] = asyncio.Queue()
        self._ladder: tuple[str, int] | None = None
        self.revision = 0

    def serve(self, supervisor: Supervisor) -> None:
        """Send orders to this supervisor from now on; until then commands are refused."""
        self._supervisor = supervisor

    @property
    def wants_running(self) -> bool:
        """Return whether the plane, as far as known, wants the agent to run."""
        return self._desired == "running"

    def pending(self) -> tuple[CommandOutcome, ...]:
        """Return the undelivered outcomes."""
        return tuple(self._outcomes.values())

    def delivered(self, outcomes: tuple[CommandOutcome, ...]) -> None:
        """Remove delivered outcomes."""
        for outcome in outcomes:
            self._outcomes.pop(outcome.id, None)

    def take(self, directive: Directive) -> None:
        """Accept a directive; `run` executes it."""
        if self._epoch and directive.epoch < self._epoch:
            self._log.emit("directive.stale", epoch=directive.epoch, ours=self._epoch)
            return
        self.revision = max(self.revision, directive.revision)
        self._follow_ladder(directive)
        if directive.desired != self._desired:
            self._log.emit("directive.desired", desired=directive.desired, was=self._desired)
            self._desired = directive.desired
            self._work.put_nowait(None)
        for command in directive.commands:
            if command.id not in self._seen:
                self._seen[command.id] = None
                epoch = command.epoch or directive.epoch
                self._work.put_nowait(structs.replace(command, epoch=epoch))
        while len(self._seen) > COMMANDS_REMEMBERED:
            self._seen.popitem(last=False)

    def _follow_ladder(self, directive: Directive) -> None:
        """Hold the recovery, or let it begin anew, by the directive.

        The first directive of a boot only sets the plane's current count.
        """
        known, self._ladder = self._ladder, (directive.ladder, directive.ladder_turn)
        if self._supervisor is None:
            self._ladder = None  # reported again by the next one
            return
        if known is not None and directive.ladder_turn > known[1]:
            self._supervisor.feed(supervise.RetryLadder())
        if directive.ladder == "held" and (known is None or known[0] != "held"):
            self._supervisor.feed(supervise.HoldLadder("stopped by way of the plane"))

    async def run(self) -> None:
        """Execute orders until cancelled."""
        while True:
            command = await self._work.get()
            if command is None:
                await self._follow_desired()
                continue
            try:
                outcome = await self._try(command)
            except Exception as error:  # noqa: BLE001  becomes the outcome; the next still runs
                self._log.emit("command.fault", id=command.id, error=brief(error))
                outcome = CommandOutcome(id=command.id, ok=False, code="internal")
            self._log.emit("command.done", id=outcome.id, ok=outcome.ok, code=outcome.code)
            self._outcomes[outcome.id] = outcome
            self._notify()

    async def _follow_desired(self) -> None:
        if self._supervisor is None:
            return
        if self.wants_running:
            self._supervisor.start()
        else:
            await self._supervisor.stop()

    async def _try(self, command: Command) -> CommandOutcome:
        if self._epoch and command.epoch != self._epoch:
            return CommandOutcome(id=command.id, ok=False, code="wrong_epoch")
        if self._clock.now_ms() > command.valid_until_ms:
            return CommandOutcome(id=command.id, ok=False, code="expired")
        if command.name == "checkin.now":
            return CommandOutcome(id=command.id, ok=True)
        if self._supervisor is None:
            return CommandOutcome(id=command.id, ok=False, code="not_ready")
        return await self._command(command, self._supervisor)

    async def _command(self, command: Command, supervisor: Supervisor) -> CommandOutcome:
        if supervisor.is_changing and command.name != "agent.stop":
            return CommandOutcome(id=command.id, ok=False, code="version_changing")
        if command.name == "agent.start":
            started = supervisor.start()
            return CommandOutcome(id=command.id, ok=True, code="" if started else "already")
        if command.name == "agent.stop":
            stopped = await supervisor.stop()
            return CommandOutcome(id=command.id, ok=True, code="" if stopped else "already")
        restarted = await supervisor.restart()
        code = "" if restarted else "shutting_down"
        return CommandOutcome(id=command.id, ok=restarted, code=code)
