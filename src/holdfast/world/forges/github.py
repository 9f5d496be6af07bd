"""Pull requests of GitHub, by githubkit.

Nothing is repeated by itself: githubkit would send a merge four times where the first answer was
lost, so its retries and its cache are off, and what is done once looks before and after. A pull
request is taken only if it is one of the rig's own repository, since the rig's token would merge
any other as well.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

import httpx
from githubkit import GitHub
from githubkit.exception import (
    GitHubException,
    GraphQLFailed,
    RateLimitExceeded,
    RequestError,
    RequestFailed,
)
from pydantic import ValidationError

from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent, Retryable
from holdfast.wire.address import Base, Place
from holdfast.world.forges import port
from holdfast.world.forges.names import bad_branch, is_branch, remote_of
from holdfast.world.forges.port import CheckState, Pull, PullState, Repository

T = TypeVar("T")

TIMEOUT_S: Final = 20.0
PAGES_MAX: Final = 10
PAGE: Final = 100
RATE_MS: Final = 60_000
"""How long to wait where GitHub limits without saying how long."""

RATE_MS_MAX: Final = 3_600_000
_PARTS: Final = re.compile(r"/([A-Za-z0-9._-]+)/([A-Za-z0-9._-]+?)(?:\.git)?/?")
_PULL: Final = re.compile(r"/([A-Za-z0-9._-]+)/([A-Za-z0-9._-]+)/pull/([0-9]{1,10})/?")
_TITLE_CHARS: Final = 250
_BODY_CHARS: Final = 60_000

_THREADS: Final = """
query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewDecision
      mergeCommit { oid }
      reviewThreads(first: 100, after: $after) {
        nodes { isResolved }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""

_FAILED_CHECKS: Final = frozenset(
    {"failure", "timed_out", "cancelled", "action_required", "startup_failure", "stale"}
)
_FAILED_STATUSES: Final = frozenset({"failure", "error"})


class _Place(NamedTuple):
    """A repository of GitHub and the address of its API."""

    host: str
    api: str
    owner: str
    name: str


class _Refused(Exception):  # noqa: N818  it carries an answer
    """Ends a call with a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class GitHubPulls:
    """Implements PullRequests."""

    async def describe(self, repository: Repository, url: str) -> Outcome[Pull]:
        """Return how a pull request is."""

        async def ask(kit: GitHub[Any], at: _Place) -> Pull:
            return await _describe(kit, at, _number(at, url))

        return await _with(repository, ask)

    async def open(
        self, repository: Repository, branch: str, target: str, title: str, body: str
    ) -> Outcome[Pull]:
        """Open one for a branch that is pushed; return the one that is open for it already."""
        for name in (branch, target):
            if not is_branch(name):
                return bad_branch(name)

        async def ask(kit: GitHub[Any], at: _Place) -> Pull:
            known = await _open_for(kit, at, branch, target)
            if known is None:
                try:
                    made = await kit.rest.pulls.async_create(
                        at.owner, at.name, head=branch, base=target,
                        title=title[:_TITLE_CHARS] or branch, body=body[:_BODY_CHARS],
                    )  # fmt: skip
                    known = made.parsed_data.number
                except RequestFailed as error:
                    known = await _open_for(kit, at, branch, target)
                    if known is None:
                        raise _Refused(_failure(error)) from error
            return await _describe(kit, at, known)

        return await _with(repository, ask)

    async def comment(
        self, repository: Repository, url: str, number: str, body: str
    ) -> Outcome[None]:
        """Add a comment once: `number` tells repetitions."""
        mark = f"<!-- holdfast:{re.sub('[^A-Za-z0-9._:-]', '_', number)} -->"

        async def ask(kit: GitHub[Any], at: _Place) -> None:
            pull = _number(at, url)
            pages = _pages(lambda page: kit.rest.issues.async_list_comments(
                at.owner, at.name, pull, per_page=PAGE, page=page
            ))  # fmt: skip
            async for one in pages:
                if isinstance(one.body, str) and mark in one.body:
                    return
            text = f"{body[:_BODY_CHARS]}\n\n{mark}"
            await kit.rest.issues.async_create_comment(at.owner, at.name, pull, body=text)

        return await _with(repository, ask)

    async def merge(self, repository: Repository, url: str, commit: str) -> Outcome[str]:
        """Merge it at this head, once; return the commit that is in the target."""

        async def ask(kit: GitHub[Any], at: _Place) -> str:
            number = _number(at, url)
            before = await _pull(kit, at, number)
            if before.state != "open" or before.commit != commit:
                return await _merged(kit, at, before, commit)
            try:
                done = await kit.rest.pulls.async_merge(
                    at.owner, at.name, number, sha=commit, merge_method="merge"
                )
            except RequestFailed as error:
                if isinstance(error, RateLimitExceeded) or error.response.status_code not in _NOT:
                    raise
                after = await _pull(kit, at, number)
                if after.state != "open" or after.commit != commit:
                    return await _merged(kit, at, after, commit)
                raise _Refused(Permanent(port.NOT_MERGEABLE, _text(error))) from error
            return done.parsed_data.sha

        return await _with(repository, ask)


_NOT: Final = frozenset({405, 409, 422})
"""Statuses by which GitHub does not merge a pull request as it is."""


async def _merged(kit: GitHub[Any], at: _Place, pull: Pull, commit: str) -> str:
    """Return the commit by which it is merged; raise where it is not, and cannot be."""
    if pull.state == "merged":
        return (await _discussion(kit, at, pull.number)).merge_commit
    if pull.state == "closed":
        raise _Refused(Permanent(port.NOT_MERGEABLE, "it was closed"))
    raise _Refused(
        Permanent(port.REWRITTEN, f"its head is {pull.commit[:12]} and not {commit[:12]}")
    )


# --------------------------------------------------------------------------------- what GitHub says


async def _pull(kit: GitHub[Any], at: _Place, number: int) -> Pull:
    data = (await kit.rest.pulls.async_get(at.owner, at.name, number)).parsed_data
    state: PullState = "merged" if data.merged else "closed" if data.state == "closed" else "open"
    return Pull(
        number=data.number,
        url=data.html_url,
        state=state,
        commit=data.head.sha,
        target=data.base.ref,
        branch=data.head.ref,
        mergeable=data.mergeable,
        draft=bool(data.draft),
        comments=data.comments + data.review_comments,
    )


async def _describe(kit: GitHub[Any], at: _Place, number: int) -> Pull:
    pull = await _pull(kit, at, number)
    if pull.state == "closed":
        return pull
    talk = await _discussion(kit, at, number)
    if pull.state == "merged":
        return _replace(pull, merge_commit=talk.merge_commit)
    said: dict[str, str] = {}
    pages = _pages(lambda page: kit.rest.pulls.async_list_reviews(
        at.owner, at.name, number, per_page=PAGE, page=page
    ))  # fmt: skip
    async for review in pages:
        if review.user is not None and review.state in _VERDICTS:
            said[review.user.login] = review.state
    return _replace(
        pull,
        checks=await _checks(kit, at, pull.commit),
        approvals=list(said.values()).count("APPROVED"),
        changes_requested=list(said.values()).count("CHANGES_REQUESTED"),
        review_required=talk.decision == "REVIEW_REQUIRED",
        unresolved=talk.unresolved,
    )


_VERDICTS: Final = frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})


def _replace(pull: Pull, **changes: Any) -> Pull:
    return Pull(**{name: getattr(pull, name) for name in pull.__struct_fields__} | changes)


async def _checks(kit: GitHub[Any], at: _Place, commit: str) -> CheckState:
    """Return what check runs and commit statuses say together."""
    states: set[CheckState] = set()
    for page in range(1, PAGES_MAX + 1):
        runs = (await kit.rest.checks.async_list_for_ref(
            at.owner, at.name, commit, filter_="latest", per_page=PAGE, page=page
        )).parsed_data.check_runs  # fmt: skip
        for run in runs:
            if run.status != "completed":
                states.add("pending")
            else:
                states.add("failed" if run.conclusion in _FAILED_CHECKS else "passed")
        if len(runs) < PAGE:
            break
    combined = (await kit.rest.repos.async_get_combined_status_for_ref(
        at.owner, at.name, commit, per_page=PAGE
    )).parsed_data  # fmt: skip
    if combined.total_count:
        overall: Mapping[str, CheckState] = {"success": "passed", "pending": "pending"}
        states.add(overall.get(combined.state, "failed"))
    order: tuple[CheckState, ...] = ("failed", "pending", "passed")
    for one in order:
        if one in states:
            return one
    return "none"


class _Discussion(NamedTuple):
    """What REST does not say: threads that nobody resolved, what reviews decided, the merge."""

    unresolved: int
    decision: str
    merge_commit: str


async def _discussion(kit: GitHub[Any], at: _Place, number: int) -> _Discussion:
    unresolved, after, decision, merged = 0, None, "", ""
    for _ in range(PAGES_MAX):
        variables = {"owner": at.owner, "name": at.name, "number": number, "after": after}
        answer = await kit.async_graphql(_THREADS, variables)
        try:
            pull = answer["repository"]["pullRequest"]
            threads = pull["reviewThreads"]
            decision = str(pull["reviewDecision"] or "")
            merged = str(pull["mergeCommit"]["oid"]) if pull["mergeCommit"] else ""
            unresolved += sum(not one["isResolved"] for one in threads["nodes"])
            following, after = threads["pageInfo"]["hasNextPage"], threads["pageInfo"]["endCursor"]
        except (KeyError, TypeError):
            raise _Refused(Retryable(port.UNREACHABLE, "GraphQL: it answers otherwise")) from None
        if not following:
            break
    return _Discussion(unresolved, decision, merged)


async def _open_for(kit: GitHub[Any], at: _Place, branch: str, target: str) -> int | None:
    found = await kit.rest.pulls.async_list(
        at.owner, at.name, state="open", head=f"{at.owner}:{branch}", base=target
    )
    rows: Any = found.parsed_data
    mine = (one for one in rows if (one.head.ref, one.base.ref) == (branch, target))
    return next((one.number for one in mine), None)


async def _pages(ask: Callable[[int], Awaitable[Any]]) -> AsyncIterator[Any]:
    """Yield what all pages of a list have."""
    for page in range(1, PAGES_MAX + 1):
        rows = (await ask(page)).parsed_data
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return


# ------------------------------------------------------------------------------ calls and failures


async def _with(
    repository: Repository, ask: Callable[[GitHub[Any], _Place], Awaitable[T]]
) -> Outcome[T]:
    """Make calls with a client of their own, and return their failure as a value."""
    at = _place(repository)
    if not isinstance(at, _Place):
        return at
    kit: GitHub[Any] = GitHub(
        repository.token or None, base_url=at.api, timeout=TIMEOUT_S, auto_retry=False,
        http_cache=False, follow_redirects=False, user_agent="holdfast",
    )  # fmt: skip
    try:
        async with kit:
            return Ok(await ask(kit, at))
    except _Refused as refused:
        return refused.failure
    except (GitHubException, httpx.HTTPError, ValidationError, ValueError) as error:
        return _failure(error)


def _place(repository: Repository) -> _Place | Permanent:
    remote = remote_of(repository)
    if isinstance(remote, Permanent):
        return remote
    if remote.protocol == "file":
        return Permanent(port.RIG_GONE, "repository: want an https address of GitHub")
    place = Place.parse(remote.url)
    parts = _PARTS.fullmatch(place.target)
    if parts is None:
        return Permanent(port.RIG_GONE, "repository: want https://<host>/<owner>/<name>")
    host = str(place.address).removesuffix(":443")
    api = Base(place.scheme, place.address, "").url("/api/v3")
    if host in {"github.com", "www.github.com"}:
        host, api = "github.com", "https://api.github.com"
    return _Place(host, api, parts[1], parts[2])


def _number(at: _Place, url: str) -> int:
    """Return the number of a pull request; raise for one of another repository."""
    try:
        place = Place.parse(url)
    except ValueError:
        place = None
    parts = None if place is None else _PULL.fullmatch(place.target)
    if place is None or parts is None:
        raise _Refused(Permanent(port.NO_PULL_REQUEST, "want https://<host>/<owner>/<name>/pull/N"))
    host = str(place.address).removesuffix(":443").removeprefix("www.")
    theirs = (host, parts[1].lower(), parts[2].lower())
    if theirs != (at.host, at.owner.lower(), at.name.lower()):
        raise _Refused(Permanent(port.NO_PULL_REQUEST, "it is not one of the rig's repository"))
    return int(parts[3])


def _failure(error: BaseException) -> Failure:
    """Return what an error of a call means."""
    if isinstance(error, RateLimitExceeded):
        return Retryable(port.RATE_LIMITED, "GitHub asks to wait", _wait_ms(error.retry_after))
    if isinstance(error, RequestFailed):
        return _status_failure(error)
    if isinstance(error, GraphQLFailed):
        kinds = {str(one.type) for one in error.response.errors or ()}
        if "NOT_FOUND" in kinds:
            return Permanent(port.NO_PULL_REQUEST, "GraphQL: there is no such pull request")
        if kinds & {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
            return Permanent(port.FORBIDDEN, "GraphQL: the token may not read this")
        return Retryable(port.UNREACHABLE, "GraphQL: it failed")
    if isinstance(error, RequestError | httpx.HTTPError):
        cause = error.exc if isinstance(error, RequestError) else error
        return Retryable(port.UNREACHABLE, f"no answer: {type(cause).__name__}")
    return Retryable(port.UNREACHABLE, f"an answer that cannot be read: {type(error).__name__}")


def _status_failure(error: RequestFailed) -> Failure:
    status, text = error.response.status_code, _text(error)
    match status:
        case 401 | 403:
            return Permanent(port.FORBIDDEN, text)
        case 404 | 410 | 451:
            return Permanent(port.NO_PULL_REQUEST, text)
        case 429:
            return Retryable(port.RATE_LIMITED, text, RATE_MS)
        case 405 | 409 | 422:
            return Permanent(port.NOT_MERGEABLE, text)
        case _:
            after = error.response.headers.get("retry-after", "")
            wait = int(after) * 1_000 if after.isascii() and after.isdigit() else None
            known = None if wait is None else min(wait, RATE_MS_MAX)
            return Retryable(port.UNREACHABLE, text, known)


def _wait_ms(wait: timedelta) -> int:
    return min(max(int(wait.total_seconds() * 1_000), 1_000), RATE_MS_MAX)


def _text(error: RequestFailed) -> str:
    """Return the status and what GitHub says, printable and short."""
    try:
        said = error.response.json().get("message", "")
    except (ValueError, AttributeError):
        said = ""
    plain = "".join(c for c in str(said) if c.isprintable())[:200]
    return f"GitHub answers {error.response.status_code}{': ' if plain else ''}{plain}"
