"""The forge port: calls about one repository, and their typed answers.

Every attempt of an agent works in a clone of its own; the plane takes only the branch that it named
out of it. Every call may be lost after it was carried out and may be repeated: landing is asked for
by a number and answers with the commit that is in the target already. This module is pure.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from holdfast.kernel.outcome import Outcome

RIG_GONE: Final = "rig_gone"
"""Permanent: the repository does not exist or cannot be read at all."""
RIG_LOCKED: Final = "rig_locked"
"""Retryable: another program keeps the repository locked, or left its lock there."""
NO_BRANCH: Final = "no_branch"
"""Permanent: the branch or commit does not exist."""
DIRTY: Final = "dirty"
"""Permanent: the agent's clone has changes that it did not commit."""
REWRITTEN: Final = "rewritten"
"""Permanent: the branch was force-pushed; what was checked is not what it is now."""
MOVED: Final = "moved"
"""Permanent: the target went on since the gates ran; they run again."""
CONFLICT: Final = "conflict"
"""Conflict: the branch does not merge into its target."""
FORBIDDEN: Final = "forbidden"
"""Permanent: the forge refuses the credential."""
UNREACHABLE: Final = "unreachable"
"""Retryable: the forge does not answer."""
CHECKED_OUT: Final = "checked_out"
"""Permanent until somebody switches it: the rig's folder has the target checked out."""
TOO_LARGE: Final = "too_large"
"""Permanent: the branch brings more than the plane takes."""
DAMAGED: Final = "damaged"
"""Permanent: the branch's objects are broken or missing."""
UNCONFINED: Final = "unconfined"
"""Permanent: this host cannot confine programs, and running them without is not accepted."""
NO_PULL_REQUEST: Final = "no_pull_request"
"""Permanent: there is no such pull request in the rig's repository."""
NOT_MERGEABLE: Final = "not_mergeable"
"""Permanent: the forge does not merge it as it is: conflicts, rules, missing approvals."""
RATE_LIMITED: Final = "rate_limited"
"""Retryable: the forge asks to wait, for as long as the outcome says."""

GateStatus: TypeAlias = Literal["passed", "failed", "timed_out", "not_run"]


class Repository(Struct, frozen=True, kw_only=True):
    """The repository of a rig. `key` is unique to a rig of a town and is a safe file name.

    `url` is a folder of this host, or an https address; `token` is the credential for it.
    """

    key: str
    url: str
    branch: str = "main"
    token: str = ""

    def __repr__(self) -> str:
        """Return it without its credential."""
        return f"Repository(key={self.key!r}, url={self.url!r}, branch={self.branch!r})"


class Workspace(Struct, frozen=True, kw_only=True):
    """A clone of its own for an attempt: where it is, its branch and the commit where that began.

    `lent` are folders outside of it that its git reads and never writes: whoever confines the agent
    grants them for reading alone.
    """

    folder: str
    branch: str
    base: str
    lent: tuple[str, ...] = ()


class Branch(Struct, frozen=True, kw_only=True):
    """A branch that the plane has: its commit, and how it relates to its target."""

    commit: str
    ahead: int = 0
    behind: int = 0
    conflicts: bool = False


class Gate(Struct, frozen=True, kw_only=True):
    """A check of a rig: a command line that exits with 0 when all is well."""

    name: str
    command: tuple[str, ...]
    timeout_s: int = 600


class GateReport(Struct, frozen=True, kw_only=True):
    """How a gate ended. `output` is the end of what it wrote, at most 64 KiB."""

    name: str
    status: GateStatus
    code: int = 0
    output: bytes = b""
    elapsed_ms: int = 0


class Checked(Struct, frozen=True, kw_only=True):
    """Gates that ran on `commit`, a trial merge of the branch into `target_commit`."""

    commit: str
    target_commit: str
    reports: tuple[GateReport, ...] = ()


class Trial(Struct, frozen=True, kw_only=True):
    """A branch to be merged into a target for a trial.

    `number` is that of the landing, `commit` what the branch is expected to be: a commit or its
    beginning, an earlier trial of the same landing (the branch may have grown since), or nothing.
    """

    number: str
    branch: str
    target: str
    commit: str = ""


class Landing(Struct, frozen=True, kw_only=True):
    """A trial merge that is to become the head of its target; `commit` is a Checked's."""

    number: str
    target: str
    commit: str


class Workspaces(Protocol):
    """Clones of attempts."""

    async def workspace(
        self, repository: Repository, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        """Make the clone of an attempt, or return it; `branch` begins at the head of `base`.

        Where the branch exists already in the plane's copy, it goes on from there.
        """
        ...

    async def collect(
        self, repository: Repository, attempt: str, branch: str, target: str
    ) -> Outcome[Branch]:
        """Take a branch out of an attempt's clone into the plane's copy; nothing else."""
        ...

    async def drop(self, repository: Repository, attempt: str) -> Outcome[None]:
        """Delete an attempt's clone; one that is not there is deleted."""
        ...


class Repositories(Workspaces, Protocol):
    """What is done with git, the same for every forge."""

    async def check(
        self, repository: Repository, trial: Trial, gates: tuple[Gate, ...]
    ) -> Outcome[Checked]:
        """Merge a branch into its target for a trial and run gates on that; nothing moves.

        The branch is taken out of the clone that worked on it last, else it is the rig's own.
        """
        ...

    async def land(self, repository: Repository, landing: Landing) -> Outcome[str]:
        """Make a trial the head of its target once; return the commit that is there."""
        ...

    async def publish(self, repository: Repository, branch: str) -> Outcome[str]:
        """Push a branch of the plane's copy to the rig for a pull request; return its commit."""
        ...


PullState: TypeAlias = Literal["open", "merged", "closed"]
CheckState: TypeAlias = Literal["none", "pending", "passed", "failed"]


class Pull(Struct, frozen=True, kw_only=True):
    """A pull request as its forge describes it.

    `mergeable` is None while the forge finds that out. `unresolved` counts review threads that
    nobody resolved, `comments` all comments. `approvals` and `changes_requested` count readers by
    the last thing that each said; `review_required` says that an approval is missing. `branch` is
    its head's name, also where that is in a fork.
    """

    number: int
    url: str
    state: PullState
    commit: str
    target: str
    branch: str = ""
    mergeable: bool | None = None
    merge_commit: str = ""
    draft: bool = False
    checks: CheckState = "none"
    approvals: int = 0
    changes_requested: int = 0
    review_required: bool = False
    unresolved: int = 0
    comments: int = 0


class PullRequests(Protocol):
    """What is done with pull requests, each named by its address."""

    async def describe(self, repository: Repository, url: str) -> Outcome[Pull]:
        """Return how a pull request is."""
        ...

    async def open(
        self, repository: Repository, branch: str, target: str, title: str, body: str
    ) -> Outcome[Pull]:
        """Open one for a branch that is pushed; return the one that is open for it already."""
        ...

    async def comment(
        self, repository: Repository, url: str, number: str, body: str
    ) -> Outcome[None]:
        """Add a comment once: `number` tells repetitions."""
        ...

    async def merge(self, repository: Repository, url: str, commit: str) -> Outcome[str]:
        """Merge it at this head, once; return the commit that is in the target.

        Permanent `rewritten` where its head is another one by now.
        """
        ...
