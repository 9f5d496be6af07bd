"""Attempts of a hostile agent and a hostile rig on the plane; none may succeed.

The first layer (git runs nothing of a repository's) is attacked without confinement, where whatever
ran would leave a trace; the second (what is opened is opened confined) with it. docs/forges.md
counts the attempts: a test that names several makes each of them. Those at the forge's token are in
test_token.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, TypeVar

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.world.forges import git_clones, port
from holdfast.world.forges.confined import Confined
from holdfast.world.forges.git import GitRepositories
from holdfast.world.forges.port import Checked, Gate, Landing, Repository, Trial, Workspace
from holdfast.world.forges.process import Limits, run
from holdfast.world.processes import probe
from holdfast.world.processes.confine import Confine, Kind
from holdfast.world.processes.table import MARKER, kill_members, members
from tests.support.confinement import need
from tests.support.patience import until
from tests.support.rigs import GitHands, commit_to, confined, git, real_repositories

T = TypeVar("T")

PROGRAMS: Final = (
    "core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.alternateRefsCommand",
    "core.pager", "core.editor", "core.askPass", "credential.helper", "diff.external",
    "diff.evil.command", "diff.evil.textconv", "merge.evil.driver", "filter.evil.clean",
    "filter.evil.smudge", "filter.evil.process", "filter.lfs.process", "filter.lfs.smudge",
    "uploadpack.packObjectsHook", "gpg.program", "sequence.editor", "uploadpack.hook",
)  # fmt: skip
"""Settings that name a program; each is one attempt, in the clone and again in the rig."""

HOOKS: Final = (
    "applypatch-msg", "post-checkout", "post-commit", "post-index-change", "post-merge",
    "post-receive", "post-update", "pre-auto-gc", "pre-push", "pre-receive", "proc-receive",
    "push-to-checkout", "reference-transaction", "update", "fsmonitor-watchman",
)  # fmt: skip


class Stage:
    """A rig, the plane's forge, and a folder in which programs of an attacker leave traces."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self.traces = folder / "traces"
        self.traces.mkdir()
        self.rig = folder / "rig.git"
        self.repository = Repository(key="t-r", url=str(self.rig))
        self.forge: GitRepositories = real_repositories(folder / "forge", kind=kind)
        self.hands = GitHands(self.rig, self.forge, self.repository)
        self.hands.push("main", {"a": "one\n", "shared": "0\n"})

    def program(self, name: str, at: Path) -> Path:
        """Make a program that leaves its name as a trace, wherever it may write."""
        path = at / f"evil-{name}"
        path.write_text(f"#!/bin/sh\necho ran > '{self.traces}/{name}'\ncat\nexit 0\n")
        path.chmod(0o755)
        return path

    def arm(self, git_folder: Path, name: str) -> None:
        """Put every setting and hook that runs programs into a repository."""
        for setting in PROGRAMS:
            evil = self.program(f"{name}-{setting}", git_folder)
            git(git_folder, "config", "--file", "config", setting, str(evil))
        hooks = git_folder / "more-hooks"
        for folder in (git_folder / "hooks", hooks):
            folder.mkdir(exist_ok=True)
            for hook in HOOKS:
                evil = self.program(f"{name}-{folder.name}-{hook}", git_folder)
                shutil.copy(evil, folder / hook)
        git(git_folder, "config", "--file", "config", "core.hooksPath", str(hooks))
        for setting, value in (
            ("protocol.allow", "always"), ("protocol.ext.allow", "always"),
            ("remote.origin.promisor", "true"), ("remote.origin.partialclonefilter", "blob:none"),
            ("remote.origin.url", f"ext::sh -c '>{self.traces}/{name}-promisor'"),
            ("extensions.partialClone", "origin"), ("core.repositoryformatversion", "1"),
            ("include.path", "included"), ("extensions.worktreeConfig", "true"),
            (f"url.ext::sh -c '>{self.traces}/{name}-instead'.insteadOf", "/"),
            ("receive.denyCurrentBranch", "updateInstead"), ("submodule.recurse", "true"),
        ):  # fmt: skip
            git(git_folder, "config", "--file", "config", setting, value)
        for more in ("included", "config.worktree"):
            evil = self.program(f"{name}-{more}", git_folder)
            (git_folder / more).write_text(f"[core]\n\tfsmonitor = {evil}\n")
        (git_folder / "info").mkdir(exist_ok=True)
        (git_folder / "info" / "attributes").write_text("* filter=evil diff=evil merge=evil\n")

    async def workspace(self, attempt: str = "one", branch: str = "bead/1") -> Workspace:
        return good(await self.forge.workspace(self.repository, attempt, branch, "main"))

    async def check(
        self, *gates: Gate, branch: str = "bead/1", number: str = "mr-1"
    ) -> Outcome[Checked]:
        trial = Trial(number=number, branch=branch, target="main")
        return await self.forge.check(self.repository, trial, gates)

    async def land(self, commit: str, number: str = "mr-1") -> Outcome[str]:
        landing = Landing(number=number, target="main", commit=commit)
        return await self.forge.land(self.repository, landing)

    def unharmed(self) -> None:
        """Hold that nothing of an attacker ran and the target is as it was."""
        assert sorted(path.name for path in self.traces.iterdir()) == []
        assert self.hands.files("main") == {"a": "one", "shared": "0"}


