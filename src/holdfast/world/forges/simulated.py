"""Repositories in memory: the twin of `git.py` for tests and the simulator.

Commits are maps of files with parents, so that merges, conflicts, rewritten branches and moved
targets come about as with git. The hands of agents and people are methods of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.names import bad_branch, is_branch
from holdfast.world.forges.port import (
    Branch,
    Checked,
    Gate,
    GateReport,
    Landing,
    Repository,
    Trial,
    Workspace,
)

Files = Mapping[str, str]
_NOTHING: Final[Files] = {}


class _Commit(NamedTuple):
    files: Files
    parents: tuple[str, ...]
    number: str = ""


@dataclass
class _Clone:
    branch: str
    base: str
    head: str
    number: int
    loose: dict[str, str] = field(default_factory=dict)


@dataclass
class _Copy:
    """The plane's copy of a rig."""

    clones: dict[str, _Clone] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    trials: dict[str, list[str]] = field(default_factory=dict)
    made: int = 0


class SimulatedRepositories:
    """Implements Repositories; rigs are branches by the repository's url.

    A gate fails where a file of its name holds `red`, and where its command is `false`.
    """

    def __init__(self) -> None:
        self.rigs: dict[str, dict[str, str]] = {}
        self.locked: set[str] = set()
        self._commits: dict[str, _Commit] = {}
        self._copies: dict[str, _Copy] = {}

    # ----------------------------------------------------------- the hands of people and agents

    def commit(self, files: Files, *parents: str, number: str = "") -> str:
        """Make a commit and return its name."""
        name = f"{len(self._commits) + 1:040x}"
        self._commits[name] = _Commit(dict(files), parents, number)
        return name

    def files(self, commit: str) -> Files:
        """Return the files of a commit."""
        return self._commits[commit].files

    def work(self, workspace: Workspace, files: Files, *, amend: bool = False) -> str:
        """Commit files in a clone, over the last commit with `amend`."""
        clone = self._clone(workspace)
        before = self._commits[clone.head]
        parents = before.parents if amend else (clone.head,)
        clone.head = self.commit({**before.files, **clone.loose, **files}, *parents)
        clone.loose = {}
        return clone.head

    def write(self, workspace: Workspace, files: Files) -> None:
        """Leave files in a clone without committing them."""
        self._clone(workspace).loose |= files

    def push(self, repository: Repository, branch: str, files: Files) -> str:
        """Commit files to a branch of a rig, as a person does."""
        rig = self.rigs.setdefault(repository.url, {})
        before = rig.get(branch) or rig.get(repository.branch, "")
        old = self._commits[before].files if before else _NOTHING
        rig[branch] = self.commit({**old, **files}, *((before,) if before else ()))
        return rig[branch]

    def merges(self, repository: Repository, branch: str) -> int:
        """Return how many merges are on the line of first parents of a rig's branch."""
        count, at = 0, self.rigs[repository.url][branch]
        while parents := self._commits[at].parents:
            count, at = count + (len(parents) > 1), parents[0]
        return count

    def _clone(self, workspace: Workspace) -> _Clone:
        key, attempt = workspace.folder.split(":")
        return self._copies[key].clones[attempt]

    # ------------------------------------------------------------------------------------ clones

    async def workspace(
        self, repository: Repository, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        """Make the clone of an attempt, or return it."""
        copy = self._open(repository, branch, base)
        if not isinstance(copy, _Copy):
            return copy
        known = copy.clones.get(attempt)
        if known is not None:
            if known.branch != branch:
                return Conflict("other_branch", f"attempt {attempt} works on {known.branch}")
            return Ok(_workspace(repository, attempt, known))
        holder = _holder(copy, branch)
        if holder is not None and self._fits(copy, holder):
            copy.taken[branch] = holder.head
        start = copy.taken.get(branch) or self.rigs[repository.url].get(branch, "")
        if not start:
            target = self._target(repository, base)
            if not isinstance(target, Ok):
                return target
            start = target.value[0]
        copy.made += 1
        clone = copy.clones[attempt] = _Clone(branch, start, start, copy.made)
        return Ok(_workspace(repository, attempt, clone))

    async def collect(
        self, repository: Repository, attempt: str, branch: str, target: str
    ) -> Outcome[Branch]:
        """Take a branch out of a clone."""
        copy = self._open(repository, branch, target)
        if not isinstance(copy, _Copy):
            return copy
        clone = copy.clones.get(attempt)
        if clone is None or clone.branch != branch:
            return Permanent(port.NO_BRANCH, f"attempt {attempt} has no branch {branch}")
        if (failure := self._take(copy, clone)) is not None:
            return failure
        at = self._target(repository, target)
        if not isinstance(at, Ok):
            return at
        ours, theirs = set(self._history(clone.head)), set(self._history(at.value[0]))
        return Ok(
            Branch(
                commit=clone.head,
                ahead=len(ours - theirs),
                behind=len(theirs - ours),
                conflicts=self.merged(at.value[0], clone.head) is None,
            )
        )

    async def drop(self, repository: Repository, attempt: str) -> Outcome[None]:
        """Delete a clone."""
        copy = self._open(repository)
        if not isinstance(copy, _Copy):
            return copy
        clone = copy.clones.get(attempt)
        if clone is not None:
            if _holder(copy, clone.branch) is clone and self._fits(copy, clone):
                copy.taken[clone.branch] = clone.head
            del copy.clones[attempt]
        return Ok(None)

    # --------------------------------------------------------------------------- gates and landing

    async def check(
        self, repository: Repository, trial: Trial, gates: tuple[Gate, ...]
    ) -> Outcome[Checked]:
        """Merge for a trial and run gates."""
        copy = self._open(repository, trial.branch, trial.target)
        if not isinstance(copy, _Copy):
            return copy
        target = self._target(repository, trial.target)
        if not isinstance(target, Ok):
            return target
        head = self._head(copy, repository, trial)
        if not isinstance(head, Ok):
            return head
        files = self.merged(target.value[0], head.value)
        if files is None:
            return Conflict(port.CONFLICT, "it does not merge")
        made = self.commit(files, target.value[0], head.value, number=trial.number)
        copy.trials.setdefault(trial.number, []).append(made)
        reports = tuple(_gated(gates, files))
        return Ok(Checked(commit=made, target_commit=target.value[0], reports=reports))

    def _head(self, copy: _Copy, repository: Repository, trial: Trial) -> Outcome[str]:
        holder = _holder(copy, trial.branch)
        if holder is not None and (failure := self._take(copy, holder)) is not None:
            return failure
        head = copy.taken.get(trial.branch) or self.rigs[repository.url].get(trial.branch, "")
        if not head:
            return Permanent(port.NO_BRANCH, f"there is no branch {trial.branch}")
        if trial.commit in copy.trials.get(trial.number, ()):
            fits = self._commits[trial.commit].parents[1] in self._history(head)
        else:
            fits = head.startswith(trial.commit)
        return Ok(head) if fits else Permanent(port.REWRITTEN, "it is not what was reviewed")

    async def land(self, repository: Repository, landing: Landing) -> Outcome[str]:
        """Make a trial the head of its target once."""
        copy = self._open(repository, landing.target)
        if not isinstance(copy, _Copy):
            return copy
        target = self._target(repository, landing.target)
        if not isinstance(target, Ok):
            return target
        at, exists = target.value
        history = self._history(at) if exists else ()
        there = next((one for one in history if self._commits[one].number == landing.number), "")
        if there:
            return Ok(there)
        known = landing.commit in copy.trials.get(landing.number, ())
        if not known or self._commits[landing.commit].parents[0] != at:
            return Permanent(port.MOVED, f"{landing.target} went on")
        if repository.url in self.locked:
            return Retryable(port.RIG_LOCKED, "another program keeps it locked")
        self.rigs[repository.url][landing.target] = landing.commit
        return Ok(landing.commit)

    async def publish(self, repository: Repository, branch: str) -> Outcome[str]:
        """Push a branch to the rig."""
        copy = self._open(repository, branch)
        if not isinstance(copy, _Copy):
            return copy
        head = self._head(copy, repository, Trial(number="", branch=branch, target=branch))
        if not isinstance(head, Ok):
            return head
        there = self.rigs[repository.url].get(branch, "")
        if there and there not in self._history(head.value):
            return Permanent(port.REWRITTEN, f"the rig's {branch} has commits of others")
        self.rigs[repository.url][branch] = head.value
        return head

    # -------------------------------------------------------------------------------- what is true

    def _open(self, repository: Repository, *branches: str) -> _Copy | Failure:
        for branch in branches:
            if not is_branch(branch):
                return bad_branch(branch)
        if repository.url not in self.rigs:
            return Permanent(port.RIG_GONE, "there is no such repository")
        return self._copies.setdefault(repository.key, _Copy())

    def _target(self, repository: Repository, target: str) -> Outcome[tuple[str, bool]]:
        rig = self.rigs[repository.url]
        if target in rig:
            return Ok((rig[target], True))
        if repository.branch in rig:
            return Ok((rig[repository.branch], False))
        return Permanent(port.NO_BRANCH, f"the rig has no branch {repository.branch}")

    def _take(self, copy: _Copy, clone: _Clone) -> Failure | None:
        if not self._fits(copy, clone):
            return Permanent(port.REWRITTEN, f"branch {clone.branch} was rewritten")
        copy.taken[clone.branch] = clone.head
        if clone.loose:
            return Permanent(port.DIRTY, f"not committed: {', '.join(clone.loose)}")
        return None

    def _fits(self, copy: _Copy, clone: _Clone) -> bool:
        return copy.taken.get(clone.branch, clone.base) in self._history(clone.head)

    def _history(self, commit: str) -> tuple[str, ...]:
        """Return a commit and all before it, nearer ones first."""
        found: dict[str, None] = {commit: None}
        for one in (waiting := [commit]):
            for parent in self._commits[one].parents:
                if parent not in found:
                    found[parent] = None
                    waiting.append(parent)
        return tuple(found)

    def merged(self, ours: str, theirs: str) -> Files | None:
        """Return the files of a merge, None for a conflict."""
        reached = set(self._history(theirs))
        base = next((one for one in self._history(ours) if one in reached), "")
        old = self._commits[base].files if base else _NOTHING
        left, right = self._commits[ours].files, self._commits[theirs].files
        merged: dict[str, str] = {}
        for name in sorted({*old, *left, *right}):
            was, mine, yours = old.get(name), left.get(name), right.get(name)
            if mine not in {was, yours} and yours not in {was, mine}:
                return None
            kept = yours if mine == was else mine
            if kept is not None:
                merged[name] = kept
        return merged


def _workspace(repository: Repository, attempt: str, clone: _Clone) -> Workspace:
    folder = f"{repository.key}:{attempt}"
    return Workspace(folder=folder, branch=clone.branch, base=clone.base)


def _holder(copy: _Copy, branch: str) -> _Clone | None:
    found = [one for one in copy.clones.values() if one.branch == branch]
    return max(found, key=lambda one: one.number, default=None)


def _gated(gates: tuple[Gate, ...], files: Files) -> Iterator[GateReport]:
    failed = False
    for gate in gates:
        if failed:
            yield GateReport(name=gate.name, status="not_run")
            continue
        failed = gate.command[:1] == ("false",) or files.get(gate.name) == "red"
        yield GateReport(name=gate.name, status="failed" if failed else "passed", code=int(failed))
