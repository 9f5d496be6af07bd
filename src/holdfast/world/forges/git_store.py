"""The plane's copy of a rig: a bare repository that only the plane writes.

    <root>/<key>/store.git                refs/rig/<branch>: branches of the rig, as fetched
                                          refs/agents/<hash of a branch>: taken out of clones
                                          refs/trials/<hash of a number>/: trial merges
    <root>/<key>/attempts/<attempt>       clones of attempts, their records beside them
    <root>/<key>/passing/<random>         what one call needs: deleted at its end

A branch's ref is named by its hash, so that no branch's name can stand in the way of another's.
Nothing is ever pruned here: clones borrow these objects.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from holdfast.disk.durable_file import move, sync_tree
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent
from holdfast.world.forges import port
from holdfast.world.forges.git_command import Git, failure_of, said
from holdfast.world.forges.names import Remote, digest, is_commit
from holdfast.world.forges.port import Repository
from holdfast.world.forges.process import Ended, Limits

SYNC: Final = Limits(seconds=600, file=8 << 30)
"""A rig's first fetch is all of its history."""


class GitError(Exception):
    """Git failed where only the plane's own repository takes part; the text is git's."""


class Store:
    """The plane's copy of one rig; every call that writes holds `lock`."""

    def __init__(self, git: Git, home: Path, repository: Repository, remote: Remote) -> None:
        self.git = git
        self.home = home
        self.folder = home / "store.git"
        self.attempts = home / "attempts"
        self.repository = repository
        self.remote = remote
        self.lock = asyncio.Lock()

    async def open(self) -> None:
        """Make the repository if it is not there; raise OSError, GitError."""
        if self.folder.is_dir():
            return
        self.attempts.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="store-", dir=self.home))
        await self.make_bare(draft)
        await asyncio.to_thread(sync_tree, draft)
        move(draft, self.folder)

    async def make_bare(self, folder: Path, *, lent: Path | None = None) -> None:
        """Make an empty bare repository that borrows the objects of another."""
        await self.do("init", "--quiet", "--bare", "--template=", folder=folder)
        if lent is not None:
            borrow(folder, lent)

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[Path]:
        """Provide a folder for one call."""
        place = self.home / "passing"
        place.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=place))
        try:
            yield folder
        finally:
            await asyncio.shield(self.git.remove(folder))

    async def do(self, *words: str, folder: Path | None = None) -> str:
        """Run git in the plane's own repository and return what it wrote; raise GitError."""
        ended = await self.git.own(folder or self.folder, *words)
        if not ended.ok:
            raise GitError(said(ended))
        return ended.text.strip()

    async def asks(self, *words: str, folder: Path | None = None) -> bool:
        """Return the answer of a git that says no by 1; raise GitError."""
        ended = await self.git.own(folder or self.folder, *words)
        if ended.late or ended.code not in {0, 1}:
            raise GitError(said(ended))
        return ended.code == 0

    async def sync(self) -> Failure | None:
        """Fetch the rig's branches."""
        folder = Path(self.remote.url)
        if self.remote.protocol == "file" and not await asyncio.to_thread(folder.is_dir):
            return Permanent(port.RIG_GONE, f"repository: there is no folder {self.remote.url}")
        ended = await self.reach(
            "fetch", "--quiet", "--no-tags", "--prune", "--force", "--no-write-fetch-head",
            "--no-auto-maintenance", "--no-recurse-submodules", self.remote.url,
            "+refs/heads/*:refs/rig/*", limits=SYNC,
        )  # fmt: skip
        return None if ended.ok else failure_of(ended)

    async def reach(self, *words: str, writes: bool = False, limits: Limits) -> Ended:
        """Run a fetch or a push with the rig's repository."""
        return await self.git.between(
            self.folder, self.remote, words,
            token=self.repository.token, writes=writes, limits=limits,
        )  # fmt: skip

    # ------------------------------------------------------------------------------ what is there

    async def head(self, ref: str) -> str:
        """Return the commit of a full ref, empty without one."""
        ended = await self.git.own(
            self.folder, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}"
        )
        text = ended.text.strip()
        return text if ended.ok and is_commit(text) else ""

    async def of_rig(self, branch: str) -> str:
        """Return the head of a branch of the rig, empty without one."""
        return await self.head(f"refs/rig/{branch}")

    async def taken(self, branch: str) -> str:
        """Return the head of a branch as it was taken out of a clone last, empty without one."""
        return await self.head(agents_ref(branch))

    async def is_within(self, commit: str, head: str) -> bool:
        """Return whether a commit is in the history of another."""
        return await self.asks("merge-base", "--is-ancestor", commit, head)

    async def target(self, target: str) -> Outcome[tuple[str, bool]]:
        """Return the commit that a target is at, and whether it exists.

        One that does not begins where the rig's main branch is.
        """
        if commit := await self.of_rig(target):
            return Ok((commit, True))
        if commit := await self.of_rig(self.repository.branch):
            return Ok((commit, False))
        return Permanent(
            port.NO_BRANCH, f"the rig has no branch {self.repository.branch}: push a first commit"
        )

    async def trials(self, number: str) -> Sequence[str]:
        """Return the trial merges of a landing."""
        place = f"{trials_place(number)}/"
        return (await self.do("for-each-ref", "--format=%(objectname)", place)).split()

    async def forget_trials(self, number: str, commits: Iterable[str]) -> None:
        """Delete the refs of trials that will not land any more."""
        for one in sorted(commits):
            await self.do("update-ref", "-d", f"{trials_place(number)}/{one}")


def trials_place(number: str) -> str:
    """Return the folder of refs of a landing's trials."""
    return f"refs/trials/{digest(number)}"


def agents_ref(branch: str) -> str:
    """Return the ref of a branch that was taken out of a clone."""
    return f"refs/agents/{digest(branch)}"


def borrow(folder: Path, lent: Path) -> None:
    """Have a git folder read the objects of another."""
    (folder / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (folder / "objects" / "info" / "alternates").write_text(f"{lent / 'objects'}\n")
