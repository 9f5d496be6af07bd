"""A GitHub over HTTP: REST, GraphQL and git, over real bare repositories, which lies on demand.

What it answers is filled up to the models of GitHub's own description (those of githubkit) and
checked against them; PyGithub, which nobody here wrote, drives it in a suite of its own.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from aiohttp import web
from githubkit_schemas.latest import models
from graphql import GraphQLResolveInfo, build_schema, graphql
from pydantic import BaseModel

TOKEN: Final = "ghp_of-the-rig-and-nobody-else"
_MOMENT: Final = "2026-11-30T12:00:00Z"

Lying = Literal["lost", "broken", "unavailable", "secondary", "primary", "garbage"]

_SCHEMA: Final = build_schema(
    """
    type Query { repository(owner: String!, name: String!): Repository }
    type Repository { pullRequest(number: Int!): PullRequest }
    type PullRequest {
      reviewDecision: String
      mergeCommit: Commit
      reviewThreads(first: Int, after: String): Threads!
    }
    type Commit { oid: String! }
    type Threads { nodes: [Thread!]! pageInfo: PageInfo! }
    type Thread { id: ID! isResolved: Boolean! }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type Mutation { resolveReviewThread(input: ResolveInput!): Resolved }
    input ResolveInput { threadId: ID! }
    type Resolved { thread: Thread }
    """
)


@dataclass
class FakePull:
    """A pull request; `mergeable` overrides what git finds, as a forge that is late does."""

    number: int
    head: str
    base: str
    title: str
    body: str
    state: Literal["open", "closed"] = "open"
    sha: str = ""
    merge_commit: str = ""
    mergeable: bool | Literal["as it is"] | None = "as it is"
    reviews: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    threads: dict[str, bool] = field(default_factory=dict)


@dataclass
class FakeRepository:
    """A repository: a bare folder, its pull requests, and checks by commit."""

    name: str
    folder: Path
    pulls: list[FakePull] = field(default_factory=list)
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    approvals_wanted: int = 0

    def git(self, *words: str) -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        options = ("-c", "user.name=GitHub", "-c", "user.email=noreply@localhost")
        done = subprocess.run(
            ("git", *options, f"--git-dir={self.folder}", *words),
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LookupError(done.stderr)
        return done.stdout.strip()

    def head(self, branch: str) -> str:
        return self.git("rev-parse", "--verify", f"refs/heads/{branch}^{{commit}}")

    def merge(self, pull: FakePull) -> str | None:
        """Return the tree of the merge, None for a conflict."""
        try:
            ours, theirs = self.head(pull.base), self.sha(pull)
            return self.git("merge-tree", "--write-tree", ours, theirs).splitlines()[0]
        except LookupError:
            return None

    def sha(self, pull: FakePull) -> str:
        if pull.state == "open":
            pull.sha = self.head(pull.head)
        return pull.sha


class FakeGitHub:
    """The server; `lies` are told once each, to the first request whose line holds their text."""

    def __init__(self) -> None:
        self.repositories: dict[str, FakeRepository] = {}
        self.lies: list[tuple[str, Lying]] = []
        self.asked: list[str] = []
        self.secrets: set[str] = set()
        self.base = ""
        self._ids = 0

    def add(self, name: str, folder: Path) -> FakeRepository:
        folder.mkdir(parents=True)
        made = self.repositories[name] = FakeRepository(name, folder)
        made.git("init", "--quiet", "--bare", "--initial-branch=main")
        return made

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application(middlewares=[self._middleware], client_max_size=1 << 28)
        at, pull = "/api/v3/repos/{owner}/{name}", "/api/v3/repos/{owner}/{name}/pulls/{number}"
        app.add_routes([
            web.get(at, self._repository),
            web.get(f"{at}/pulls", self._pulls),
            web.post(f"{at}/pulls", self._open),
            web.get(pull, self._pull),
            web.patch(pull, self._edit),
            web.put(f"{pull}/merge", self._merge),
            web.get(f"{pull}/reviews", self._reviews),
            web.post(f"{pull}/reviews", self._review),
            web.post(f"{pull}/comments", self._thread),
            web.get(f"{at}/issues/{{number}}/comments", self._comments),
            web.post(f"{at}/issues/{{number}}/comments", self._comment),
            web.get(f"{at}/commits/{{sha}}", self._commit),
            web.get(f"{at}/commits/{{sha}}/check-runs", self._runs),
            web.post(f"{at}/check-runs", self._run),
            web.get(f"{at}/commits/{{sha}}/status", self._status),
            web.post(f"{at}/statuses/{{sha}}", self._set_status),
            web.post("/api/graphql", self._graphql),
            web.route("*", "/{owner}/{name}/{rest:.*}", self._git),
        ])  # fmt: skip
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.base = f"http://{host}:{port}"
            yield
        finally:
            await runner.cleanup()

    # ------------------------------------------------------------------------------ who, and lies

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        line = f"{request.method} {request.path}"
        self.asked.append(line)
        said = request.headers.get("Authorization", "")
        self.secrets.add(said)
        if not _is_known(said):
            challenge = {"WWW-Authenticate": "Basic"}
            return web.json_response({"message": "Bad credentials"}, status=401, headers=challenge)
        lie = next((one for one in self.lies if one[0] in line), None)
        if lie is not None:
            self.lies.remove(lie)
            if (told := _told(lie[1])) is not None:
                return told
        try:
            answer = await handler(request)
        except LookupError:
            return web.json_response({"message": "Not Found"}, status=404)
        if lie is not None and lie[1] == "lost":
            assert request.transport is not None
            request.transport.close()
        return answer

    def _of(self, request: web.Request) -> FakeRepository:
        found = request.match_info
        return self.repositories[f"{found['owner']}/{found['name']}"]

    def _pull_of(self, request: web.Request) -> FakePull:
        number = int(request.match_info["number"])
        found = [one for one in self._of(request).pulls if one.number == number]
        if not found:
            raise LookupError(number)
        return found[0]

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    # ------------------------------------------------------------------------------------- answers

    def _api(self, repository: FakeRepository) -> str:
        return f"{self.base}/api/v3/repos/{repository.name}"

    def _shown_repository(self, repository: FakeRepository) -> dict[str, Any]:
        owner, name = repository.name.split("/")
        return {
            "name": name, "full_name": repository.name, "owner": {"login": owner},
            "url": self._api(repository), "html_url": f"{self.base}/{repository.name}",
            "default_branch": "main",
        }  # fmt: skip

    def _shown(self, repository: FakeRepository, pull: FakePull) -> dict[str, Any]:
        api, sha = self._api(repository), repository.sha(pull)
        own = f"{api}/pulls/{pull.number}"
        issue = f"{api}/issues/{pull.number}"
        owner = repository.name.split("/")[0]
        known: Any = pull.mergeable
        if known == "as it is":
            known = None if pull.state == "closed" else repository.merge(pull) is not None
        of = self._shown_repository(repository)
        return {
            "number": pull.number, "id": pull.number, "state": pull.state, "title": pull.title,
            "body": pull.body, "url": own, "issue_url": issue, "comments_url": f"{issue}/comments",
            "review_comments_url": f"{own}/comments", "html_url": self._address(repository, pull),
            "head": {"ref": pull.head, "sha": sha, "label": f"{owner}:{pull.head}", "repo": of},
            "base": {"ref": pull.base, "sha": repository.head(pull.base), "repo": of},
            "merged": bool(pull.merge_commit), "mergeable": known,
            "merged_at": _MOMENT if pull.merge_commit else None,
            "mergeable_state": "clean" if known else "dirty", "draft": False,
            "comments": len(pull.comments), "review_comments": len(pull.threads),
        }  # fmt: skip

    def _address(self, repository: FakeRepository, pull: FakePull) -> str:
        return f"{self.base}/{repository.name}/pull/{pull.number}"

    async def _repository(self, request: web.Request) -> web.Response:
        return _json(models.FullRepository, self._shown_repository(self._of(request)))

    async def _pull(self, request: web.Request) -> web.Response:
        return _json(models.PullRequest, self._shown(self._of(request), self._pull_of(request)))

    async def _pulls(self, request: web.Request) -> web.Response:
        repository, asked = self._of(request), request.query
        head = asked.get("head", "").rpartition(":")[2]
        found = [
            self._shown(repository, one)
            for one in repository.pulls
            if asked.get("state", "open") in {"all", one.state}
            and head in {"", one.head}
            and asked.get("base", "") in {"", one.base}
        ]
        return _list(models.PullRequestSimple, found, request)

    async def _open(self, request: web.Request) -> web.Response:
        repository, body = self._of(request), await request.json()
        head, base = body["head"].rpartition(":")[2], body["base"]
        if any((one.head, one.base, one.state) == (head, base, "open") for one in repository.pulls):
            return _invalid(f"A pull request already exists for {head}.")
        try:
            if repository.head(head) == repository.head(base):
                return _invalid(f"No commits between {base} and {head}")
        except LookupError:
            return _invalid("head is invalid")
        made = FakePull(
            len(repository.pulls) + 1, head, base, body.get("title") or "", body.get("body") or ""
        )
        repository.pulls.append(made)
        return _json(models.PullRequest, self._shown(repository, made), status=201)

    async def _edit(self, request: web.Request) -> web.Response:
        pull, body = self._pull_of(request), await request.json()
        self._of(request).sha(pull)
        pull.state = body.get("state", pull.state)
        pull.title = body.get("title", pull.title)
        return await self._pull(request)

    async def _merge(self, request: web.Request) -> web.Response:
        repository, pull, body = self._of(request), self._pull_of(request), await request.json()
        if body.get("sha") not in {None, repository.sha(pull)}:
            message = "Head branch was modified. Review and try the merge again."
            return web.json_response({"message": message}, status=409)
        tree = repository.merge(pull) if pull.state == "open" else None
        approvals = sum(one["state"] == "APPROVED" for one in pull.reviews)
        if tree is None or approvals < repository.approvals_wanted:
            return web.json_response({"message": "Pull Request is not mergeable"}, status=405)
        ours = repository.head(pull.base)
        commit = repository.git(
            "commit-tree", "-p", ours, "-p", pull.sha, "-m", f"Merge pull request #{pull.number}",
            tree,
        )  # fmt: skip
        repository.git("update-ref", f"refs/heads/{pull.base}", commit, ours)
        pull.state, pull.merge_commit = "closed", commit
        answer = {"sha": commit, "merged": True, "message": "Pull Request successfully merged"}
        return _json(models.PullRequestMergeResult, answer)

    async def _reviews(self, request: web.Request) -> web.Response:
        return _list(models.PullRequestReview, self._pull_of(request).reviews, request)

    async def _review(self, request: web.Request) -> web.Response:
        pull, body = self._pull_of(request), await request.json()
        states = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED"}
        review = {
            "id": self._id(), "user": {"login": request.headers.get("X-User", "reader")},
            "body": body.get("body", ""), "state": states.get(body.get("event", ""), "COMMENTED"),
        }  # fmt: skip
        pull.reviews.append(review)
        return _json(models.PullRequestReview, review)

    async def _thread(self, request: web.Request) -> web.Response:
        pull, body = self._pull_of(request), await request.json()
        number = self._id()
        pull.threads[f"T{number}"] = False
        comment = {"id": number, "body": body["body"], "path": body.get("path", "")}
        return _json(models.PullRequestReviewComment, comment, status=201)

    async def _comments(self, request: web.Request) -> web.Response:
        return _list(models.IssueComment, self._pull_of(request).comments, request)

    async def _comment(self, request: web.Request) -> web.Response:
        comment = {"id": self._id(), "body": (await request.json())["body"]}
        self._pull_of(request).comments.append(comment)
        return _json(models.IssueComment, comment, status=201)

    async def _commit(self, request: web.Request) -> web.Response:
        sha = self._of(request).git("rev-parse", request.match_info["sha"])
        at = f"{self._api(self._of(request))}/commits/{sha}"
        return _json(models.Commit, {"sha": sha, "url": at})

    async def _runs(self, request: web.Request) -> web.Response:
        runs = self._of(request).runs.get(request.match_info["sha"], [])
        return web.json_response({
            "total_count": len(runs),
            "check_runs": [filled(models.CheckRun, one) for one in _page(runs, request)],
        })  # fmt: skip

    async def _run(self, request: web.Request) -> web.Response:
        body = await request.json()
        run = {
            "id": self._id(), "name": body["name"], "head_sha": body["head_sha"],
            "status": body.get("status", "queued"), "conclusion": body.get("conclusion"),
            "check_suite": {"id": self._id()},
        }  # fmt: skip
        runs = self._of(request).runs.setdefault(body["head_sha"], [])
        runs[:] = [one for one in runs if one["name"] != run["name"]] + [run]
        return _json(models.CheckRun, run, status=201)

    async def _status(self, request: web.Request) -> web.Response:
        sha = request.match_info["sha"]
        rows = self._of(request).statuses.get(sha, [])
        states = {one["state"] for one in rows}
        state = "failure" if states & {"failure", "error"} else "pending"
        if states == {"success"}:
            state = "success"
        answer = {"state": state, "statuses": rows, "sha": sha, "total_count": len(rows)}
        return _json(models.CombinedCommitStatus, answer)

    async def _set_status(self, request: web.Request) -> web.Response:
        body, sha = await request.json(), request.match_info["sha"]
        status = {"state": body["state"], "context": body.get("context", "default")}
        rows = self._of(request).statuses.setdefault(sha, [])
        rows[:] = [one for one in rows if one["context"] != status["context"]] + [status]
        return _json(models.Status, status, status=201)

    # ------------------------------------------------------------------------------ GraphQL and git

    async def _graphql(self, request: web.Request) -> web.Response:
        body = await request.json()
        done = await graphql(
            _SCHEMA, body["query"], root_value=_Root(self), variable_values=body.get("variables")
        )
        answer: dict[str, Any] = {"data": done.data}
        if done.errors:
            answer["errors"] = [
                {"message": one.message, "type": getattr(one.original_error, "args", [""])[0]}
                for one in done.errors
            ]
        return web.json_response(answer)

    async def _git(self, request: web.Request) -> web.StreamResponse:
        """Serve git by its own CGI program."""
        name = request.match_info["name"].removesuffix(".git")
        repository = self.repositories[f"{request.match_info['owner']}/{name}"]
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(repository.folder),
            "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "rig", "REMOTE_ADDR": "127.0.0.1",
            "PATH_INFO": f"/{request.match_info['rest']}", "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        content = await request.read()
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=env, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        out, _ = await process.communicate(content)
        head, _, rest = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(fields.pop("Status", "200").split()[0])
        return web.Response(body=rest, status=status, headers=fields)


class _Root:
    """Resolves GraphQL; a plain object, as graphql-core calls its methods."""

    def __init__(self, server: FakeGitHub) -> None:
        self._server = server

    def repository(self, _info: GraphQLResolveInfo[Any], owner: str, name: str) -> Any:
        found = self._server.repositories.get(f"{owner}/{name}")
        if found is None:
            raise LookupError("NOT_FOUND")
        return {"pullRequest": lambda _info, number: _talk(found, number)}

    def resolveReviewThread(  # noqa: N802  GitHub's name
        self,
        _info: GraphQLResolveInfo[Any],
        input: Mapping[str, str],  # noqa: A002
    ) -> Any:
        one = input["threadId"]
        for repository in self._server.repositories.values():
            for pull in repository.pulls:
                if one in pull.threads:
                    pull.threads[one] = True
                    return {"thread": {"id": one, "isResolved": True}}
        raise LookupError("NOT_FOUND")


def _talk(repository: FakeRepository, number: int) -> Any:
    pull = next((one for one in repository.pulls if one.number == number), None)
    if pull is None:
        raise LookupError("NOT_FOUND")
    states = {one["user"]["login"]: one["state"] for one in pull.reviews}
    approvals = list(states.values()).count("APPROVED")
    decision = "APPROVED" if approvals else None
    if approvals < repository.approvals_wanted:
        decision = "REVIEW_REQUIRED"
    if "CHANGES_REQUESTED" in states.values():
        decision = "CHANGES_REQUESTED"

    def threads(_info: object, first: int = 100, after: str | None = None) -> Any:
        rows = [{"id": one, "isResolved": is_so} for one, is_so in pull.threads.items()]
        begin = int(after or 0)
        end = begin + first
        page = {"hasNextPage": end < len(rows), "endCursor": str(end)}
        return {"nodes": rows[begin:end], "pageInfo": page}

    return {
        "reviewDecision": decision,
        "mergeCommit": {"oid": pull.merge_commit} if pull.merge_commit else None,
        "reviewThreads": threads,
    }


# ---------------------------------------------------------------------------------------- answers


def filled(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer with every field that a model wants, and check it by the model."""
    answer = _fill(model, given)
    model.model_validate(answer)
    return answer


