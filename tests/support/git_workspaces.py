"""Clones of attempts by real git, without defences against hostile repositories."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.world.forges.port import (
    NO_BRANCH,
    RIG_GONE,
    Branch,
    Repository,
    Workspace,
)


def git(folder: Path, *arguments: str) -> str:
    """Run git; return what it says, or raise CalledProcessError."""
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    return subprocess.run(
        ("git", "-C", str(folder), *who, *arguments), check=True, capture_output=True, text=True
    ).stdout.strip()


def make_rig(folder: Path) -> Path:
    """Return a bare repository with one commit on main."""
    seed = folder.with_name(f"{folder.name}-seed")
    seed.mkdir(parents=True)
    git(seed, "init", "--quiet", "--initial-branch", "main")
    (seed / "README").write_text("a rig\n")
    git(seed, "add", "--all")
    git(seed, "commit", "--quiet", "--message", "begin")
    git(seed, "clone", "--quiet", "--bare", str(seed), str(folder))
    return folder


class GitWorkspaces:
    """Clones under a folder, which borrow the objects of their repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, attempt: str) -> Path:
        return self.root / attempt

    async def workspace(
        self, repository: Repository, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        return await asyncio.to_thread(self._workspace, repository, attempt, branch, base)

    async def collect(
        self, repository: Repository, attempt: str, branch: str, target: str
    ) -> Outcome[Branch]:
        del target
        url, spec = Path(repository.url), f"+refs/heads/{branch}:refs/heads/{branch}"
        await asyncio.to_thread(git, url, "fetch", "--quiet", str(self.folder(attempt)), spec)
        return Ok(Branch(commit=git(url, "rev-parse", branch)))

    async def drop(self, repository: Repository, attempt: str) -> Outcome[None]:
        del repository
        await asyncio.to_thread(shutil.rmtree, self.folder(attempt), ignore_errors=True)
        return Ok(None)

    def _workspace(
        self, repository: Repository, attempt: str, branch: str, base: str
    ) -> Outcome[Workspace]:
        folder, url = self.folder(attempt), Path(repository.url)
        if not url.is_dir():
            return Permanent(RIG_GONE, f"{url} is not there")
        if not folder.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            heads = git(url, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
            if base not in heads:
                return Permanent(NO_BRANCH, f"{base} is not there")
            start = branch if branch in heads else base
            git(url, "clone", "--quiet", "--shared", "--branch", start, str(url), str(folder))
            git(folder, "checkout", "--quiet", "-B", branch)
        commit = git(folder, "rev-parse", "HEAD")
        return Ok(Workspace(folder=str(folder), branch=branch, base=commit))
