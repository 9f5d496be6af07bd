"""How towns' calls about agents are carried out, with hosts and repositories in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from holdfast.actors.ports import MailboxFullError
from holdfast.instances.ports import UnsealError
from holdfast.kernel.clock import DAY_MS, ManualClock
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.plane.wiring.town_hosts import TownHosts, describe
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.towns import events, ports
from holdfast.towns.records import GateSetting, RigSettings, Text
from holdfast.world.forges.port import Branch, Repository, Workspace
from holdfast.world.hosts.port import Exited
from holdfast.world.hosts.simulated import SimulatedHost
from tests.support.logs import Lines
from tests.support.patience import patience

CALL = ports.StartCall(
    agent="ada", attempt="a1", role="polecat", rig="web", bead="b1", content="c1",
    branch="bead/b1/1", target="main", epoch=1,
)  # fmt: skip


class Clones:
    """Repositories that make nothing, and answer as they are told."""

    def __init__(self) -> None:
        self.answer: Outcome[Workspace] = Ok(Workspace(folder="/none", branch="x", base="0" * 40))
        self.dropped: list[str] = []
        self.stuck = False

    async def workspace(
        self, repository: Repository, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        del repository, attempt, branch, base
        return self.answer

    async def collect(
        self, repository: Repository, attempt: str, branch: str, target: str
    ) -> Outcome[Branch]:
        del repository, attempt, branch, target
        return Ok(Branch(commit="1" * 40))

    async def drop(self, repository: Repository, attempt: str) -> Outcome[None]:
        del repository
        if self.stuck:
            return Retryable("git_failed", "x")
        self.dropped.append(attempt)
        return Ok(None)


class Scene:
    """TownHosts over twins; it is its own token store and mailbox."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.host, self.clones = SimulatedHost(self.clock), Clones()
        self.records = MemoryTownRecords()
        self.full = self.sealed = False
        self.accepted: list[tuple[str, events.Event, str]] = []
        self.tokens: set[str] = set()
        self.may = set[tuple[str, str]]()
        self.hosts = self.made()

    async def may_use(self, town: str, instance: str) -> bool:
        return (town, instance) in self.may

    def made(self, fleet: SimulatedHost | None = None) -> TownHosts:
        return TownHosts(
            records=self.records, local=self.host, fleet=fleet, repositories=self.clones,
            repository_of=self.repository_of,
            attempts=self, accept=self.accept, tools_url=lambda town: f"http://plane/{town}",
            may_use=self.may_use, commands={"polecat": ("agent", "{prompt}")}, clock=self.clock,
            log=TotalLog(Lines()),
        )  # fmt: skip

    def repository_of(self, town: str, rig: RigSettings) -> Repository:
        if self.sealed:
            raise UnsealError("x")
        return Repository(key=f"{town}-{rig.rig}", url="/rig")

    async def issue(self, town: str, agent: str, attempt: str) -> str:
        del town, agent
        self.tokens.add(attempt)
        return f"token-{attempt}"

    async def revoke(self, town: str, agent: str, attempt: str) -> None:
        del town, agent
        self.tokens.discard(attempt)

    async def accept(self, town: str, event: events.Event, *, dedupe: str) -> None:
        if self.full:
            raise MailboxFullError
        self.accepted.append((town, event, dedupe))

    async def ready(self, **rig: Any) -> None:
        await self.records.put_rig("t", RigSettings(rig="web", repository="/rig", **rig))
        await self.records.put_text("t", Text(id="c1", kind="bead", title="Do", body="- role: x"))


async def test_a_start_has_prompt_token_and_workspace() -> None:
    scene = Scene()
    await scene.ready(gates=(GateSetting(name="test", command=("make", "test")),))
    assert await scene.hosts.start("t", CALL) == Ok(ports.Begun())
    launch = scene.host.launched("t", "a1")
    assert launch is not None
    assert (launch.epoch, launch.role, launch.rig, launch.branch) == (
        1,
        "polecat",
        "web",
        "bead/b1/1",
    )
    assert launch.env["HOLDFAST_TOOL_TOKEN"] == "token-a1"
    assert launch.env["HOLDFAST_TOOL_URL"] == "http://plane/t"
    head, _, rest = launch.prompt.partition("\n## ")
    assert "- role: polecat\n" in head
    assert "- role: x" not in head  # what people wrote is no fact
    assert "Do\n\n- role: x" in rest
    assert "- test: `make test`" in rest
    assert "token-a1" not in launch.prompt
    assert await scene.hosts.start("t", CALL) == Ok(ports.Begun())


