"""What becomes of an attempt's last commits, of its clone and of its fence, with an instance and a
carrier in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import DAY_MS, ManualClock
from holdfast.kernel.failure import OperationError
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Conflict, Ok, Permanent, Retryable
from holdfast.wire.attempt import AttemptEnd
from holdfast.wire.controller import work as wire
from holdfast.wire.controller.calls import TIMEOUT_MS, ControllerError
from holdfast.wire.controller.doctor import OkAnswer
from holdfast.world.hosts import fleet
from holdfast.world.hosts.carrying import BadBundleError
from holdfast.world.hosts.fleet import FleetHost
from holdfast.world.hosts.port import EndedAttempt, Launch
from tests.support.host_benches import released
from tests.support.logs import Lines

ENDED = wire.WorkState(status="ended", end=AttemptEnd(code=0))
FULL = OperationError("error: unable to write file x: No space left on device")
LAUNCH = Launch(
    town="t", agent="ada", attempt="a1", epoch=1, role="polecat", command=("agent",),
    folder="/none", branch="b/1", prompt="do it", host="i-1",
)  # fmt: skip


class Instance:
    """A controller and a carrier that fail as they are told."""

    def __init__(self) -> None:
        self.state = wire.WorkState(status="unknown")
        self.fails: dict[str, ControllerError] = {}
        self.unpack_fails: OSError | None = None
        self.calls: list[str] = []
        self.away: set[str] = set()
        self.brought = 0

    async def call(
        self, instance_id: str, endpoint: Any, *, path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None, body: Any = None, timeout_ms: int = TIMEOUT_MS,
    ) -> Any:  # fmt: skip
        del path, query, body, timeout_ms
        if instance_id in self.away:
            await asyncio.Event().wait()
        name = endpoint.name.partition(".")[2]
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]
        match name:
            case "state":
                return self.state
            case "start":
                self.state = wire.WorkState(status="running")
                return self.state
            case "bundle":
                return wire.WorkResult(commit="1", size=3)
            case "piece":
                return wire.WorkPiece(data=b"abc")
            case _:
                return OkAnswer(ok=True)

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        del instance_id
        return frozenset()

    async def pack(self, folder: str, branch: str, bundle: Path, *, lent: Sequence[str]) -> None:
        del folder, branch, lent
        await asyncio.to_thread(bundle.write_bytes, b"x")

    async def unpack(self, folder: str, branch: str, bundle: Path, *, lent: Sequence[str]) -> None:
        del folder, branch, bundle, lent
        if self.unpack_fails is not None:
            raise self.unpack_fails
        self.brought += 1


class Scene:
    """A host over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.instance = Instance()
        self.host = self.made()

    def made(self) -> FleetHost:
        async def exists(_: str) -> bool:
            return True

        one: Any = self.instance
        return FleetHost(
            self.folder, controllers=one, carrier=one, clock=self.clock, log=TotalLog(Lines()),
            exists=exists,
        )  # fmt: skip

    async def ended(self, after_ms: int) -> tuple[EndedAttempt, ...]:
        self.clock.advance(after_ms)
        found = await self.host.ended()
        assert isinstance(found, Ok)
        return found.value

    def fences(self) -> list[Path]:
        return list((self.folder / "agents").iterdir())


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    await made.host.open()
    assert await made.host.start(LAUNCH) == Ok(None)
    made.instance.state = ENDED
    return made


def refusal(status: int, code: str) -> ControllerError:
    return ControllerError("refused", code, status=status, code=code)


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        ("", FULL),
        ("", TimeoutError()),
        ("bundle", refusal(503, "work_waits")),
        ("bundle", ControllerError("timeout", "no answer")),
        ("piece", ControllerError("broken", "not JSON")),
    ],
)
async def test_last_commits_that_cannot_be_brought_in_passing_are_brought_later(
    scene: Scene, call: str, failure: Any
) -> None:
    if call:
        scene.instance.fails[call] = failure
    else:
        scene.instance.unpack_fails = failure
    assert isinstance(await scene.host.look("t", "a1"), Retryable)
    assert isinstance(await scene.host.gather("t", "a1"), Retryable)
    assert await scene.ended(fleet.GATHER_EVERY_MS) == ()
    asked = len(scene.instance.calls)
    assert await scene.ended(fleet.ASK_EVERY_MS) == ()
    assert len(scene.instance.calls) == asked  # a bundle is large: not at each look
    scene.instance.fails, scene.instance.unpack_fails = {}, None
    assert [one.attempt for one in await scene.ended(fleet.GATHER_EVERY_MS)] == ["a1"]
    assert scene.instance.brought == 1


