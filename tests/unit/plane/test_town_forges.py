"""The forges of towns over the twins: settings, texts of gates, readiness, what failures are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from msgspec.structs import replace

from holdfast.instances.ports import UnsealError
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog, TotalLog
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.kernel.secret import Secret
from holdfast.plane.wiring.town_forges import (
    ASKED_TO_WAIT,
    BAD_TOKEN,
    NO_GATE,
    NO_GITHUB,
    NO_SETTINGS,
    TownForges,
    repository_of,
    seen,
)
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.towns import ports
from holdfast.towns.records import GateSetting, RigSettings
from holdfast.towns.state import PullRequest
from holdfast.world.forges import port
from holdfast.world.forges.port import Pull, Repository
from holdfast.world.forges.simulated import SimulatedRepositories
from holdfast.world.forges.simulated_pulls import SimulatedPulls

T = TypeVar("T")
URL = "https://forge/acme/rig"
SETTINGS = RigSettings(
    rig="r", repository=URL, forge="github", token="sealed",
    gates=(
        GateSetting(name="lint", command=("true",)),
        GateSetting(name="test", command=("false",)),
        GateSetting(name="build", command=("true",)),
    ),
)  # fmt: skip


class Tokens:
    """Opens one sealed text."""

    def open(self, town: str, settings: RigSettings) -> Secret:
        if settings.token != "sealed":
            raise UnsealError("token: it does not open here")
        return Secret(f"token of {town}/{settings.rig}")


class LimitedPulls(SimulatedPulls):
    """Answers with one failure."""

    failure: Retryable | Permanent
    asked = 0

    async def describe(self, repository: Repository, url: str) -> Outcome[Pull]:
        del repository, url
        self.asked += 1
        return self.failure


@dataclass
class Town:
    records: MemoryTownRecords = field(default_factory=MemoryTownRecords)
    repositories: SimulatedRepositories = field(default_factory=SimulatedRepositories)
    clock: ManualClock = field(default_factory=ManualClock)

    async def forges(
        self, settings: RigSettings | None = SETTINGS, pulls: SimulatedPulls | None = None
    ) -> TownForges:
        if settings is not None:
            await self.records.put_rig("t", settings)
        self.repositories.rigs.setdefault(URL, {})
        self.repositories.push(self.repository, "main", {"a": "one"})
        self.repositories.push(self.repository, "bead/1", {"b": "two"})
        return TownForges(
            self.records, self.repositories, pulls, repository=repository_of(Tokens()),
            clock=self.clock, log=TotalLog(NoLog()),
        )  # fmt: skip

    @property
    def repository(self) -> Repository:
        return repository_of(Tokens())("t", SETTINGS)


def good(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def gates_call(*gates: str, rig: str = "r", branch: str = "bead/1") -> ports.GatesCall:
    return ports.GatesCall(
        mr="mr-1", call=4, rig=rig, branch=branch, target="main", commit="", gates=gates
    )


def land_call(commit: str) -> ports.LandCall:
    return ports.LandCall(mr="mr-1", call=5, rig="r", branch="bead/1", target="main", commit=commit)


async def test_gates_keep_what_they_wrote_and_land_what_they_ran_on() -> None:
    town = Town()
    forges = await town.forges()
    ran = good(await forges.gates("t", gates_call("lint", "test", "build")))
    assert [(one.name, one.passed) for one in ran.results] == [
        ("lint", True), ("test", False), ("build", False)
    ]  # fmt: skip
    kept = await town.records.texts("t", tuple(one.content for one in ran.results))
    assert {one.kind for one in kept.values()} == {"gate"}
    assert [text.title.split()[0] for text in kept.values()] == ["lint:", "test:"]
    assert ran.results[2].content == ""
    ran = good(await forges.gates("t", gates_call("lint", "build")))
    assert all(one.passed for one in ran.results)
    assert good(await forges.land("t", land_call(ran.commit))).commit == ran.commit
    assert good(await forges.land("t", land_call(ran.commit))).commit == ran.commit
    assert town.repositories.merges(town.repository, "main") == 1


async def test_a_repository_has_a_credential_and_a_key_of_its_rig() -> None:
    make = repository_of(Tokens())
    one, other = make("t", SETTINGS), make("t", replace(SETTINGS, rig="other"))
    assert one.token == "token of t/r"
    assert one.key not in {other.key, make("t2", SETTINGS).key}
    assert one.key == make("t", replace(SETTINGS, branch="trunk")).key
    assert "token of" not in repr(one)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (None, NO_SETTINGS),
        (replace(SETTINGS, repository=""), NO_SETTINGS),
        (replace(SETTINGS, token="of another plane"), BAD_TOKEN),
    ],
)
async def test_a_rig_that_is_not_set_up(settings: RigSettings | None, code: str) -> None:
    forges = await Town().forges(settings)
    for refused in (
        await forges.gates("t", gates_call("lint")),
        await forges.land("t", land_call("0" * 40)),
    ):
        assert isinstance(refused, Retryable)
        assert refused.code == code


async def test_what_is_wrong_with_the_rig_waits_for_people() -> None:
    town = Town()
    forges = await town.forges()
    ran = good(await forges.gates("t", gates_call("lint")))
    rig = town.repositories.rigs.pop(URL)
    for refused in (
        await forges.gates("t", gates_call("lint")),
        await forges.land("t", land_call(ran.commit)),
    ):
        assert isinstance(refused, Retryable)
        assert refused.code == port.RIG_GONE
    town.repositories.rigs[URL] = rig
    good(await forges.land("t", land_call(ran.commit)))


async def test_a_gate_without_a_command_is_asked_for_again() -> None:
    refused = await (await Town().forges()).gates("t", gates_call("lint", "deploy"))
    assert isinstance(refused, Retryable)
    assert (refused.code, "deploy" in refused.message) == (NO_GATE, True)


async def test_refusals_of_repositories_are_passed_on() -> None:
    forges = await Town().forges()
    refused = await forges.gates("t", gates_call("lint", branch="none"))
    assert isinstance(refused, Permanent)
    assert refused.code == port.NO_BRANCH
    refused_landing = await forges.land("t", land_call("0" * 40))
    assert isinstance(refused_landing, Permanent)
    assert refused_landing.code == ports.MOVED


async def test_a_pull_request_is_proposed_polled_and_merged_when_it_is_ready() -> None:
    town = Town()
    pulls = SimulatedPulls(town.repositories)
    forges = await town.forges(pulls=pulls)
    url = good(await forges.propose("t", "r", "bead/1", "main", title="x", body="y"))
    assert good(await forges.propose("t", "r", "bead/1", "main", title="x", body="y")) == url
    poll = ports.PollCall(mr="mr-1", rig="r", pr_url=url)
    merge = ports.MergeCall(mr="mr-1", call=1, rig="r", pr_url=url)
    pulls.said[url] = lambda pull: replace(pull, checks="pending")
    told = good(await forges.poll("t", poll))
    assert isinstance(told, PullRequest)
    assert (told.pending, told.ready) == (True, False)
    refused = await forges.merge("t", merge)
    assert isinstance(refused, Permanent)
    assert refused.code == port.NOT_MERGEABLE
    del pulls.said[url]
    merged = good(await forges.merge("t", merge))
    assert good(await forges.merge("t", merge)) == merged
    told = good(await forges.poll("t", poll))
    assert told == PullRequest(state="merged", commit=merged.commit)


async def test_a_pull_request_of_another_branch_is_not_watched_or_merged() -> None:
    town = Town()
    pulls = SimulatedPulls(town.repositories)
    forges = await town.forges(pulls=pulls)
    url = good(await forges.propose("t", "r", "bead/1", "main", title="x", body="y"))
    for branch, target in (("bead/2", "main"), ("bead/1", "release")):
        sides = {"mr": "mr-1", "rig": "r", "pr_url": url, "branch": branch, "target": target}
        refused = await forges.merge("t", ports.MergeCall(call=1, **sides))
        assert isinstance(refused, Permanent)
        assert refused.code == port.NO_PULL_REQUEST
        assert good(await forges.poll("t", ports.PollCall(**sides))) == ports.Unreadable(
            code=port.NO_PULL_REQUEST, lasting=True
        )
    own = {"mr": "mr-1", "rig": "r", "pr_url": url, "branch": "bead/1", "target": "main"}
    assert isinstance(good(await forges.poll("t", ports.PollCall(**own))), PullRequest)
    assert isinstance(await forges.merge("t", ports.MergeCall(call=1, **own)), Ok)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Retryable(port.UNREACHABLE, ""), ports.Unreadable(code=port.UNREACHABLE)),
        (Permanent(port.FORBIDDEN, ""), ports.Unreadable(code=port.FORBIDDEN)),
        (
            Permanent(port.NO_PULL_REQUEST, ""),
            ports.Unreadable(code=port.NO_PULL_REQUEST, lasting=True),
        ),
    ],
)
async def test_what_cannot_be_read(
    failure: Retryable | Permanent, expected: ports.Unreadable
) -> None:
    town = Town()
    pulls = LimitedPulls(town.repositories)
    pulls.failure = failure
    forges = await town.forges(pulls=pulls)
    poll = ports.PollCall(mr="mr-1", rig="r", pr_url=f"{URL}/pull/1")
    assert good(await forges.poll("t", poll)) == expected


async def test_being_asked_to_wait_is_not_recorded() -> None:
    town = Town()
    pulls = LimitedPulls(town.repositories)
    pulls.failure = Retryable(port.RATE_LIMITED, "", 30_000)
    forges = await town.forges(pulls=pulls)
    poll = ports.PollCall(mr="mr-1", rig="r", pr_url=f"{URL}/pull/1")
    merge = ports.MergeCall(mr="mr-1", call=1, rig="r", pr_url=f"{URL}/pull/1")
    # Neither the code nor a time with it: the engine would have the rigs of all others wait.
    waits = Retryable(ASKED_TO_WAIT, "")
    assert await forges.poll("t", poll) == waits
    asked = pulls.asked
    assert getattr(await forges.merge("t", merge), "code", "") == ASKED_TO_WAIT
    assert pulls.asked == asked  # nor is the forge asked meanwhile
    await town.records.put_rig("u", SETTINGS)
    assert await forges.poll("u", poll) == waits
    assert pulls.asked == asked + 1
    town.clock.advance(30_000)
    assert await forges.merge("t", merge) == waits
    assert pulls.asked == asked + 2


@pytest.mark.parametrize("forge", ["git", "github"])
async def test_without_pull_requests(forge: str) -> None:
    settings = replace(SETTINGS, forge=forge)
    forges = await Town().forges(settings)
    poll = ports.PollCall(mr="mr-1", rig="r", pr_url=f"{URL}/pull/1")
    assert good(await forges.poll("t", poll)) == ports.Unreadable(code=NO_GITHUB, lasting=True)
    merge = ports.MergeCall(mr="mr-1", call=1, rig="r", pr_url=f"{URL}/pull/1")
    refused = await forges.merge("t", merge)
    assert isinstance(refused, Permanent)
    assert refused.code == NO_GITHUB


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({}, True), ({"mergeable": False}, False), ({"mergeable": None}, False),
        ({"draft": True}, False), ({"checks": "failed"}, False), ({"checks": "pending"}, False),
        ({"unresolved": 1}, False), ({"review_required": True}, False),
        ({"changes_requested": 1}, False), ({"approvals": 2, "comments": 3}, True),
    ],
)  # fmt: skip
def test_when_a_pull_request_is_ready(changes: dict[str, object], *, ready: bool) -> None:
    pull = Pull(number=1, url=URL, state="open", commit="c", target="main", mergeable=True)
    assert seen(replace(pull, **changes)).ready is ready
