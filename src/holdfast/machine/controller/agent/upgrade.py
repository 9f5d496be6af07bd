"""Changes the agent's version: on a copy of its state, and with a way back that loses nothing.

    copy     the state is moved aside, and a copy takes its place
    doctor   the new version's own doctor brings the copy to its form
    start    the new version is on trial: ready in time, and then without a failure
    back     after any failure: the version before, on the state that was moved aside

The step is on the disk before it begins, so that a controller that is killed goes on with it at its
next start. An older version than the one that ran gets the state that it wrote itself, if one is
kept; else it is refused, because releases read what newer ones wrote without a word and without
most of it. It must never start a version on the only copy of a state that another one wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from holdfast.kernel.failure import OperationError, brief
from holdfast.kernel.secret import redact
from holdfast.machine.controller.agent.installs import Installs, version_at
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.state_copies import StateCopies
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.supervise.ports import Done
from holdfast.machine.controller.supervise.state import VERSION_TRIAL
from holdfast.wire.agents import version_order
from holdfast.wire.controller.checkin import VersionChange
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.parsers import json_as

Step: TypeAlias = Literal[
    "copy", "doctor", "start", "back", "done", "rolled_back", "refused", "failed"
]

RECORD_FILE: Final = "upgrade.json"
_RECORD_BYTES_MAX: Final = 65_536

_UNDER_WAY: Final = frozenset({"copy", "doctor", "start", "back"})

_AGAIN_S: Final = 30.0
"""Between two tries to write that a version proved itself."""
BOOTS_MAX: Final = 5
"""Starts of the machine within one change; after that many the version itself may end it."""

DOCTOR_TIMEOUT_S: Final = 900.0
"""For the doctor on a large state; on a small one it took OpenClaw 49 s at load 6."""


class Change(VersionChange, frozen=True, kw_only=True, rename="camel"):
    """The record: what is reported, and the two installations.

    `number` names the state that was moved aside, `boots` counts starts of the machine within it.
    """

    source: str
    target: str
    number: int
    boots: int = 1


class Upgrades:
    """The changes of one agent's version."""

    def __init__(
        self,
        agent: AgentProcesses,
        installs: Installs,
        home: Path,
        *,
        on_change: Callable[[], None],
        log: Log,
    ) -> None:
        """Keep the record and states below `home`; `on_change` is called after each step."""
        self._agent = agent
        self._installs = installs
        self._file = home / "run" / RECORD_FILE
        self._states = StateCopies(Path(agent.profile.state_folder(agent.place)), home / "upgrades")
        self._on_change = on_change
        self._log = log
        self._ends = False
        self._change: Change | None = None

    def resume(self) -> None:
        """Read the record of an earlier start."""
        try:
            raw = atomic_file.read_file(self._file, _RECORD_BYTES_MAX)
            self._change = json_as(Change, raw)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            self._log.emit("upgrade.unreadable", error=type(error).__name__)

    @property
    def told(self) -> VersionChange | None:
        """Return what is reported of the last change."""
        return self._change

    @property
    def trial(self) -> str:
        """Return the name of the trial that the next start is; empty for none."""
        change = self._change
        return VERSION_TRIAL + change.after if change and change.step == "start" else ""

    async def run(self) -> None:
        """Change the version if the machine was given another one; raise OSError.

        Whatever fails here, the version before is used again; its state is as it was.
        """
        target, change = self._agent.place.install, self._change
        await asyncio.to_thread(self._states.clear_leftovers)
        try:
            if change is not None and change.step in _UNDER_WAY:
                change = await self._resume(change, target)
            else:
                change = await self._plan(target)
            if change is not None:
                await self._try(change)
        except asyncio.CancelledError:
            self._ends = True  # a thread that copies is not cancelled
            raise
        await self._installs.note(self._agent.place.install)
        self._agent.is_changing = False

    async def go_back(self, reason: str) -> Done:
        """Use the version and state of before, because of the failure of one on trial."""
        assert self._change is not None, "one is on trial"
        going = asyncio.ensure_future(self._go_back(self._change, reason))
        try:
            return await asyncio.shield(going)
        except asyncio.CancelledError:
            # A cancelled repair must not leave the state of one version with the program of
            # another, and nothing may start in between.
            await asyncio.wait({going})
            raise

    async def proved(self) -> None:
        """Record that the version on trial works, again until it is written."""
        while self._change is not None and self._change.step == "start":
            try:
                await self._keep(self._change, "done")
            except OSError as error:
                self._log.emit("upgrade.unwritten", error=brief(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                await asyncio.to_thread(self._states.prune)

    async def _resume(self, change: Change, target: str) -> Change | None:
        """Return a change that the end of the controller interrupted, to go on with it."""
        same = target == change.target and self._installs.turn == change.turn
        if same and change.step != "back" and change.boots < BOOTS_MAX:
            return replace(change, boots=change.boots + 1)
        reason = change.reason
        if change.step != "back":
            reason = f"the machine ended {change.boots} times during it"
            if not same:
                reason = "another version was asked for meanwhile"
        if same:
            await self._go_back(change, reason)
            return None
        await self._restore(change, reason)
        await self._installs.note(change.source)
        await self._keep(change, "rolled_back", reason)
        return await self._plan(target)

    async def _plan(self, target: str) -> Change | None:
        """Return the change from what ran to `target`; None where there is none to make."""
        source, before = self._installs.ran
        after = await asyncio.to_thread(version_at, target)
        if not source or not before or before == after:
            return None
        if not after:
            raise OperationError(f"no version can be read at {target}")
        numbers = await asyncio.to_thread(self._states.newest)
        number = 1 + max(numbers, self._change.number if self._change else 0)
        change = Change(
            before=before, after=after, step="copy", turn=self._installs.turn,
            source=source, target=target, number=number,
        )  # fmt: skip
        refusal = await asyncio.to_thread(self._refusal, change)
        if not refusal:
            return change
        await self._keep(change, "refused", refusal)
        await self._installs.stay(source)
        return None

    def _refusal(self, change: Change) -> str:
        """Return why a change cannot be tried, or nothing."""
        if not version_at(change.source):
            return ""  # nothing to stay with
        state = self._source(change)
        if state is None and is_older(change):
            return (
                f"{change.after} is older than {change.before} and does not read what that wrote;"
                f" no state that {change.after} wrote is kept"
            )
        try:
            return self._states.missing_room(state)
        except OSError as error:
            return f"its state cannot be read: {error.strerror or error}"

    def _source(self, change: Change) -> Path | None:
        """Return the state that an older version goes back to."""
        return self._states.find(change.after) if is_older(change) else None

    async def _try(self, change: Change) -> None:
        """Bring the state to the form of the new version, up to its start."""
        if change.step == "start":
            await self._keep(change, "start")
            return
        aside = self._states.aside(change.number, change.before)
        try:
            await self._keep(change, "copy")
            await asyncio.to_thread(
                self._states.begin, aside, self._source(change), go_on=lambda: not self._ends
            )
            await asyncio.to_thread(self._agent.prepare)
        except OSError as error:
            reason = f"its state could not be copied: {error.strerror or error}"
        else:
            await self._keep(change, "doctor")
            reason = await self._call_doctor()
        if reason:
            await self._go_back(change, reason)
        else:
            await self._keep(change, "start")

    async def _call_doctor(self) -> str:
        """Run the new version's own doctor; return why it failed, or nothing."""
        try:
            ran = await self._agent.run(
                self._agent.profile.doctor_argv(self._agent.place, True),  # noqa: FBT003
                timeout_s=DOCTOR_TIMEOUT_S,
            )
        except TimeoutError:
            return f"its doctor took longer than {DOCTOR_TIMEOUT_S:.0f} s"
        except OSError as error:
            return f"its doctor could not be started: {error.strerror or error}"
        last = next((line.strip() for line in reversed(ran.lines) if line.strip()), "")
        return "" if ran.code == 0 else f"its doctor ended with {ran.code}: {redact(last)}"

    async def _go_back(self, change: Change, reason: str) -> Done:
        """Use the version and state of before; raise OSError."""
        if not await asyncio.to_thread(version_at, change.source):
            text = f"{reason}; {change.before} is not installed any more"
            if change.step != "start":  # it has not run, and must not on half of a change
                await self._restore(change, reason)
                await self._keep(change, "failed", text)
                raise OperationError(text)
            await self._keep(change, "failed", text)
            return Done(done=False, detail=text)
        await self._restore(change, reason)
        await self._installs.stay(change.source)
        await self._keep(change, "rolled_back", reason)
        return Done(done=True, detail=f"from {change.after} back to {change.before}")

    async def _restore(self, change: Change, reason: str) -> None:
        """Give the state of before its place again; raise OSError."""
        # Interrupted on the way back, it is not known any more whether the new version ran.
        ran = change.step in {"start", "back"}
        await self._keep(change, "back", reason)
        aside = self._states.aside(change.number, change.before)
        await asyncio.to_thread(self._states.go_back, aside, change.after, keep=ran)

    async def _keep(self, change: Change, step: Step, reason: str = "") -> None:
        kept = replace(change, step=step, reason=reason[:REASON_MAX])
        await asyncio.to_thread(atomic_file.write, self._file, msgspec.json.encode(kept))
        self._change = kept
        self._log.emit("agent.version_change", step=step, before=change.before,
                       after=change.after, reason=reason)  # fmt: skip
        self._on_change()


def is_older(change: VersionChange) -> bool:
    """Return whether a change goes to an older version."""
    return version_order(change.after) < version_order(change.before)