def _fill(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    answer = dict(given)
    for name, info in model.model_fields.items():
        key = info.alias or name
        if key in answer:
            answer[key] = _fit(info.annotation, answer[key])
        elif info.is_required():
            answer[key] = _least(info.annotation)
    return answer


def _fit(kind: Any, value: Any) -> Any:
    """Fill up a value that is itself an object, or a list of them."""
    inner = _model_in(kind)
    if inner is None:
        return value
    if isinstance(value, dict):
        return _fill(inner, value)
    if isinstance(value, list):
        return [_fill(inner, one) if isinstance(one, dict) else one for one in value]
    return value


def _model_in(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for one in get_args(kind) if (found := _model_in(one)) is not None), None)


def _least(kind: Any) -> Any:
    """Return the least value of a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _fill(kind, {})
    plain: dict[Any, Any] = {str: "", int: 0, bool: False, float: 0.0}
    if kind in plain:
        return plain[kind]
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) in {list, dict}:
        return [] if get_origin(kind) is list else {}
    args = get_args(kind)
    if type(None) in args:
        return None
    return _least(args[0]) if args else _MOMENT


def _json(model: type[BaseModel], given: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.json_response(filled(model, given), status=status)


def _list(model: type[BaseModel], rows: list[dict[str, Any]], request: web.Request) -> web.Response:
    return web.json_response([filled(model, one) for one in _page(rows, request)])


def _page(rows: list[dict[str, Any]], request: web.Request) -> list[dict[str, Any]]:
    size = min(int(request.query.get("per_page", "30")), 100)
    begin = (int(request.query.get("page", "1")) - 1) * size
    return rows[begin : begin + size]


def _invalid(message: str) -> web.Response:
    answer = {"message": "Validation Failed", "errors": [{"message": message}]}
    return web.json_response(answer, status=422)


def _is_known(said: str) -> bool:
    kind, _, value = said.partition(" ")
    if kind.lower() == "basic":
        return base64.b64decode(value).decode().rpartition(":")[2] == TOKEN
    return kind.lower() in {"bearer", "token"} and value == TOKEN


def _told(lie: Lying) -> web.Response | None:
    """Return what is answered instead; None where the request is carried out."""
    match lie:
        case "lost":
            return None
        case "broken":
            return web.json_response({"message": "Server Error"}, status=502)
        case "unavailable":
            return web.Response(status=503, text="try later", headers={"Retry-After": "7"})
        case "secondary":
            message = "You have exceeded a secondary rate limit."
            return web.json_response(
                {"message": message}, status=403, headers={"Retry-After": "30"}
            )
        case "primary":
            limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9999999999"}
            return web.json_response({"message": "limited"}, status=403, headers=limits)
        case "garbage":
            return web.Response(text="<html>not what you think</html>")
