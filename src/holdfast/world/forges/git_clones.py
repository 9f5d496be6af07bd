"""Clones of attempts: made from the plane's copy, and taken from without trusting them.

A clone belongs to its agent, who may put anything into it: configuration that names programs,
hooks, alternates, links, a repository that is none. So the plane never opens it. `git upload-pack`
opens it, confined, and sends a pack, which is checked object by object in a repository that is
thrown away; what passed is then fetched from there. The files of the clone are compared by a
confined git whose own folder and configuration are elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from holdfast.disk.durable_file import move, write_file
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.git_command import said
from holdfast.world.forges.git_store import Store, agents_ref, borrow
from holdfast.world.forges.names import Remote, is_commit
from holdfast.world.forges.port import Workspace
from holdfast.world.forges.process import Ended, Limits

TAKEN_BYTES_MAX: Final = 256 << 20
"""Most bytes that one taking of a branch may bring, packed."""

_TAKE: Final = Limits(seconds=120, file=TAKEN_BYTES_MAX)
_CHECKOUT: Final = Limits(seconds=300)
_NAMED_MAX: Final = 3
_PAGE_BYTES: Final = 4_096

NOT_WORK: Final = (
    "__pycache__/", "*.pyc", "node_modules/", ".venv/", "venv/", ".tox/", ".nox/", ".mypy_cache/",
    ".pytest_cache/", ".ruff_cache/", ".DS_Store", ".holdfast/", ".claude/", ".codex/",
    ".openclaw/",
)  # fmt: skip
"""What tools leave behind, and agents; files of these names are not missed when uncommitted."""

_AGENT_CONFIG: Final = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
[user]
\tname = Holdfast agent
\temail = agent@localhost
[gc]
\tauto = 0
[commit]
\tgpgsign = false
[advice]
\tdetachedHead = false
[remote "origin"]
\turl = {store}
\tfetch = +refs/rig/*:refs/remotes/origin/*
"""


class Record(Struct, frozen=True, kw_only=True):
    """A clone that was made; `number` grows with each of its rig."""

    attempt: str
    branch: str
    base: str
    number: int


_records = msgspec.json.Decoder(Record)


class Taken(NamedTuple):
    """What a clone had: the head of its branch, and names of files that are not committed."""

    commit: str
    loose: tuple[str, ...]


