"""The fake GitHub under PyGithub, a client that nobody here wrote, with its own ideas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from github import Auth, Github, GithubException
from github.Repository import Repository

from tests.support.fake_github import TOKEN, FakeGitHub, FakeRepository
from tests.support.rigs import commit_to, git

QUERY = """
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewDecision
      reviewThreads(first: 1) { nodes { id isResolved } pageInfo { hasNextPage endCursor } }
    }
  }
}
"""


class Stand:
    """The fake, its repository, and PyGithub's view of it; calls of PyGithub block."""

    def __init__(self, server: FakeGitHub, rig: FakeRepository) -> None:
        self.server = server
        self.rig = rig
        self.github = Github(
            auth=Auth.Token(TOKEN), base_url=f"{server.base}/api/v3", retry=None,
            seconds_between_requests=None, seconds_between_writes=None,
        )  # fmt: skip

    def repository(self) -> Repository:
        return self.github.get_repo("acme/rig")


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    server = FakeGitHub()
    async with server.serving():
        rig = server.add("acme/rig", tmp_path / "rig.git")
        commit_to(rig.folder, "main", {"a": "one"})
        commit_to(rig.folder, "work", {"b": "two"})
        made = Stand(server, rig)
        yield made
        made.github.close()


async def test_a_pull_request_from_opening_to_merging(stand: Stand) -> None:
    def play() -> str:
        repository = stand.repository()
        assert (repository.full_name, repository.default_branch) == ("acme/rig", "main")
        pull = repository.create_pull(base="main", head="work", title="A title", body="A body")
        assert (pull.title, pull.state, pull.head.ref, pull.base.ref) == (
            "A title", "open", "work", "main"
        )  # fmt: skip
        assert pull.head.sha == git(stand.rig.folder, "rev-parse", "work")
        assert (pull.mergeable, pull.merged) == (True, False)
        found = repository.get_pulls(state="open", head="acme:work", base="main")
        assert [one.number for one in found] == [pull.number]
        assert list(repository.get_pulls(state="closed")) == []
        pull.create_issue_comment("A comment")
        assert [one.body for one in pull.get_issue_comments()] == ["A comment"]
        pull.create_review(body="good", event="APPROVE")
        assert [one.state for one in pull.get_reviews()] == ["APPROVED"]
        done = pull.merge(sha=pull.head.sha)
        assert done.merged
        assert repository.get_pull(pull.number).merged
        return done.sha

    merged = await asyncio.to_thread(play)
    assert merged == git(stand.rig.folder, "rev-parse", "main")
    assert git(stand.rig.folder, "show", "main:b") == "two"


async def test_checks_and_statuses(stand: Stand) -> None:
    def play() -> None:
        repository = stand.repository()
        sha = stand.rig.head("work")
        repository.create_check_run(
            name="ci", head_sha=sha, status="completed", conclusion="failure"
        )
        commit = repository.get_commit(sha)
        runs = commit.get_check_runs(filter="latest")
        assert [(one.name, one.status, one.conclusion) for one in runs] == [
            ("ci", "completed", "failure")
        ]
        assert commit.get_combined_status().state == "pending"
        commit.create_status(state="success", context="lint")
        combined = repository.get_commit(sha).get_combined_status()
        assert (combined.state, combined.total_count) == ("success", 1)

    await asyncio.to_thread(play)


async def test_threads_are_pages_of_graphql(stand: Stand) -> None:
    def play() -> None:
        repository = stand.repository()
        pull = repository.create_pull(base="main", head="work", title="x", body="y")
        commit = repository.get_commit(pull.head.sha)
        for text in ("first", "second"):
            pull.create_review_comment(text, commit, "b", line=1)
        values = {"owner": "acme", "name": "rig", "number": pull.number}
        _, answer = stand.github.requester.graphql_query(QUERY, values)
        talk = answer["data"]["repository"]["pullRequest"]
        threads = talk["reviewThreads"]
        assert [one["isResolved"] for one in threads["nodes"]] == [False]
        assert threads["pageInfo"]["hasNextPage"] is True
        assert talk["reviewDecision"] is None
        with pytest.raises(GithubException):
            stand.github.requester.graphql_query(QUERY, {**values, "name": "none"})
        with pytest.raises(GithubException):
            stand.github.requester.graphql_query("query { nothing }", {})

    await asyncio.to_thread(play)


async def test_what_is_refused(stand: Stand) -> None:
    def refusals() -> list[int]:
        repository = stand.repository()
        pull = repository.create_pull(base="main", head="work", title="x", body="y")
        tries = (
            lambda: repository.create_pull(base="main", head="work", title="again", body=""),
            lambda: repository.create_pull(base="main", head="nothing", title="x", body=""),
            lambda: pull.merge(sha="0" * 40),
            lambda: repository.get_pull(77),
            lambda: Github(
                auth=Auth.Token("another"), base_url=f"{stand.server.base}/api/v3", retry=None
            ).get_repo("acme/rig"),
        )
        statuses = []
        for one in tries:
            with pytest.raises(GithubException) as raised:
                one()
            statuses.append(raised.value.status)
        pull.edit(state="closed")
        assert repository.get_pull(pull.number).state == "closed"
        return statuses

    assert await asyncio.to_thread(refusals) == [422, 422, 409, 404, 401]


async def test_a_lie_is_told_once(stand: Stand) -> None:
    stand.server.lies = [("GET /api/v3/repos/acme/rig", "broken")]

    def ask() -> str:
        with pytest.raises(GithubException) as raised:
            stand.repository()
        assert raised.value.status == 502
        return stand.repository().full_name

    assert await asyncio.to_thread(ask) == "acme/rig"
