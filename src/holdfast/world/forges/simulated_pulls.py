"""Pull requests in memory: the twin of `github.py` for tests and the simulator."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.world.forges import port
from holdfast.world.forges.names import bad_branch, is_branch
from holdfast.world.forges.port import Pull, Repository
from holdfast.world.forges.simulated import SimulatedRepositories


class SimulatedPulls:
    """Implements PullRequests over the rigs of the other twin.

    `said` adds what people and checks say of a pull request, by its address.
    """

    def __init__(self, repositories: SimulatedRepositories) -> None:
        self._repositories = repositories
        self._pulls: dict[str, tuple[Pull, str]] = {}
        self.said: dict[str, Callable[[Pull], Pull]] = {}
        self.comments: dict[str, dict[str, str]] = {}

    async def describe(self, repository: Repository, url: str) -> Outcome[Pull]:
        """Return how a pull request is."""
        found = self._pulls.get(url)
        if found is None or not url.startswith(f"{repository.url}/pull/"):
            return Permanent(port.NO_PULL_REQUEST, "there is no such pull request")
        pull, branch = found
        if pull.state != "open":
            return Ok(pull)
        rig = self._repositories.rigs[repository.url]
        head = rig[branch]
        merges = self._repositories.merged(rig[pull.target], head) is not None
        now = replace(pull, commit=head, mergeable=merges, comments=len(self.comments.get(url, {})))
        said = self.said.get(url)
        return Ok(now if said is None else said(now))

    async def open(
        self, repository: Repository, branch: str, target: str, title: str, body: str
    ) -> Outcome[Pull]:
        """Open one for a branch that is pushed; return the one that is open for it already."""
        del title, body
        for name in (branch, target):
            if not is_branch(name):
                return bad_branch(name)
        rig = self._repositories.rigs[repository.url]
        for url, (pull, of) in self._pulls.items():
            if (of, pull.target, pull.state) == (branch, target, "open"):
                return await self.describe(repository, url)
        if branch not in rig or target not in rig:
            return Permanent(port.NOT_MERGEABLE, "head or base is no branch")
        number = len(self._pulls) + 1
        url = f"{repository.url}/pull/{number}"
        made = Pull(
            number=number, url=url, state="open", commit=rig[branch], target=target, branch=branch
        )
        self._pulls[url] = made, branch
        return await self.describe(repository, url)

    async def comment(
        self, repository: Repository, url: str, number: str, body: str
    ) -> Outcome[None]:
        """Add a comment once."""
        found = await self.describe(repository, url)
        if not isinstance(found, Ok):
            return found
        self.comments.setdefault(url, {}).setdefault(number, body)
        return Ok(None)

    async def merge(self, repository: Repository, url: str, commit: str) -> Outcome[str]:
        """Merge it at this head, once."""
        found = await self.describe(repository, url)
        if not isinstance(found, Ok):
            return found
        pull, branch = found.value, self._pulls[url][1]
        if pull.state == "merged":
            return Ok(pull.merge_commit)
        if pull.state == "open" and pull.commit != commit:
            return Permanent(port.REWRITTEN, "its head is another one")
        rig = self._repositories.rigs[repository.url]
        files = self._repositories.merged(rig[pull.target], pull.commit)
        if pull.state == "closed" or files is None or pull.review_required:
            return Permanent(port.NOT_MERGEABLE, "it is not mergeable")
        made = self._repositories.commit(files, rig[pull.target], pull.commit)
        rig[pull.target] = made
        self._pulls[url] = replace(pull, state="merged", merge_commit=made), branch
        return Ok(made)

    def close(self, url: str) -> None:
        """Close one without merging it, as a person does."""
        pull, branch = self._pulls[url]
        self._pulls[url] = replace(pull, state="closed"), branch