async def test_an_end_is_told_though_its_commits_cannot_be_brought_for_long(scene: Scene) -> None:
    scene.instance.unpack_fails = FULL
    for _ in range(fleet.GATHERED_TIMES - 1):
        assert await scene.ended(fleet.GATHER_EVERY_MS) == ()
    assert [one.attempt for one in await scene.ended(fleet.GATHER_EVERY_MS)] == ["a1"]


async def test_what_git_or_the_controller_rejects_is_given_up_at_once(scene: Scene) -> None:
    scene.instance.unpack_fails = BadBundleError("fatal: fsck error in packed object")
    assert isinstance(await scene.host.gather("t", "a1"), Permanent)
    assert [one.attempt for one in await scene.ended(fleet.ASK_EVERY_MS)] == ["a1"]
    scene.instance.state, scene.instance.unpack_fails = wire.WorkState(status="unknown"), None
    assert await scene.host.start(replace(LAUNCH, attempt="a2", epoch=2)) == Ok(None)
    scene.instance.state = ENDED
    scene.instance.fails["bundle"] = refusal(409, "work_failed")
    assert [one.attempt for one in await scene.ended(fleet.ASK_EVERY_MS)] == ["a1", "a2"]


async def test_a_forgotten_attempt_leaves_nothing_on_its_instance(scene: Scene) -> None:
    assert len(await scene.ended(fleet.ASK_EVERY_MS)) == 1
    await scene.host.acknowledge("t", "a1")
    scene.instance.fails["drop"] = ControllerError("unreachable", "no answer")
    assert await scene.host.prune(2**62, released) == Ok(())
    scene.instance.fails = {}
    gone = await scene.host.prune(2**62, released)
    assert isinstance(gone, Ok)
    assert [one.attempt for one in gone.value] == ["a1"]
    assert scene.instance.calls[-1] == "drop"


async def test_a_start_that_never_was_is_forgotten_too(scene: Scene) -> None:
    scene.instance.state = wire.WorkState(status="unknown")
    scene.instance.fails["start"] = refusal(409, "agent_not_ready")
    bob = replace(LAUNCH, agent="bob", attempt="b1")
    assert isinstance(await scene.host.start(bob), Conflict)
    assert await scene.host.prune(scene.clock.now_ms(), released) == Ok(())
    gone = await scene.host.prune(scene.clock.now_ms() + 1, released)
    assert isinstance(gone, Ok)
    assert [one.attempt for one in gone.value] == ["b1"]


async def test_fences_outlive_records_and_go_once_no_start_can_be_late(scene: Scene) -> None:
    await scene.ended(fleet.ASK_EVERY_MS)
    await scene.host.acknowledge("t", "a1")
    scene.clock.advance(8 * DAY_MS)
    scene.host = scene.made()  # the plane was away for that long: what it was asked for may wait
    await scene.host.open()
    before_ms = scene.clock.now_ms() - 7 * DAY_MS
    await scene.host.prune(before_ms, released)
    scene.instance.state = wire.WorkState(status="unknown")
    late = await scene.host.start(LAUNCH)
    assert isinstance(late, Conflict)
    assert late.code == "stopped"
    bob = replace(LAUNCH, agent="bob", attempt="b1")
    assert await scene.host.start(bob) == Ok(None)
    scene.clock.advance(DAY_MS)
    await scene.host.prune(scene.clock.now_ms(), released)
    assert len(scene.fences()) == 1  # bob's, who has an attempt
    assert len(scene.host._ledger._turns) == 0


async def test_an_instance_that_does_not_answer_holds_up_no_other(scene: Scene) -> None:
    scene.instance.state = wire.WorkState(status="unknown")
    slow = replace(LAUNCH, agent="bob", attempt="b1", host="i-2")
    assert await scene.host.start(slow) == Ok(None)
    scene.instance.state = ENDED
    scene.instance.away.add("i-2")
    assert [one.attempt for one in await scene.ended(fleet.ASK_EVERY_MS)] == ["a1"]
    await scene.host.close()


async def test_an_end_is_acknowledged_in_the_turn_of_its_agent(scene: Scene) -> None:
    await scene.ended(fleet.ASK_EVERY_MS)
    async with scene.host._ledger.turn("t", "ada"):
        asked = asyncio.ensure_future(scene.host.acknowledge("t", "a1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not asked.done()
    assert await asked == Ok(None)
