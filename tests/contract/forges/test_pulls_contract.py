"""What every implementation of PullRequests does alike: GitHub over HTTP, and the twin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from msgspec.structs import replace

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent
from holdfast.world.forges import port
from holdfast.world.forges.github import GitHubPulls
from holdfast.world.forges.port import Pull, PullRequests, Repository
from holdfast.world.forges.simulated import SimulatedRepositories
from holdfast.world.forges.simulated_pulls import SimulatedPulls
from tests.support.fake_github import TOKEN, FakeGitHub, FakePull
from tests.support.rigs import commit_to

T = TypeVar("T")


class Forge(Protocol):
    """A forge and the hands of its people; `bead/1` is pushed and not merged."""

    repository: Repository

    @property
    def pulls(self) -> PullRequests: ...
    def push(self, branch: str, name: str, text: str) -> str: ...
    def head(self, branch: str) -> str: ...
    def close(self, url: str) -> None: ...
    def say(self, url: str, *, checks: str, verdict: str, threads: int, wanted: int) -> None: ...


class Twin:
    def __init__(self) -> None:
        self._repositories = SimulatedRepositories()
        self.pulls = SimulatedPulls(self._repositories)
        self.repository = Repository(key="t-r", url="https://forge/acme/rig")
        self._repositories.rigs[self.repository.url] = {}

    def push(self, branch: str, name: str, text: str) -> str:
        return self._repositories.push(self.repository, branch, {name: text})

    def head(self, branch: str) -> str:
        return self._repositories.rigs[self.repository.url][branch]

    def close(self, url: str) -> None:
        self.pulls.close(url)

    def say(self, url: str, *, checks: str, verdict: str, threads: int, wanted: int) -> None:
        approvals = int(verdict == "APPROVED")

        def said(pull: Pull) -> Pull:
            return replace(
                pull,
                checks={"failure": "failed", "queued": "pending", "success": "passed"}[checks],
                approvals=approvals,
                changes_requested=int(verdict == "CHANGES_REQUESTED"),
                review_required=approvals < wanted and verdict != "CHANGES_REQUESTED",
                unresolved=threads,
            )

        self.pulls.said[url] = said


class Fake:
    def __init__(self, server: FakeGitHub, folder: Path) -> None:
        self._rig = server.add("acme/rig", folder)
        self.pulls = GitHubPulls()
        self.repository = Repository(key="t-r", url=f"{server.base}/acme/rig", token=TOKEN)

    def push(self, branch: str, name: str, text: str) -> str:
        return commit_to(self._rig.folder, branch, {name: text})

    def head(self, branch: str) -> str:
        return self._rig.head(branch)

    def _pull(self, url: str) -> FakePull:
        return self._rig.pulls[int(url.rpartition("/")[2]) - 1]

    def close(self, url: str) -> None:
        pull = self._pull(url)
        self._rig.sha(pull)
        pull.state = "closed"

    def say(self, url: str, *, checks: str, verdict: str, threads: int, wanted: int) -> None:
        pull, sha = self._pull(url), self._rig.sha(self._pull(url))
        status = "queued" if checks == "queued" else "completed"
        run = {"name": "ci", "head_sha": sha, "status": status}
        self._rig.runs[sha] = [{**run, "conclusion": None if status == "queued" else checks}]
        if verdict:
            pull.reviews = [{"id": 1, "user": {"login": "reader"}, "body": "", "state": verdict}]
        pull.threads = {f"T{one}": False for one in range(threads)} | {"T-resolved": True}
        self._rig.approvals_wanted = wanted


@pytest.fixture(params=["simulated", "github"])
async def forge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Forge]:
    server = FakeGitHub()
    async with server.serving():
        made: Forge = Twin() if request.param == "simulated" else Fake(server, tmp_path / "rig.git")
        made.push("main", "a", "one")
        made.push("bead/1", "b", "two")
        yield made


def good(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def code(outcome: Outcome[T]) -> str:
    assert isinstance(outcome, Permanent | Conflict), outcome
    return outcome.code


async def opened(forge: Forge) -> Pull:
    return good(await forge.pulls.open(forge.repository, "bead/1", "main", "A title", "A body"))


async def described(forge: Forge, url: str) -> Pull:
    return good(await forge.pulls.describe(forge.repository, url))


async def test_one_is_opened_once_and_merged_once_at_its_head(forge: Forge) -> None:
    pull = await opened(forge)
    assert await opened(forge) == pull
    assert (pull.state, pull.mergeable, pull.commit) == ("open", True, forge.head("bead/1"))
    merged = good(await forge.pulls.merge(forge.repository, pull.url, pull.commit))
    assert merged == forge.head("main")
    assert good(await forge.pulls.merge(forge.repository, pull.url, pull.commit)) == merged
    after = await described(forge, pull.url)
    assert (after.state, after.merge_commit) == ("merged", merged)


async def test_a_head_that_went_on_is_not_merged(forge: Forge) -> None:
    pull = await opened(forge)
    forge.push("bead/1", "c", "three")
    refused = await forge.pulls.merge(forge.repository, pull.url, pull.commit)
    assert code(refused) == port.REWRITTEN
    assert (await described(forge, pull.url)).commit == forge.head("bead/1")


async def test_a_conflict_is_described_and_not_merged(forge: Forge) -> None:
    forge.push("bead/1", "a", "mine")
    forge.push("main", "a", "theirs")
    pull = await opened(forge)
    assert pull.mergeable is False
    refused = await forge.pulls.merge(forge.repository, pull.url, pull.commit)
    assert code(refused) == port.NOT_MERGEABLE


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("success", "", 0, 0), ("passed", 0, 0, False, 0)),
        (("failure", "", 0, 0), ("failed", 0, 0, False, 0)),
        (("queued", "", 0, 1), ("pending", 0, 0, True, 0)),
        (("success", "APPROVED", 3, 1), ("passed", 1, 0, False, 3)),
        (("success", "CHANGES_REQUESTED", 1, 1), ("passed", 0, 1, False, 1)),
    ],
)
async def test_what_is_said_of_one(
    forge: Forge, said: tuple[str, str, int, int], expected: tuple[str, int, int, bool, int]
) -> None:
    url = (await opened(forge)).url
    checks, verdict, threads, wanted = said
    forge.say(url, checks=checks, verdict=verdict, threads=threads, wanted=wanted)
    found = await described(forge, url)
    assert expected == (
        found.checks, found.approvals, found.changes_requested, found.review_required,
        found.unresolved,
    )  # fmt: skip


async def test_a_closed_one_stays_closed(forge: Forge) -> None:
    pull = await opened(forge)
    forge.close(pull.url)
    assert (await described(forge, pull.url)).state == "closed"
    refused = await forge.pulls.merge(forge.repository, pull.url, pull.commit)
    assert code(refused) == port.NOT_MERGEABLE


async def test_a_comment_is_made_once(forge: Forge) -> None:
    url = (await opened(forge)).url
    for _ in range(2):
        good(await forge.pulls.comment(forge.repository, url, "mr-1:3", "The gates are red."))
    good(await forge.pulls.comment(forge.repository, url, "mr-1:4", "They are green."))
    assert (await described(forge, url)).comments == 2


@pytest.mark.parametrize(
    "url", ["{rig}/pull/77", "{rig}/issues/1", "https://elsewhere.example/acme/rig/pull/1",
            "{rig}-of-others/pull/1", "not an address", "{rig}/pull/1/../../../x/y/pull/1"],
)  # fmt: skip
async def test_pull_requests_that_are_not_the_rigs(forge: Forge, url: str) -> None:
    await opened(forge)
    url = url.format(rig=forge.repository.url)
    assert code(await forge.pulls.describe(forge.repository, url)) == port.NO_PULL_REQUEST
    refused = await forge.pulls.merge(forge.repository, url, "0" * 40)
    assert code(refused) == port.NO_PULL_REQUEST


async def test_a_branch_that_cannot_be_one(forge: Forge) -> None:
    refused = await forge.pulls.open(forge.repository, "evil:x y", "main", "t", "b")
    assert code(refused) == port.NO_BRANCH
    refused = await forge.pulls.open(forge.repository, "nowhere", "main", "t", "b")
    assert code(refused) == port.NOT_MERGEABLE