def good(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def code(outcome: Outcome[T]) -> str:
    assert not isinstance(outcome, Ok), outcome
    return outcome.code


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    need("auto")
    return Stage(tmp_path, "auto")


@pytest.fixture
def bare(tmp_path: Path) -> Stage:
    """A stage without confinement."""
    return Stage(tmp_path, "none")


def shell(name: str, script: str, seconds: int = 60) -> Gate:
    return Gate(name=name, command=("/bin/sh", "-c", script), timeout_s=seconds)


# ------------------------------------------------- programs that a repository names (first layer)


async def test_nothing_that_an_agents_clone_names_is_run(bare: Stage) -> None:
    at = await bare.workspace()
    clone = Path(at.folder)
    (clone / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n")
    commit = bare.hands.work(at, {"b": "two", "c.bin": "x", "shared": "1\n"})
    bare.hands.push("main", {"d": "so that there is something to merge"})
    bare.arm(clone / ".git", "clone")
    found = await bare.forge.collect(bare.repository, "one", "bead/1", "main")
    assert good(found).commit == commit
    checked = good(await bare.check(shell("green", "cat b")))
    assert [one.status for one in checked.reports] == ["passed"]
    good(await bare.land(checked.commit))
    await bare.workspace("two")
    assert sorted(path.name for path in bare.traces.iterdir()) == []
    assert bare.hands.files("main")["b"] == "two"
    git(clone, "status")  # what the plane never does
    assert [path.name for path in bare.traces.iterdir()] != []


async def test_nothing_that_a_rig_names_is_run(bare: Stage) -> None:
    bare.arm(bare.rig, "rig")
    bare.hands.work(await bare.workspace(), {"b": "two"})
    checked = good(await bare.check(shell("green", "true")))
    good(await bare.land(checked.commit))
    assert sorted(path.name for path in bare.traces.iterdir()) == []
    assert "evil" in (bare.rig / "config").read_text()


async def test_a_rigs_checkout_is_never_written(bare: Stage) -> None:
    checkout = bare.folder / "checkout"
    git(bare.folder, "clone", "--quiet", str(bare.rig), str(checkout))
    git(checkout, "config", "receive.denyCurrentBranch", "updateInstead")
    bare.repository = Repository(key="t-c", url=str(checkout))
    bare.hands.work(await bare.workspace(), {"b": "two"})
    checked = good(await bare.check())
    assert code(await bare.land(checked.commit)) == port.CHECKED_OUT
    assert git(checkout, "status", "--porcelain") == ""
    git(checkout, "switch", "--quiet", "--detach")
    good(await bare.land(checked.commit))
    assert git(checkout, "status", "--porcelain") == ""


# ------------------------------------------------------------- clones that lead elsewhere (second)


def of_others(stage: Stage) -> tuple[Path, str]:
    """Make the repository of somebody else, on the same host; return it and its secret commit."""
    other = stage.folder / "other.git"
    other.mkdir()
    git(other, "init", "--quiet", "--bare", "--initial-branch=main")
    return other, commit_to(other, "main", {"secret": "of others"})


def delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def point(inside: Path, commit: str) -> None:
    ref = inside / "refs/heads/bead/1"
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(f"{commit}\n")


def by_alternates(inside: Path, other: Path, secret: str) -> None:
    with (inside / "objects/info/alternates").open("a") as file:
        file.write(f"{other}/objects\n")
    point(inside, secret)


def by_linked_objects(inside: Path, other: Path, secret: str) -> None:
    shutil.rmtree(inside / "objects")
    (inside / "objects").symlink_to(other / "objects")
    point(inside, secret)


def by_linked_ref(inside: Path, other: Path, _secret: str) -> None:
    (inside / "refs/heads/bead/1").unlink()
    (inside / "refs/heads/bead/1").symlink_to(other / "refs/heads/main")


def by_git_file(inside: Path, other: Path, _secret: str) -> None:
    shutil.rmtree(inside)
    inside.write_text(f"gitdir: {other}\n")


def by_git_link(inside: Path, other: Path, _secret: str) -> None:
    shutil.rmtree(inside)
    inside.symlink_to(other)


def by_common_folder(inside: Path, other: Path, _secret: str) -> None:
    (inside / "commondir").write_text(f"{other}\n")


def by_linked_head(inside: Path, other: Path, _secret: str) -> None:
    (inside / "HEAD").unlink()
    (inside / "HEAD").symlink_to(other / "HEAD")


LEADS: Final = (
    by_alternates, by_linked_objects, by_linked_ref, by_git_file, by_git_link, by_common_folder,
    by_linked_head,
)  # fmt: skip


async def test_a_clone_cannot_lead_to_repositories_of_others(stage: Stage) -> None:
    other, secret = of_others(stage)
    at = await stage.workspace()
    inside = Path(at.folder) / ".git"
    stage.hands.work(at, {"b": "two"})
    kept = stage.folder / "kept"
    shutil.copytree(inside, kept, symlinks=True)

    for attempt in LEADS:
        attempt(inside, other, secret)
        refused = await stage.forge.collect(stage.repository, "one", "bead/1", "main")
        assert not isinstance(refused, Ok), attempt.__name__
        delete(inside)
        shutil.copytree(kept, inside, symlinks=True)
    good(await stage.forge.collect(stage.repository, "one", "bead/1", "main"))
    store = stage.folder / "forge" / "t-r" / "store.git"
    assert secret not in git(store, "cat-file", "--batch-all-objects", "--batch-check")
    stage.unharmed()


async def test_the_agent_cannot_write_what_its_clone_borrows(stage: Stage) -> None:
    at = await stage.workspace()
    stage.hands.push("other", {"x": "y"})
    await stage.workspace("two", "bead/2")
    store = Path(at.lent[0])
    around = confined(stage.folder)
    script = (
        f"cat '{store}/HEAD'; git fetch origin && git log -1 origin/other && echo FETCHED;"
        f" touch '{store}/objects/evil' '{store}/refs/evil';"
        f" git --git-dir='{store}' update-ref refs/rig/main $(git rev-parse HEAD);"
        f" git push origin HEAD:refs/rig/evil; rm -rf '{store}/objects'; ls '{stage.folder}/forge'"
    )
    env = around.environment((Path(at.folder),), (store,))
    ended = await run(
        around.wrap(("/bin/sh", "-c", script)), env=env, cwd=Path(at.folder),
        limits=Limits(seconds=60), joined=True,
    )  # fmt: skip
    assert b"ref: refs/heads/main" in ended.out, ended.out
    assert b"FETCHED" in ended.out, ended.out
    assert not (store / "objects" / "evil").exists()
    assert "evil" not in git(store, "for-each-ref")
    good(await stage.check())
    stage.unharmed()


# ------------------------------------------------------------------------- objects that are a trap


def hash_object(clone: Path, kind: str, content: bytes) -> str:
    done = subprocess.run(
        ("git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"),
        cwd=clone, input=content, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.decode().strip()


def tree_of(clone: Path, *entries: tuple[str, str, str]) -> str:
    body = b"".join(
        f"{mode} {name}".encode() + b"\0" + bytes.fromhex(one) for mode, name, one in entries
    )
    return hash_object(clone, "tree", body)


def commit_tree(clone: Path, tree: str) -> None:
    commit = git(clone, "commit-tree", "-p", "HEAD", "-m", "trap", tree)
    git(clone, "update-ref", "HEAD", commit)


async def test_trees_that_write_outside_of_a_checkout_are_not_taken(stage: Stage) -> None:
    at = await stage.workspace()
    clone = Path(at.folder)
    start = git(clone, "rev-parse", "HEAD")
    evil = hash_object(clone, "blob", b"#!/bin/sh\n")
    inner = tree_of(clone, ("100755", "post-checkout", evil))
    hooks = tree_of(clone, ("40000", "hooks", inner))
    modules = hash_object(clone, "blob", b'[submodule "x"]\n\tpath = -x\n\turl = --upload-pack=x\n')
    link = hash_object(clone, "blob", b"/etc/passwd")
    traps = {
        "git folder": tree_of(clone, ("40000", ".git", hooks)),
        "git folder for other systems": tree_of(clone, ("40000", "GIT~1", hooks)),
        "folder above": tree_of(clone, ("40000", "..", hooks)),
        "path in a name": tree_of(clone, ("100644", "../../evil", evil)),
        "submodule with options": tree_of(clone, ("100644", ".gitmodules", modules)),
        "linked submodules": tree_of(clone, ("120000", ".gitmodules", link)),
        "link and folder": tree_of(clone, ("120000", "x", link), ("40000", "x", hooks)),
    }
    for name, tree in traps.items():
        commit_tree(clone, tree)
        refused = await stage.forge.collect(stage.repository, "one", "bead/1", "main")
        assert code(refused) == port.DAMAGED, name
        git(clone, "update-ref", "HEAD", start)
    good(await stage.forge.collect(stage.repository, "one", "bead/1", "main"))
    stage.unharmed()


async def test_a_link_out_of_the_tree_shows_a_gate_nothing(stage: Stage) -> None:
    at = await stage.workspace()
    secret = stage.folder / "secret"
    secret.write_text("of the plane")
    (Path(at.folder) / "link").symlink_to(secret)
    (Path(at.folder) / "store").symlink_to(stage.folder / "forge")
    stage.hands.work(at, {})
    checked = good(await stage.check(shell("look", "cat link; ls store/; true")))
    assert b"of the plane" not in checked.reports[0].output


async def test_a_branch_brings_no_more_than_it_may(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_clones, "_TAKE", Limits(seconds=60, file=1 << 20))
    at = await stage.workspace()
    (Path(at.folder) / "huge").write_bytes(os.urandom(3 << 20))
    stage.hands.work(at, {})
    refused = await stage.check()
    assert code(refused) == port.TOO_LARGE, refused
    assert not list((stage.folder / "forge" / "t-r" / "passing").iterdir())
    stage.unharmed()


async def test_files_that_are_no_files_stop_nothing(stage: Stage) -> None:
    at = await stage.workspace()
    clone = Path(at.folder)
    stage.hands.work(at, {"b": "two"})
    (clone / "b").unlink()
    os.mkfifo(clone / "b")
    assert code(await stage.check()) == port.DIRTY
    (clone / "b").unlink()
    (clone / "b").symlink_to("b")
    assert code(await stage.check()) == port.DIRTY
    (clone / "b").unlink()
    (clone / "locked").mkdir()
    (clone / "locked").chmod(0)
    good(await stage.forge.drop(stage.repository, "one"))
    assert not any(path.name == "one" for path in clone.parent.iterdir())


# --------------------------------------------------------------------------- names, numbers, races


@pytest.mark.parametrize(
    "branch",
    ["--upload-pack=touch x", "-oProxyCommand=x", "x:refs/rig/main", "+x", "x^{commit}", "a..b",
     "refs/../../x", "x\nrefs/heads/y", "HEAD", "@{-1}"],
)  # fmt: skip
async def test_names_are_never_options_or_other_refs(bare: Stage, branch: str) -> None:
    assert code(await bare.forge.workspace(bare.repository, "one", branch, "main")) == (
        port.NO_BRANCH
    )
    assert code(await bare.check(branch=branch)) == port.NO_BRANCH
    for attempt in ("../x", "-x", "", "a/b"):
        refused = await bare.forge.workspace(bare.repository, attempt, "bead/1", "main")
        assert attempt == "" or code(refused) == port.FORBIDDEN
    bare.unharmed()


async def test_what_lands_is_what_the_gates_ran_on(bare: Stage) -> None:
    at = await bare.workspace()
    bare.hands.work(at, {"b": "two"})
    checked = good(await bare.check(shell("green", "test $(cat b) = two")))
    bare.hands.work(at, {"b": "evil"}, amend=True)
    good(await bare.land(checked.commit))
    assert bare.hands.files("main")["b"] == "two"


async def test_a_target_that_was_force_pushed_between_gate_and_landing(bare: Stage) -> None:
    bare.hands.work(await bare.workspace(), {"b": "two"})
    checked = good(await bare.check(shell("green", "true")))
    bare.hands.push("other", {"x": "y"})
    git(bare.rig, "update-ref", "refs/heads/main", "refs/heads/other")
    assert code(await bare.land(checked.commit)) == port.MOVED
    assert bare.hands.files("main") == {"a": "one", "shared": "0", "x": "y"}


async def test_a_landing_cannot_be_claimed_by_a_commits_words(bare: Stage) -> None:
    at = await bare.workspace()
    bare.hands.write(at, {"b": "two"})
    git(Path(at.folder), "add", "--all")
    git(Path(at.folder), "commit", "--quiet", "--message=x\n\nHoldfast-Landing: mr-2")
    checked = good(await bare.check())
    good(await bare.land(checked.commit))
    two = await bare.workspace("two", "bead/2")
    bare.hands.work(two, {"c": "three"})
    other = good(await bare.check(branch="bead/2", number="mr-2"))
    assert good(await bare.land(other.commit, "mr-2")) == other.commit
    assert bare.hands.files("main")["c"] == "three"


async def test_a_trial_of_another_landing_or_of_the_agents_own_does_not_land(bare: Stage) -> None:
    at = await bare.workspace()
    commit = bare.hands.work(at, {"b": "two"})
    checked = good(await bare.check(number="mr-1"))
    assert code(await bare.land(checked.commit, "mr-2")) == port.MOVED
    assert code(await bare.land(commit)) == port.MOVED
    bare.unharmed()


async def test_the_planes_own_folder_is_no_rig(bare: Stage) -> None:
    await bare.workspace()
    link = bare.folder / "link"
    link.symlink_to(bare.folder / "forge")
    for url in (bare.folder / "forge/t-r/store.git", link / "t-r/store.git", bare.folder / "forge"):
        theirs = Repository(key="theirs", url=str(url))
        refused = await bare.forge.workspace(theirs, "one", "bead/1", "main")
        assert code(refused) == port.FORBIDDEN


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c 'touch x'", "ssh://host/x", "git@host:x", "file:///x", "http://10.0.0.1/x",
     "https://u:p@host/x", "https://host/x?y", "relative/path", "--upload-pack=x"],
)  # fmt: skip
async def test_only_folders_and_https_are_rigs(bare: Stage, url: str) -> None:
    theirs = Repository(key="theirs", url=url)
    assert code(await bare.forge.workspace(theirs, "one", "bead/1", "main")) == port.RIG_GONE


# ------------------------------------------------------------------------------------------- gates


async def test_gates_read_and_write_nothing_that_is_not_theirs(stage: Stage) -> None:
    at = await stage.workspace()
    stage.hands.work(at, {"b": "two"})
    secret = stage.folder / "secret"
    secret.write_text("of the plane")
    store = stage.folder / "forge" / "t-r" / "store.git"
    script = f"""
        cat '{secret}' '{stage.folder}/other' /proc/1/environ /proc/{os.getpid()}/environ
        cat '{at.folder}/b' && echo READ-A-CLONE
        ls '{stage.folder}' /root; env
        echo x > '{stage.traces}/gate'; echo x > '{at.folder}/evil'; rm -rf '{stage.rig}'
        git --git-dir='{store}' update-ref refs/rig/main HEAD && echo WROTE-THE-STORE
        git push '{stage.rig}' HEAD:refs/heads/main && echo WROTE-THE-RIG
        git push origin HEAD:refs/heads/evil && echo WROTE-THE-ORIGIN
        git -c user.name=x -c user.email=x@y commit --amend --allow-empty -qm evil
        kill -9 {os.getpid()} && echo KILLED
        true
    """
    os.environ["HOLDFAST_TEST_SECRET"] = "of-the-environment"
    try:
        checked = good(await stage.check(shell("evil", script)))
    finally:
        del os.environ["HOLDFAST_TEST_SECRET"]
    said = checked.reports[0].output.decode()
    for one in ("of the plane", "of-the-environment", "READ-", "WROTE-", "KILLED"):
        assert one not in said, said
    assert not (Path(at.folder) / "evil").exists()
    stage.unharmed()
    good(await stage.land(checked.commit))
    assert stage.hands.files("main")["b"] == "two"


async def test_gates_end_in_time_and_leave_nothing_running(stage: Stage) -> None:
    stage.hands.work(await stage.workspace(), {"b": "two"})
    hidden = "setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 & "
    checked = good(
        await stage.check(shell("stays", f"{hidden} echo left"), shell("hangs", "sleep 1000", 2))
    )
    assert [one.status for one in checked.reports] == ["passed", "timed_out"]
    await until(lambda: not sleeping())


def sleeping() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            marked = f"{MARKER}=forge-".encode() in (path.parent / "environ").read_bytes()
        except OSError:
            continue
        if words[:2] == [b"sleep", b"1000"] and marked:
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("kind", ["none", "auto"])
async def test_a_host_that_confines_nothing_runs_nothing(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ("/bin/echo", '{"kind": "none", "reason": "of a test"}')
    monkeypatch.setattr(probe, "PROBE", found)
    bare = Confined(Confine(kind=kind), {"PATH": os.environ["PATH"]})
    forge = GitRepositories(tmp_path / "forge", bare, SystemClock())
    rig = Repository(key="t-r", url=str(tmp_path / "rig"))
    assert code(await forge.workspace(rig, "one", "bead/1", "main")) == port.UNCONFINED
    assert not (tmp_path / "forge").exists()


async def test_what_a_gate_writes_is_bounded(stage: Stage) -> None:
    stage.hands.work(await stage.workspace(), {"b": "two"})
    checked = good(
        await stage.check(shell("floods", "yes 0123456789 | head -c 20000000; echo END"))
    )
    assert len(checked.reports[0].output) <= 64 << 10
    assert checked.reports[0].output.endswith(b"END\n")


async def test_a_plane_that_died_leaves_nothing_running_and_nothing_locked(bare: Stage) -> None:
    commit = bare.hands.work(await bare.workspace(), {"b": "two"})
    store = bare.folder / "forge" / "t-r" / "store.git"
    (store / "refs" / "rig" / "main.lock").parent.mkdir(parents=True, exist_ok=True)
    (store / "refs" / "rig" / "main.lock").touch()
    (store / "packed-refs.lock").touch()
    left = bare.folder / "forge" / "t-r" / "passing" / "left"
    left.mkdir(parents=True)
    marker = bare.forge._mark(left)
    stale = await asyncio.create_subprocess_exec("sleep", "1000", env={MARKER: marker})
    again = real_repositories(bare.folder / "forge", kind="none")
    found = await again.collect(bare.repository, "one", "bead/1", "main")
    assert good(found).commit == commit
    assert await stale.wait() == -9
    assert not left.exists()
    assert not members(None, marker)
    kill_members(None, marker)
