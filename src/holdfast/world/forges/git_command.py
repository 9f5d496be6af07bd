"""Runs git so that nothing of a repository's is run, and reads what its failures mean.

Three things hold for every call. Git reads no configuration of the system or the user, and
what is given on its command line goes before that of a repository: no hooks, no fsmonitor, no
helpers, no automatic maintenance, no submodules, no transport but the one wanted. A repository that
others write is opened by one program alone, `git upload-pack` or `git receive-pack`, which runs
confined with that folder and what is lent to it. And each call has limits of time, output and
files.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast.kernel.failure import OperationError, may_pass
from holdfast.kernel.outcome import Failure, Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.confined import Confined
from holdfast.world.forges.names import Remote
from holdfast.world.forges.process import Ended, Limits, run
from holdfast.world.processes.table import MARKER

_CONFIG: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.askPass=false",
    "core.sshCommand=false",
    "core.gitProxy=false",
    "core.editor=false",
    "core.autocrlf=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.logAllRefUpdates=false",
    "core.filesRefLockTimeout=2000",
    "core.packedRefsTimeout=2000",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "fetch.unpackLimit=1",
    "transfer.fsckObjects=true",
    "transfer.bundleURI=false",
    "diff.external=",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "push.gpgSign=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "safe.directory=*",
)
"""Given to every git by `-c`, which goes before any file. `safe.directory`: whose a folder is does
not matter where nothing in it is run."""

_FAR: Final = (
    "core.alternateRefsCommand=true",
    "receive.autogc=false",
    "receive.denyCurrentBranch=refuse",
    "receive.denyDeletes=true",
    "receive.denyNonFastForwards=true",
    "receive.fsckObjects=true",
    "uploadpack.allowFilter=false",
)
"""Given to a program in a repository of others besides."""

_OLD_HISTORY: Final = tuple(
    f"fetch.fsck.{name}=ignore"
    for name in (
        "badTimezone", "missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeDate",
        "missingSpaceBeforeEmail", "missingTaggerEntry", "zeroPaddedDate", "zeroPaddedFilemode",
    )
)  # fmt: skip
"""What fsck finds in the history of old repositories, and no program stumbles over."""

_ENV: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_EDITOR": "false",
    "GIT_ASKPASS": "false",
    "GIT_AUTHOR_NAME": "Holdfast",
    "GIT_AUTHOR_EMAIL": "holdfast@localhost",
    "GIT_COMMITTER_NAME": "Holdfast",
    "GIT_COMMITTER_EMAIL": "holdfast@localhost",
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
    "TZ": "UTC",
}

SHORT: Final = Limits(seconds=60)
_REMOVALS: Final = 4
_MESSAGE_CHARS: Final = 300
_COMPLAINTS: Final = ("holdfast:", "remote: error:", "remote: fatal:", "fatal:", "error:", "!")


class Git:
    """Runs git; by `marker` what a plane that died left running is found."""

    def __init__(self, confined: Confined, marker: str) -> None:
        self._confined = confined
        self._env = {**_ENV, "PATH": confined.path, MARKER: marker, "GIT_ALLOW_PROTOCOL": "none"}

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of git."""
        return dict(self._env)

    async def own(
        self,
        folder: Path,
        *words: str,
        limits: Limits = SHORT,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run git in a repository that only the plane writes."""
        argv = (*_git(_OLD_HISTORY), f"--git-dir={folder}", *words)
        return await run(argv, env={**self._env, **(env or {})}, cwd=Path("/"), limits=limits)

    async def between(
        self, folder: Path, remote: Remote, words: Sequence[str], *, token: str = "",
        lent: Sequence[Path] = (), writes: bool = False, limits: Limits,
    ) -> Ended:  # fmt: skip
        """Run a fetch or a push between the plane's repository and another one.

        That of a folder is opened by a confined program, which may read `lent`, and write the
        folder where it `writes`. A token is given to its own address alone, in a variable.
        """
        env = {**self._env, "GIT_ALLOW_PROTOCOL": remote.protocol}
        if remote.protocol == "file":
            there = Path(remote.url)
            own, rest = ((there,), lent) if writes else ((), (there, *lent))
            env = {**self._confined.environment(own, rest), **env}
            verb, option = ("receive-pack", "--receive-pack") if writes else (
                "upload-pack", "--upload-pack"
            )  # fmt: skip
            far = self._confined.shell((*_git(_FAR), verb), {"GIT_ALLOW_PROTOCOL": "none"})
            words = (words[0], f"{option}={far}", *words[1:])
        elif token:
            env |= _credential(remote.url, token)
        argv = (*_git(_OLD_HISTORY), f"--git-dir={folder}", *words)
        return await run(argv, env=env, cwd=Path("/"), limits=limits)

    async def confined(
        self, scripts: Sequence[Sequence[str]], *, own: Sequence[Path], lent: Sequence[Path],
        limits: Limits, protocol: str = "none",
    ) -> Ended:  # fmt: skip
        """Run git confined, several times one after the other until one fails.

        It may fetch over `protocol` alone.
        """
        allowed = ("env", f"GIT_ALLOW_PROTOCOL={protocol}")
        script = " && ".join(shlex.join((*allowed, *_git(), *words)) for words in scripts)
        return await self._script(script, own=own, lent=lent, limits=limits)

    async def remove(self, folder: Path) -> None:
        """Delete a folder that others wrote in; raise OSError where that cannot be done.

        Rights in it are changed only confined: a folder in it may be replaced by a link meanwhile.
        """
        for _ in range(_REMOVALS):
            if not await asyncio.to_thread(os.path.lexists, folder):
                return
            try:
                await asyncio.to_thread(shutil.rmtree, folder)
            except FileNotFoundError:
                continue  # somebody deletes in it too
            except OSError:
                script = shlex.join(("chmod", "-R", "u+rwX", str(folder)))
                await self._script(script, own=(folder,), lent=(), limits=SHORT)
        if await asyncio.to_thread(os.path.lexists, folder):
            raise OperationError(f"{folder.name}: it cannot be deleted")

    async def _script(
        self, script: str, *, own: Sequence[Path], lent: Sequence[Path], limits: Limits
    ) -> Ended:
        env = {**self._confined.environment(own, lent), **self._env}
        argv = self._confined.wrap(("/bin/sh", "-c", script))
        return await run(argv, env=env, cwd=Path("/"), limits=limits)


def _git(more: Sequence[str] = ()) -> tuple[str, ...]:
    return ("git", *(word for one in (*_CONFIG, *more) for word in ("-c", one)))


def _credential(url: str, token: str) -> dict[str, str]:
    """Return the variables that send a token to this address and to nothing else."""
    pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{url}.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
    }


_BAD_INPUT: Final = (
    "fsck error", "does not look like a v2 or v3 bundle", "unrecognized header",
    "invalid gitfile format",
    "lacks these prerequisite commits", "couldn't find remote ref", "early EOF", "bad object",
    "bad pack", "pack signature mismatch", "pack is corrupted", "inflate", "unresolved delta",
    "did not send all necessary objects", "invalid path",
)  # fmt: skip
"""Words of git about objects that it was given."""
_MEANINGS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (port.UNCONFINED, ("holdfast: cannot be confined",)),
    (port.CHECKED_OUT, ("branch is currently checked out",)),
    (
        port.MOVED,
        ("stale info", "non-fast-forward", "fetch first", "but expected", "incorrect old value",
         "reference already exists"),
    ),
    (
        port.RIG_LOCKED,
        ("lock': File exists", "cannot lock ref", "failed to lock", "Unable to create"),
    ),
    (
        port.FORBIDDEN,
        ("hook declined", "protected branch", "deny updating", "prohibited", "returned error: 401",
         "returned error: 403", "Authentication failed", "could not read Username",
         "terminal prompts disabled", "ermission denied", "insufficient permission",
         "unable to create", "unable to write"),
    ),
    (
        port.RIG_GONE,
        ("not found", "does not appear to be a git repository", "does not exist", "No such file",
         "not a git repository", "shallow", "returned error: 404"),
    ),
)  # fmt: skip
"""Words of git (in English: see `_ENV`), by what they mean; the first that fits."""


def failure_of(ended: Ended) -> Failure:
    """Return what a failed call to a rig's repository means."""
    if ended.late:
        return Retryable(port.UNREACHABLE, "git took too long, and was ended")
    text = ended.err.decode("utf-8", "replace") + ended.text
    ours = "\n".join(line for line in text.splitlines() if not _is_greeting(line))
    if not may_pass(text):
        for code, words in _MEANINGS:
            if any(one in ours for one in words):
                known = Retryable if code == port.RIG_LOCKED else Permanent
                return known(code, said(ended))
    return Retryable(port.UNREACHABLE, said(ended))


def is_bad_input(ended: Ended) -> bool:
    """Return whether git rejected the objects that it was given, which it does each time.

    Whatever else failed, such as for a full disk, a lock or a kill, may be tried again.
    """
    text = ended.err.decode("utf-8", "replace")
    passes = ended.late or may_pass(text)
    return not passes and any(one in text for one in _BAD_INPUT)


def _is_greeting(line: str) -> bool:
    """Return whether a line is what a server tells people, and no complaint of its git."""
    return line.startswith("remote:") and not line.startswith(("remote: error:", "remote: fatal:"))


def said(ended: Ended) -> str:
    """Return the first complaint of git, printable."""
    text = ended.err.decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(_COMPLAINTS)] or lines
    if not telling:
        return f"git ended with {ended.code}"
    return " ".join("".join(c if c.isprintable() else " " for c in telling[0]).split())[
        :_MESSAGE_CHARS
    ]