@pytest.mark.parametrize(
    ("answer", "code", "charged"),
    [
        (Permanent("rig_gone", "x"), "rig_gone", True),
        (Permanent("rig_locked", "x"), "rig_locked", True),
        (Permanent("forbidden", "x"), "rig_gone", True),
        (Permanent("no_branch", "x"), "bad_bead", True),
        (Permanent("other", "x"), "other", False),
        (Retryable("unreachable", "x"), "unreachable", False),
        (Conflict("taken", "x"), "taken", False),
    ],
)
async def test_a_workspace_that_fails_is_a_start_that_failed_for_certain(
    answer: Any, code: str, *, charged: bool
) -> None:
    scene = Scene()
    await scene.ready()
    scene.clones.answer = answer
    outcome = await scene.hosts.start("t", CALL)
    assert isinstance(outcome, Permanent | Conflict)
    assert outcome.code == code
    assert (isinstance(outcome, Permanent) and outcome.code in ports.CHARGED) == charged
    assert scene.host.launched("t", "a1") is None
    assert not scene.tokens


async def test_settings_texts_and_commands_that_are_missing_are_told_apart() -> None:
    scene = Scene()
    outcome = await scene.hosts.start("t", CALL)
    assert getattr(outcome, "code", "") == "rig_gone"
    await scene.records.put_rig("t", RigSettings(rig="web", repository="/rig"))
    outcome = await scene.hosts.start("t", CALL)
    assert getattr(outcome, "code", "") == "bad_bead"
    await scene.ready()
    refinery = ports.StartCall(agent="r", attempt="a2", role="refinery", rig="web", bead="m1")
    outcome = await scene.hosts.start("t", refinery)
    assert getattr(outcome, "code", "") == "no_command"
    away = ports.StartCall(agent="r", attempt="a3", role="polecat", rig="web", bead="b", host="i-1")
    outcome = await scene.hosts.start("t", away)
    assert getattr(outcome, "code", "") == "no_host"


async def test_a_town_runs_agents_on_instances_of_its_own_account_alone() -> None:
    scene = Scene()
    await scene.ready()
    fleet = SimulatedHost(scene.clock)
    hosts = scene.made(fleet)
    scene.may = {("t", "mine")}
    theirs = structs.replace(CALL, host="theirs")
    assert getattr(await hosts.start("t", theirs), "code", "") == "no_host"
    assert fleet.launched("t", "a1") is None
    assert scene.tokens == set()
    assert await hosts.start("t", structs.replace(CALL, host="mine")) == Ok(ports.Begun())
    assert fleet.launched("t", "a1") is not None


async def test_a_credential_that_cannot_be_opened_starts_nothing() -> None:
    scene = Scene()
    await scene.ready()
    scene.sealed = True
    outcome = await scene.hosts.start("t", CALL)
    assert isinstance(outcome, Permanent)
    assert outcome.code == "bad_token"


async def test_a_start_that_the_host_refuses_leaves_nothing() -> None:
    scene = Scene()
    await scene.ready()
    await scene.hosts.stop("t", ports.StopCall(agent="ada", epoch=1))
    outcome = await scene.hosts.start("t", CALL)
    assert isinstance(outcome, Conflict)
    assert outcome.code == "stopped"
    assert (scene.tokens, scene.clones.dropped) == (set(), ["a1"])


async def test_an_end_is_passed_on_once_and_by_a_later_plane_too() -> None:
    scene = Scene()
    await scene.ready()
    await scene.hosts.start("t", CALL)
    scene.host.finish("t", "a1", Exited(how="exited", code=2))
    scene.full = True
    assert await scene.hosts.pass_on(scene.host) == 0
    scene.full = False
    scene.hosts = scene.made()
    assert await scene.hosts.pass_on(scene.host) == 1
    assert await scene.hosts.pass_on(scene.host) == 0
    exited = events.AgentExited(agent="ada", attempt="a1", status="failed", code="exit_2")
    assert scene.accepted == [("t", exited, "exited:a1")]
    assert not scene.tokens