class Clones:
    """The clones of one rig."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Record] | None = None

    def folder(self, attempt: str) -> Path:
        """Return the folder of an attempt's clone."""
        return self._store.attempts / attempt

    def _file(self, attempt: str) -> Path:
        return self._store.attempts / f"{attempt}.json"

    async def records(self) -> Mapping[str, Record]:
        """Return the clones that there are, by attempt."""
        if self._known is None:
            self._known = await asyncio.to_thread(self._read)
        return self._known

    def _read(self) -> dict[str, Record]:
        found = {}
        for path in sorted(self._store.attempts.glob("*.json")):
            with suppress(msgspec.MsgspecError, RecursionError):  # a damaged record is none
                record = _records.decode(path.read_bytes())
                found[record.attempt] = record
        return found

    async def holder(self, branch: str) -> Record | None:
        """Return the clone that was made last for a branch."""
        found = [one for one in (await self.records()).values() if one.branch == branch]
        return max(found, key=lambda one: one.number, default=None)

    def workspace(self, record: Record) -> Workspace:
        """Return a clone as others see it."""
        return Workspace(
            folder=str(self.folder(record.attempt)),
            branch=record.branch,
            base=record.base,
            lent=(str(self._store.folder),),
        )

    async def make(self, attempt: str, branch: str, start: str) -> Outcome[Workspace]:
        """Make a clone whose branch is at a commit of the plane's copy."""
        known = await self.records()
        folder = self.folder(attempt)
        await self._store.git.remove(folder)  # one without a record was never given away
        async with self._store.passing() as passing:
            draft = passing / "clone"
            ended = await self.check_out(draft, start, branch=branch)
            if not ended.ok:
                if ended.late:
                    return Retryable(port.UNREACHABLE, "checking the files out took too long")
                return Permanent(port.DAMAGED, said(ended))
            move(draft, folder)
        number = 1 + max((one.number for one in known.values()), default=0)
        record = Record(attempt=attempt, branch=branch, base=start, number=number)
        await asyncio.to_thread(write_file, self._file(attempt), msgspec.json.encode(record))
        self._known = {**known, attempt: record}
        return Ok(self.workspace(record))

    async def check_out(self, folder: Path, commit: str, *, branch: str = "") -> Ended:
        """Make a clone of the plane's copy with the files of a commit.

        The files are an agent's, so they are written by a confined git.
        """
        store, inside = self._store, folder / ".git"
        await asyncio.to_thread(folder.mkdir, mode=0o700)
        await store.do("init", "--quiet", "--bare", "--template=", folder=inside)
        borrow(inside, store.folder)
        (inside / "config").write_text(_AGENT_CONFIG.format(store=store.folder))
        refs = await store.do(
            "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/rig"
        )
        pairs = [line.split(" ", 1) for line in refs.splitlines()]
        lines = [f"{commit} refs/remotes/origin/{name}\n" for commit, name in pairs]
        if branch:
            lines.append(f"{commit} refs/heads/{branch}\n")
        head = f"ref: refs/heads/{branch}\n" if branch else f"{commit}\n"
        (inside / "packed-refs").write_text(
            "# pack-refs with: peeled fully-peeled \n" + "".join(lines)
        )
        (inside / "HEAD").write_text(head)
        words = (f"--git-dir={inside}", f"--work-tree={folder}", "reset", "--quiet", "--hard")
        return await store.git.confined(
            [words], own=(folder,), lent=(store.folder,), limits=_CHECKOUT
        )

    async def take(self, record: Record) -> Outcome[Taken]:
        """Take the branch of a clone into the plane's copy.

        Permanent REWRITTEN where what was taken before is not in its history.
        """
        store = self._store
        async with store.passing() as passing:
            between = passing / "git"
            await store.make_bare(between, lent=store.folder)
            failure = await self._fetch(record, between)
            if failure is not None:
                return failure
            commit, head = [
                (await store.do("rev-parse", f"refs/taken/{one}^{{commit}}", folder=between))
                for one in ("branch", "head")
            ]
            known = await store.taken(record.branch) or record.base
            is_within = ("merge-base", "--is-ancestor", known, commit)
            if not await store.asks(*is_within, folder=between):
                return Permanent(
                    port.REWRITTEN,
                    f"branch {record.branch}: {known[:12]} is not in its history any more",
                )
            loose = await self._loose(record, between, head)
            if not isinstance(loose, Ok):
                return loose
            ended = await store.git.between(
                store.folder, Remote("file", str(between)),
                ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
                 str(between), f"+refs/taken/branch:{agents_ref(record.branch)}"),
                lent=(store.folder,), limits=_TAKE,
            )  # fmt: skip
            if not ended.ok:
                return Retryable(port.UNREACHABLE, said(ended))
            return Ok(Taken(commit, loose.value))

    async def _fetch(self, record: Record, between: Path) -> Failure | None:
        clone = self.folder(record.attempt)
        if not await asyncio.to_thread(_is_folder, clone):
            return Permanent(port.DAMAGED, f"the clone of attempt {record.attempt} is gone")
        ended = await self._store.git.between(
            between, Remote("file", str(clone)),
            ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
             "--no-recurse-submodules", str(clone), "+HEAD:refs/taken/head",
             f"+refs/heads/{record.branch}:refs/taken/branch"),
            lent=(self._store.folder,), limits=_TAKE,
        )  # fmt: skip
        if ended.ok:
            return None
        if await asyncio.to_thread(_is_full, between, _TAKE.file):
            text = f"branch {record.branch}: it brings more than {_TAKE.file >> 20} MiB"
            return Permanent(port.TOO_LARGE, text)
        return _not_taken(ended, record)

    async def _loose(self, record: Record, between: Path, head: str) -> Outcome[tuple[str, ...]]:
        """Return files of a clone that differ from its HEAD or are new."""
        clone = self.folder(record.attempt)
        (between / "info").mkdir(exist_ok=True)
        (between / "info" / "exclude").write_text("".join(f"{one}\n" for one in NOT_WORK))
        (between / "HEAD").write_text(f"{head}\n")
        at = (f"--git-dir={between}", f"--work-tree={clone}")
        ended = await self._store.git.confined(
            [
                (*at, "read-tree", "HEAD"),
                (*at, "status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=all",
                 "--untracked-files=normal"),
            ],
            own=(between,), lent=(clone, self._store.folder), limits=_TAKE,
        )  # fmt: skip
        if not ended.ok:
            code = port.UNREACHABLE if ended.late else port.DAMAGED
            return Retryable(code, said(ended)) if ended.late else Permanent(code, said(ended))
        names = [one[3:] for one in ended.text.split("\0") if one]
        return Ok(tuple(names))

    async def drop(self, attempt: str) -> None:
        """Delete a clone; what it has committed is taken first, if that can be."""
        known = dict(await self.records())
        record = known.pop(attempt, None)
        if record is not None and await self.holder(record.branch) == record:
            await self.take(record)
        self._known = known
        await asyncio.to_thread(self._file(attempt).unlink, missing_ok=True)
        await self._store.git.remove(self.folder(attempt))


def _is_full(git_folder: Path, most: int) -> bool:
    """Return whether a pack was cut off at the limit of files; git does not say so."""
    packs = (git_folder / "objects" / "pack").iterdir()
    return any(one.stat().st_size >= most - _PAGE_BYTES for one in packs)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def dirty(taken: Taken) -> Permanent | None:
    """Return the refusal of a clone with uncommitted files, if it has any."""
    if not taken.loose:
        return None
    shown = [name[:80].encode("ascii", "backslashreplace").decode() for name in taken.loose]
    more = f" and {len(shown) - _NAMED_MAX} more" if len(shown) > _NAMED_MAX else ""
    return Permanent(port.DIRTY, f"not committed: {', '.join(shown[:_NAMED_MAX])}{more}")


def _not_taken(ended: Ended, record: Record) -> Failure:
    text = ended.err.decode("utf-8", "replace")
    if ended.late:
        return Retryable(port.UNREACHABLE, "taking the branch took too long")
    if "couldn't find remote ref HEAD" in text:
        return Permanent(port.DIRTY, "the clone has no branch checked out")
    if "couldn't find remote ref" in text:
        return Permanent(port.NO_BRANCH, f"the clone has no branch {record.branch}")
    return Permanent(port.DAMAGED, said(ended))


def is_expected(commit: str, wanted: str) -> bool:
    """Return whether a commit is the one that was named, in full or by its beginning."""
    return commit == wanted if is_commit(wanted) else commit.startswith(wanted)
