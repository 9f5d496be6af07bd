"""GitHub when it lies: lost answers, faults, limits, nonsense; and git over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.git import GitRepositories
from holdfast.world.forges.github import GitHubPulls
from holdfast.world.forges.port import Gate, Landing, Pull, Repository, Trial
from tests.support.fake_github import TOKEN, FakeGitHub, FakeRepository, Lying
from tests.support.rigs import commit_to, git, real_repositories

T = TypeVar("T")


@dataclass
class Stand:
    server: FakeGitHub
    rig: FakeRepository
    repository: Repository
    forge: GitRepositories
    pulls: GitHubPulls

    async def opened(self) -> Pull:
        return good(await self.pulls.open(self.repository, "bead/1", "main", "x", "y"))

    def merges(self) -> int:
        return int(git(self.rig.folder, "rev-list", "--count", "--merges", "main"))


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    server = FakeGitHub()
    async with server.serving():
        rig = server.add("acme/rig", tmp_path / "rig.git")
        commit_to(rig.folder, "main", {"a": "one"})
        commit_to(rig.folder, "bead/1", {"b": "two"})
        repository = Repository(key="t-r", url=f"{server.base}/acme/rig", token=TOKEN)
        forge = real_repositories(tmp_path / "forge", kind="none")
        yield Stand(server, rig, repository, forge, GitHubPulls())


def good(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def test_a_merge_whose_answer_is_lost_is_found_and_not_repeated(stand: Stand) -> None:
    pull = await stand.opened()
    stand.server.lies = [("PUT", "lost")]
    lost = await stand.pulls.merge(stand.repository, pull.url, pull.commit)
    assert isinstance(lost, Retryable)
    assert lost.code == port.UNREACHABLE
    merged = good(await stand.pulls.merge(stand.repository, pull.url, pull.commit))
    assert merged == stand.rig.head("main")
    assert stand.merges() == 1
    assert sum(one.startswith("PUT") for one in stand.server.asked) == 1


async def test_opening_and_commenting_whose_answers_are_lost_are_not_repeated(stand: Stand) -> None:
    stand.server.lies = [("POST /api/v3/repos/acme/rig/pulls", "lost")]
    lost = await stand.pulls.open(stand.repository, "bead/1", "main", "x", "y")
    assert isinstance(lost, Retryable)
    url = (await stand.opened()).url
    stand.server.lies = [("POST", "lost")]
    assert isinstance(await stand.pulls.comment(stand.repository, url, "n", "b"), Retryable)
    good(await stand.pulls.comment(stand.repository, url, "n", "b"))
    assert (len(stand.rig.pulls), len(stand.rig.pulls[0].comments)) == (1, 1)


@pytest.mark.parametrize(
    ("lie", "code", "wait_ms"),
    [
        ("broken", port.UNREACHABLE, None),
        ("unavailable", port.UNREACHABLE, 7_000),
        ("secondary", port.RATE_LIMITED, 30_000),
        ("primary", port.RATE_LIMITED, 3_600_000),
        ("garbage", port.UNREACHABLE, None),
        ("lost", port.UNREACHABLE, None),
    ],
)
async def test_faults_are_retryable_and_nothing_is_repeated_by_itself(
    stand: Stand, lie: Lying, code: str, wait_ms: int | None
) -> None:
    pull = await stand.opened()
    for where in ("GET", "graphql", "PUT"):
        stand.server.lies.append((where, lie))
        before = len(stand.server.asked)
        failed: Outcome[str] | Outcome[Pull]
        if where == "PUT":
            failed = await stand.pulls.merge(stand.repository, pull.url, pull.commit)
        else:
            failed = await stand.pulls.describe(stand.repository, pull.url)
        assert isinstance(failed, Retryable), failed
        assert (failed.code, failed.retry_after_ms) == (code, wait_ms)
        assert len([one for one in stand.server.asked[before:] if where in one]) == 1


async def test_a_stale_answer_merges_nothing_that_does_not_merge(stand: Stand) -> None:
    commit_to(stand.rig.folder, "bead/1", {"a": "mine"})
    commit_to(stand.rig.folder, "main", {"a": "theirs"})
    pull = await stand.opened()
    stand.rig.pulls[0].mergeable = True
    refused = await stand.pulls.merge(stand.repository, pull.url, pull.commit)
    assert isinstance(refused, Permanent)
    assert refused.code == port.NOT_MERGEABLE
    stand.rig.pulls[0].mergeable = None
    assert good(await stand.pulls.describe(stand.repository, pull.url)).mergeable is None


async def test_a_wrong_token_is_forbidden(stand: Stand) -> None:
    url = (await stand.opened()).url
    for token in ("", "another"):
        theirs = Repository(key="t-w", url=stand.repository.url, token=token)
        refused = await stand.pulls.describe(theirs, url)
        assert isinstance(refused, Permanent)
        assert refused.code == port.FORBIDDEN
        told = await stand.forge.workspace(theirs, "one", "bead/2", "main")
        assert isinstance(told, Permanent)
        assert told.code == port.FORBIDDEN


async def test_many_pages_are_read(stand: Stand) -> None:
    url = (await stand.opened()).url
    pull = stand.rig.pulls[0]
    pull.threads = {f"T{one}": one % 2 == 0 for one in range(250)}
    pull.comments = [{"id": one, "body": "x"} for one in range(150)]
    found = good(await stand.pulls.describe(stand.repository, url))
    assert found.unresolved == 125
    pull.comments[140]["body"] = "<!-- holdfast:n -->"
    good(await stand.pulls.comment(stand.repository, url, "n", "again"))
    assert len(pull.comments) == 150


async def test_a_branch_lands_over_http_with_the_token(stand: Stand) -> None:
    forge, repository = stand.forge, stand.repository
    at = good(await forge.workspace(repository, "one", "bead/2", "main"))
    (Path(at.folder) / "c").write_text("three")
    git(Path(at.folder), "add", "--all")
    git(Path(at.folder), "commit", "--quiet", "--message=work")
    trial = Trial(number="mr-1", branch="bead/2", target="main")
    checked = good(await forge.check(repository, trial, (Gate(name="g", command=("true",)),)))
    landing = Landing(number="mr-1", target="main", commit=checked.commit)
    stand.server.lies = [("POST /acme/rig/git-receive-pack", "lost")]
    assert good(await forge.land(repository, landing)) == checked.commit
    assert not stand.server.lies
    assert good(await forge.land(repository, landing)) == checked.commit
    assert stand.rig.head("main") == checked.commit


async def test_a_server_that_is_not_there(stand: Stand) -> None:
    gone = Repository(key="t-g", url="http://127.0.0.1:9/acme/rig", token=TOKEN)
    failed = await stand.pulls.describe(gone, "http://127.0.0.1:9/acme/rig/pull/1")
    assert isinstance(failed, Retryable)
    refused = await stand.forge.workspace(gone, "one", "bead/2", "main")
    assert isinstance(refused, Retryable)
    assert refused.code == port.UNREACHABLE