async def test_the_end_of_a_local_attempt_waits_for_no_instance() -> None:
    scene = Scene()
    await scene.ready()
    fleet = SimulatedHost(scene.clock)
    asked = asyncio.Event()

    async def never() -> Any:
        asked.set()
        await asyncio.Event().wait()

    fleet.ended = never  # type: ignore[method-assign]
    scene.hosts = scene.made(fleet)
    await scene.hosts.start("t", CALL)
    scene.host.finish("t", "a1", Exited(how="exited", code=2))
    watches = [asyncio.create_task(one.work()) for one in scene.hosts.watches()]
    async with asyncio.timeout(patience(5)):
        await asked.wait()
        while not scene.accepted:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)
    for one in watches:
        one.cancel()
    await asyncio.gather(*watches, return_exceptions=True)


async def test_a_stopped_attempt_is_not_passed_on_and_forgotten_in_time() -> None:
    scene = Scene()
    await scene.ready()
    await scene.hosts.start("t", CALL)
    stopped = await scene.hosts.stop("t", ports.StopCall(agent="ada", epoch=1))
    assert stopped == Ok(ports.Ended())
    assert await scene.hosts.pass_on(scene.host) == 0
    await scene.hosts.prune(scene.host)
    assert scene.clones.dropped == []
    scene.clock.advance(8 * DAY_MS)
    await scene.hosts.prune(scene.host)
    assert scene.clones.dropped == ["a1"]


async def test_an_attempt_whose_clone_cannot_be_deleted_is_forgotten_later() -> None:
    scene = Scene()
    await scene.ready()
    await scene.hosts.start("t", CALL)
    await scene.hosts.stop("t", ports.StopCall(agent="ada", epoch=1))
    scene.clock.advance(8 * DAY_MS)
    scene.clones.stuck = True
    await scene.hosts.prune(scene.host)
    scene.clones.stuck, scene.sealed = False, True
    await scene.hosts.prune(scene.host)
    assert (scene.clones.dropped, scene.host.launched("t", "a1") is None) == ([], False)
    scene.sealed = False
    await scene.hosts.prune(scene.host)
    assert (scene.clones.dropped, scene.host.launched("t", "a1")) == (["a1"], None)


OPENCLAW = ("openclaw", "agent", "exec", "--message-file", "{prompt}", "--json")
TURN = b'{\n  "ok": true,\n  "costUsd": 0.25\n}\n'


@pytest.mark.parametrize("command", [OPENCLAW, ("agent", "{prompt}")])
async def test_what_an_openclaw_says_that_it_cost_is_passed_on_once(
    command: tuple[str, ...],
) -> None:
    scene = Scene()
    await scene.ready(commands={"polecat": command})
    await scene.hosts.start("t", CALL)
    scene.host.finish("t", "a1", Exited(how="exited"), written=TURN)
    assert await scene.hosts.pass_on(scene.host) == 1
    assert await scene.hosts.pass_on(scene.host) == 0
    cost = events.CostReported(
        agent="ada", attempt="a1", microdollars=250_000, id="run", late=True, bead="b1"
    )
    exited = events.AgentExited(agent="ada", attempt="a1", status="completed")
    said = [(event, dedupe) for _, event, dedupe in scene.accepted]
    assert said == [(cost, "cost:a1")] * (command == OPENCLAW) + [(exited, "exited:a1")]


async def test_mail_and_nudges_reach_what_runs() -> None:
    scene = Scene()
    await scene.ready()
    mail = ports.MailCall(message="m", agent="ada", attempt="a1", content="c1")
    assert getattr(await scene.hosts.mail("t", mail), "code", "") == "not_here"
    await scene.hosts.start("t", CALL)
    assert await scene.hosts.mail("t", mail) == Ok(ports.Delivered())
    nudge = ports.NudgeCall(nudge="n", agent="ada", attempt="a1", level=1)
    assert await scene.hosts.nudge("t", nudge) == Ok(ports.Delivered())
    first, second = scene.host.pokes("t", "a1")
    assert "Do" in first
    assert "sign of work" in second


@pytest.mark.parametrize(
    ("seen", "status", "code"),
    [
        (Exited(how="exited"), "completed", ""),
        (Exited(how="exited", code=1), "failed", "exit_1"),
        (Exited(how="signalled", code=6), "failed", "signal_6"),
        (Exited(how="signalled", code=9, because="memory"), "failed", "memory"),
        (Exited(how="signalled", code=15, because="asked"), "evicted", "asked"),
        (Exited(how="exited", code=125, because="unconfined"), "gone", "unconfined"),
        (Exited(how="exited", code=125, because="not_started"), "gone", "not_started"),
        (Exited(how="gone"), "gone", ""),
    ],
)
def test_ends_are_told_apart_by_whose_fault_they_are(seen: Exited, status: str, code: str) -> None:
    assert describe(seen) == (status, code)
