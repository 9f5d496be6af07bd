"""Repositories by git: workspaces, trial merges with gates, landings.

What lands is the very commit on which the gates ran: a merge whose first parent is the target and
whose second is the branch. It becomes the target's head only while that is still its first parent,
which the rig's repository compares and sets. So a landing is in its target if one of its trials is
in the history of the target, whatever became of the answer; the trailer of the merge says the same
where the plane's copy was lost, on the line of first parents, on which agents commit nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.confined import Confined
from holdfast.world.forges.gates import run_gates
from holdfast.world.forges.git_clones import Clones, dirty, is_expected
from holdfast.world.forges.git_command import Git, failure_of, said
from holdfast.world.forges.git_store import GitError, Store, trials_place
from holdfast.world.forges.names import (
    UnsafeNameError,
    bad_branch,
    is_beginning,
    is_branch,
    remote_of,
    safe_name,
)
from holdfast.world.forges.port import (
    Branch,
    Checked,
    Gate,
    Landing,
    Repository,
    Trial,
    Workspace,
)
from holdfast.world.forges.process import Limits
from holdfast.world.processes.table import MARKER, kill_members, members

TRAILER: Final = "Holdfast-Landing"
_PUSH: Final = Limits(seconds=300)
_MERGE: Final = Limits(seconds=120)
_LOOKED_AT: Final = 2_000
"""Commits on the target's first line that are searched for a landing's trailer."""

_NUMBER_CHARS: Final = 200
_LEFTOVERS_S: Final = 30.0
_LOOK_S: Final = 0.2


class _Rig:
    """The plane's copy of a rig and its clones."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clones = Clones(store)


