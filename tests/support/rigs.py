"""Rigs for tests: a real repository, and the hands of the agents and people that work on it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from holdfast.kernel.clock import SystemClock
from holdfast.world.forges.confined import Confined
from holdfast.world.forges.git import GitRepositories
from holdfast.world.forges.port import Repositories, Repository, Workspace
from holdfast.world.forges.simulated import SimulatedRepositories
from holdfast.world.processes.confine import Confine, Kind

_CONFIG = ("-c", "user.name=Agent", "-c", "user.email=agent@localhost", "-c", "gc.auto=0")


def git(folder: Path, *words: str) -> str:
    """Run git as a person or an agent does; raise where it fails."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ("git", *_CONFIG, *words), cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def commit_to(bare: Path, branch: str, files: Mapping[str, str]) -> str:
    """Commit files to a branch of a bare repository, as a person does from elsewhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        git(folder, "init", "--quiet", f"--initial-branch={branch}")
        heads = git(bare, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split()
        if heads:
            start = branch if branch in heads else "main"
            git(folder, "fetch", "--quiet", str(bare), start)
            git(folder, "checkout", "--quiet", "-B", branch, "FETCH_HEAD")
        _write(folder, files)
        commit = _commit(folder)
        git(folder, "push", "--quiet", str(bare), f"HEAD:refs/heads/{branch}")
    return commit


class Hands(Protocol):
    """What is done to a rig beside the port."""

    repository: Repository

    @property
    def repositories(self) -> Repositories: ...
    def work(
        self, workspace: Workspace, files: Mapping[str, str], *, amend: bool = False
    ) -> str: ...
    def write(self, workspace: Workspace, files: Mapping[str, str]) -> None: ...
    def push(self, branch: str, files: Mapping[str, str]) -> str: ...
    def files(self, branch: str) -> Mapping[str, str]: ...
    def merges(self, branch: str) -> int: ...
    def remove(self) -> None: ...
    def lock(self, *, held: bool) -> None: ...


class GitHands:
    """A real bare repository in `folder`, and clones where the port says."""

    def __init__(self, folder: Path, repositories: Repositories, repository: Repository) -> None:
        self.repositories = repositories
        self.repository = repository
        self.folder = folder
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main")

    def work(self, workspace: Workspace, files: Mapping[str, str], *, amend: bool = False) -> str:
        self.write(workspace, files)
        return _commit(Path(workspace.folder), amend=amend)

    def write(self, workspace: Workspace, files: Mapping[str, str]) -> None:
        _write(Path(workspace.folder), files)

    def push(self, branch: str, files: Mapping[str, str]) -> str:
        return commit_to(self.folder, branch, files)

    def files(self, branch: str) -> Mapping[str, str]:
        names = git(self.folder, "ls-tree", "-r", "--name-only", branch).splitlines()
        return {name: git(self.folder, "show", f"{branch}:{name}") for name in names}

    def merges(self, branch: str) -> int:
        return int(git(self.folder, "rev-list", "--count", "--merges", "--first-parent", branch))

    def remove(self) -> None:
        self.folder.rename(self.folder.with_name("elsewhere"))

    def lock(self, *, held: bool) -> None:
        lock = self.folder / "refs" / "heads" / "main.lock"
        if held:
            lock.touch()
        else:
            lock.unlink()


class SimulatedHands:
    """The same over the twin."""

    def __init__(self, repository: Repository) -> None:
        self.repositories = SimulatedRepositories()
        self.repository = repository
        self.repositories.rigs[repository.url] = {}

    def work(self, workspace: Workspace, files: Mapping[str, str], *, amend: bool = False) -> str:
        return self.repositories.work(workspace, files, amend=amend)

    def write(self, workspace: Workspace, files: Mapping[str, str]) -> None:
        self.repositories.write(workspace, files)

    def push(self, branch: str, files: Mapping[str, str]) -> str:
        return self.repositories.push(self.repository, branch, files)

    def files(self, branch: str) -> Mapping[str, str]:
        return self.repositories.files(self.repositories.rigs[self.repository.url][branch])

    def merges(self, branch: str) -> int:
        return self.repositories.merges(self.repository, branch)

    def remove(self) -> None:
        del self.repositories.rigs[self.repository.url]

    def lock(self, *, held: bool) -> None:
        self.repositories.locked = {self.repository.url} if held else set()


def confined(*hidden: Path, kind: Kind = "auto") -> Confined:
    """Return the confinement of this host, with folders hidden."""
    return Confined(
        Confine(kind=kind, hidden=tuple(map(str, hidden))),
        {"PATH": os.environ["PATH"]},
        accept_unconfined=kind == "none",
    )


def real_repositories(root: Path, *, kind: Kind = "auto") -> GitRepositories:
    """Return repositories by git, in a folder of their own."""
    return GitRepositories(root, confined(root, kind=kind), SystemClock())


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _commit(folder: Path, *, amend: bool = False) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=work", *(("--amend",) if amend else ()))
    return git(folder, "rev-parse", "HEAD")