class GitRepositories:
    """Implements Repositories in a folder of the plane's own; `close` before another opens it."""

    def __init__(self, root: Path, confined: Confined, clock: Clock) -> None:
        self._root = root.resolve()
        self._confined = confined
        self._clock = clock
        self._marker = f"forge-{hashlib.sha256(str(self._root).encode()).hexdigest()[:16]}"
        self._git = Git(confined, self._marker)
        self._rigs: dict[str, _Rig] = {}
        self._starting = asyncio.Lock()
        self._started = False

    # ------------------------------------------------------------------------------------ clones

    async def workspace(
        self, repository: Repository, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        """Make the clone of an attempt, or return it; see Repositories."""
        rig = await self._rig(repository, branch, base, attempt=attempt)
        if not isinstance(rig, _Rig):
            return rig
        async with rig.store.lock:
            try:
                return await self._workspace(rig, attempt, branch, base)
            except (GitError, OSError) as error:
                return Retryable("git_failed", brief(error))

    async def _workspace(
        self, rig: _Rig, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        store, clones = rig.store, rig.clones
        known = (await clones.records()).get(attempt)
        if known is not None:
            if known.branch != branch:
                return Conflict("other_branch", f"attempt {attempt} works on {known.branch}")
            return Ok(clones.workspace(known))
        if (failure := await store.sync()) is not None:
            return failure
        start = await self._start(rig, branch, base)
        if not isinstance(start, Ok):
            return start
        return await clones.make(attempt, branch, start.value)

    async def _start(self, rig: _Rig, branch: str, base: str) -> Outcome[str]:
        """Return where a clone begins: where its branch is, else at the head of its base.

        What the clone before this one did not commit, or committed over what was taken, is left.
        """
        store = rig.store
        holder = await rig.clones.holder(branch)
        if holder is not None:
            taken = await rig.clones.take(holder)
            if isinstance(taken, Retryable):
                return taken
        commit = await store.taken(branch) or await store.of_rig(branch)
        if commit:
            return Ok(commit)
        target = await store.target(base)
        return Ok(target.value[0]) if isinstance(target, Ok) else target

    async def collect(
        self, repository: Repository, attempt: str, branch: str, target: str
    ) -> Outcome[Branch]:
        """Take a branch out of an attempt's clone into the plane's copy; see Repositories."""
        rig = await self._rig(repository, branch, target, attempt=attempt)
        if not isinstance(rig, _Rig):
            return rig
        async with rig.store.lock:
            try:
                record = (await rig.clones.records()).get(attempt)
                if record is None or record.branch != branch:
                    return Permanent(port.NO_BRANCH, f"attempt {attempt} has no branch {branch}")
                taken = await rig.clones.take(record)
                if not isinstance(taken, Ok):
                    return taken
                if (loose := dirty(taken.value)) is not None:
                    return loose
                if (failure := await rig.store.sync()) is not None:
                    return failure
                return await self._describe(rig.store, taken.value.commit, target)
            except (GitError, OSError) as error:
                return Retryable("git_failed", brief(error))

    async def _describe(self, store: Store, commit: str, target: str) -> Outcome[Branch]:
        at = await store.target(target)
        if not isinstance(at, Ok):
            return at
        sides = await store.do("rev-list", "--left-right", "--count", f"{at.value[0]}...{commit}")
        behind, ahead = (int(one) for one in sides.split())
        tree = await self._merge(store, at.value[0], commit)
        if isinstance(tree, Retryable):
            return tree
        conflicts = not isinstance(tree, Ok)
        return Ok(Branch(commit=commit, ahead=ahead, behind=behind, conflicts=conflicts))

    async def drop(self, repository: Repository, attempt: str) -> Outcome[None]:
        """Delete an attempt's clone; what it committed is taken first, if that can be."""
        rig = await self._rig(repository, attempt=attempt)
        if not isinstance(rig, _Rig):
            return rig
        async with rig.store.lock:
            try:
                await rig.clones.drop(attempt)
            except (OSError, GitError) as error:
                return Retryable("git_failed", brief(error))
        return Ok(None)

    # --------------------------------------------------------------------------- gates and landing

    async def check(
        self, repository: Repository, trial: Trial, gates: tuple[Gate, ...]
    ) -> Outcome[Checked]:
        """Merge for a trial and run gates; see Repositories."""
        rig = await self._rig(repository, trial.branch, trial.target, number=trial.number)
        if not isinstance(rig, _Rig):
            return rig
        try:
            async with rig.store.lock:
                made = await self._trial(rig, trial)
            if not isinstance(made, Ok) or not gates:
                return made
            return await self._gated(rig, made.value, gates)
        except (GitError, OSError) as error:
            return Retryable("git_failed", brief(error))

    async def _trial(self, rig: _Rig, trial: Trial) -> Outcome[Checked]:
        store = rig.store
        if (failure := await store.sync()) is not None:
            return failure
        target = await store.target(trial.target)
        if not isinstance(target, Ok):
            return target
        branch = await self._branch(rig, trial)
        if not isinstance(branch, Ok):
            return branch
        at, commit = target.value[0], branch.value
        tree = await self._merge(store, at, commit)
        if not isinstance(tree, Ok):
            return tree
        message = f"Merge {trial.branch} into {trial.target}\n\n{TRAILER}: {trial.number}"
        date = f"{self._clock.now_ms() // 1_000} +0000"
        ended = await self._git.own(
            store.folder, "commit-tree", "--no-gpg-sign", "-p", at, "-p", commit, "-m", message,
            tree.value, env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
        )  # fmt: skip
        if not ended.ok:
            return Retryable("git_failed", said(ended))
        made = ended.text.strip()
        await store.do("update-ref", f"{trials_place(trial.number)}/{made}", made)
        return Ok(Checked(commit=made, target_commit=at))

    async def _branch(self, rig: _Rig, trial: Trial) -> Outcome[str]:
        """Return the head of the branch that is to be merged, if it is what was expected."""
        store = rig.store
        holder = await rig.clones.holder(trial.branch)
        if holder is not None:
            taken = await rig.clones.take(holder)
            if not isinstance(taken, Ok):
                return taken
            if (loose := dirty(taken.value)) is not None:
                return loose
        commit = await store.taken(trial.branch) or await store.of_rig(trial.branch)
        if not commit:
            return Permanent(port.NO_BRANCH, f"there is no branch {trial.branch}")
        if not trial.commit:
            return Ok(commit)
        earlier = trial.commit in await store.trials(trial.number)
        expected = await store.head(f"{trial.commit}^2") if earlier else trial.commit
        fits = (
            await store.is_within(expected, commit)
            if earlier
            else is_beginning(expected) and is_expected(commit, expected)
        )
        if fits:
            return Ok(commit)
        return Permanent(
            port.REWRITTEN,
            f"branch {trial.branch} is at {commit[:12]}, and not at what was reviewed",
        )

    async def _merge(self, store: Store, at: str, commit: str) -> Outcome[str]:
        """Return the tree of a merge."""
        ended = await self._git.own(
            store.folder, "merge-tree", "--write-tree", "--name-only", "--no-messages", at, commit,
            limits=_MERGE,
        )  # fmt: skip
        if ended.late:
            return Retryable("git_failed", "merging took too long")
        lines = ended.text.splitlines()
        if ended.code == 0 and lines:
            return Ok(lines[0])
        if ended.code == 1 or "unrelated histories" in said(ended):
            names = ", ".join(line[:80] for line in lines[1:4]) or "unrelated histories"
            return Conflict(port.CONFLICT, f"it does not merge: {names}")
        return Retryable("git_failed", said(ended))

    async def _gated(self, rig: _Rig, made: Checked, gates: tuple[Gate, ...]) -> Outcome[Checked]:
        async with rig.store.passing() as place:
            tree = place / "tree"
            ended = await rig.clones.check_out(tree, made.commit)
            if not ended.ok:
                return Retryable("git_failed", said(ended))
            marker = self._mark(place)
            try:
                reports = await run_gates(
                    self._confined, gates, place=place, tree=tree, lent=(rig.store.folder,),
                    clock=self._clock, marks={MARKER: marker},
                )  # fmt: skip
            finally:
                await asyncio.shield(asyncio.to_thread(kill_members, None, marker))
        return Ok(Checked(commit=made.commit, target_commit=made.target_commit, reports=reports))

    async def land(self, repository: Repository, landing: Landing) -> Outcome[str]:
        """Make a trial the head of its target once; see Repositories."""
        rig = await self._rig(repository, landing.target, number=landing.number)
        if not isinstance(rig, _Rig):
            return rig
        async with rig.store.lock:
            try:
                return await self._land(rig.store, landing)
            except (GitError, OSError) as error:
                return Retryable("git_failed", brief(error))

    async def _land(self, store: Store, landing: Landing) -> Outcome[str]:
        if (failure := await store.sync()) is not None:
            return failure
        target = await store.target(landing.target)
        if not isinstance(target, Ok):
            return target
        at, exists = target.value
        trials = await store.trials(landing.number)
        if exists and (there := await self._landed(store, trials, landing.number, at)):
            return Ok(there)
        if landing.commit not in trials or await store.head(f"{landing.commit}^1") != at:
            return Permanent(port.MOVED, f"{landing.target} is at {at[:12]} by now")
        ref = f"refs/heads/{landing.target}"
        lease = f"--force-with-lease={ref}:{at if exists else ''}"
        pushed = await self._push(store, lease, f"{landing.commit}:{ref}")
        if pushed is not None:
            return await self._despite(store, landing, trials, pushed)
        await store.do("update-ref", f"refs/rig/{landing.target}", landing.commit)
        await store.forget_trials(landing.number, set(trials) - {landing.commit})
        return Ok(landing.commit)

    async def _despite(
        self, store: Store, landing: Landing, trials: Sequence[str], failure: Failure
    ) -> Outcome[str]:
        """Return a landing whose push failed and that is there all the same, else the failure.

        An answer may be lost, and curl repeats a request by itself, whose second answer is no.
        """
        if await store.sync() is None and (at := await store.of_rig(landing.target)):
            there = await self._landed(store, trials, landing.number, at)
            if there:
                return Ok(there)
        return failure

    async def _landed(self, store: Store, trials: Sequence[str], number: str, at: str) -> str:
        """Return the commit by which a landing is in its target, empty if it is not."""
        for one in trials:
            if await store.is_within(one, at):
                return one
        if trials:
            return ""
        values = f"%H%x09%(trailers:key={TRAILER},valueonly,separator=%x09)"
        history = await store.do(
            "log", "--first-parent", "--merges", f"--max-count={_LOOKED_AT}", f"--format={values}",
            at,
        )  # fmt: skip
        rows = (line.split("\t") for line in history.splitlines())
        return next((row[0] for row in rows if number in row[1:]), "")

    async def publish(self, repository: Repository, branch: str) -> Outcome[str]:
        """Push a branch of the plane's copy to the rig; see Repositories."""
        rig = await self._rig(repository, branch)
        if not isinstance(rig, _Rig):
            return rig
        async with rig.store.lock:
            try:
                return await self._publish(rig, branch)
            except (GitError, OSError) as error:
                return Retryable("git_failed", brief(error))

    async def _publish(self, rig: _Rig, branch: str) -> Outcome[str]:
        store = rig.store
        if (failure := await store.sync()) is not None:
            return failure
        head = await self._branch(rig, Trial(number="", branch=branch, target=branch))
        if not isinstance(head, Ok):
            return head
        there = await store.of_rig(branch)
        if there == head.value:
            return head
        if there and not await store.is_within(there, head.value):
            return Permanent(port.REWRITTEN, f"the rig's {branch} has commits of others")
        ref = f"refs/heads/{branch}"
        pushed = await self._push(store, f"--force-with-lease={ref}:{there}", f"{head.value}:{ref}")
        return head if pushed is None else pushed

    async def _push(self, store: Store, lease: str, change: str) -> Failure | None:
        ended = await store.reach(
            "push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-recurse-submodules",
            "--no-signed", lease, store.remote.url, change, writes=True, limits=_PUSH,
        )  # fmt: skip
        return None if ended.ok else failure_of(ended)

    # ---------------------------------------------------------------------------------- beginning

    async def _rig(
        self, repository: Repository, *branches: str, attempt: str = "", number: str = ""
    ) -> _Rig | Failure:
        """Return a rig, once all names are safe to pass on."""
        for branch in (*branches, repository.branch):
            if not is_branch(branch):
                return bad_branch(branch)
        try:
            key = safe_name(repository.key, "key")
            if attempt:
                safe_name(attempt, "attempt")
        except UnsafeNameError as error:
            return Permanent(port.FORBIDDEN, str(error))
        if number and (len(number) > _NUMBER_CHARS or not number.isprintable()):
            return Permanent(
                port.FORBIDDEN, "number: want printable text of at most 200 characters"
            )
        remote = remote_of(repository)
        if isinstance(remote, Permanent):
            return remote
        if remote.protocol == "file" and self._is_ours(Path(remote.url)):
            return Permanent(port.FORBIDDEN, "repository: this folder is the plane's own")
        ready = await self._confined.ready()
        if not isinstance(ready, Ok):
            return ready
        return await self._open(key, Store(self._git, self._root / key, repository, remote))

    def _is_ours(self, folder: Path) -> bool:
        real = folder.resolve()
        return real == self._root or self._root in real.parents or real in self._root.parents

    async def _open(self, key: str, store: Store) -> _Rig | Failure:
        async with self._starting:
            try:
                if not self._started:
                    await self._clean()
                rig = self._rigs.get(key)
                if rig is None:
                    store.home.mkdir(parents=True, exist_ok=True, mode=0o700)
                    await store.open()
                    rig = self._rigs[key] = _Rig(store)
            except (OSError, GitError) as error:
                return Retryable("git_failed", brief(error))
            rig.store.repository, rig.store.remote = store.repository, store.remote
            return rig

    async def _clean(self) -> None:
        """End what a plane that died left running here, and delete what it left half done."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for gated in self._root.glob("*/passing/*"):
            await asyncio.to_thread(kill_members, None, self._mark(gated))
        await self._wait_for_leftovers()
        for pattern in ("*/passing", "*/store-*"):
            for folder in self._root.glob(pattern):
                await self._git.remove(folder)
        for lock in self._root.glob("*/store.git/**/*.lock"):
            lock.unlink(missing_ok=True)
        self._started = True

    async def _wait_for_leftovers(self) -> None:
        """Wait for git that a plane left at work: killed in a push, it leaves the rig locked.

        It is nobody's child any more, so its end can only be looked for.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEFTOVERS_S):
                while await asyncio.to_thread(members, None, self._marker):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        await asyncio.to_thread(kill_members, None, self._marker)

    def _mark(self, place: Path) -> str:
        """Return the mark of the processes of the gates that run in a folder."""
        return f"{self._marker}-{place.name}"
