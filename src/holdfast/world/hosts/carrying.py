"""Carries clones to instances and back as git bundles.

What comes back is an agent's: git checks the bundle object by object, and writes the files of its
tree, confined with the clone and what it borrows. Nothing that clone or bundle names is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.kernel.failure import OperationError
from holdfast.world.forges.confined import Confined
from holdfast.world.forges.git_command import Git, is_bad_input, said
from holdfast.world.forges.process import Ended, Limits

_LIMITS: Final = Limits(seconds=120)
_MARKER: Final = "hosts-carrying"


class BadBundleError(OperationError):
    """Git rejects what came: no other try takes it."""


class Carrier:
    """Packs clones into bundles, and takes bundles into clones."""

    def __init__(self, confined: Confined) -> None:
        self._git = Git(confined, _MARKER)

    async def pack(self, folder: str, branch: str, bundle: Path, *, lent: Sequence[str]) -> None:
        """Write a bundle of a branch with all that it is made of; raise OSError."""
        words = ("bundle", "create", "--quiet", str(bundle), f"refs/heads/{branch}")
        ended = await self._git.confined(
            [(f"--git-dir={folder}/.git", *words)],
            own=(bundle.parent,), lent=(Path(folder), *map(Path, lent)), limits=_LIMITS,
        )  # fmt: skip
        _check(ended)

    async def unpack(self, folder: str, branch: str, bundle: Path, *, lent: Sequence[str]) -> None:
        """Move a clone's branch, which is checked out, to what a bundle has; raise OSError.

        BadBundleError where git rejects the bundle.
        """
        at = (f"--git-dir={folder}/.git", f"--work-tree={folder}")
        ref = f"refs/heads/{branch}"
        ended = await self._git.confined(
            [
                (*at, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                 "--no-auto-maintenance", "--no-recurse-submodules", "--update-head-ok",
                 str(bundle), f"+{ref}:{ref}"),
                (*at, "reset", "--quiet", "--hard", ref),
            ],
            own=(Path(folder),), lent=(bundle.parent, *map(Path, lent)), limits=_LIMITS,
            protocol="file",
        )  # fmt: skip
        _check(ended)


def _check(ended: Ended) -> None:
    if ended.ok:
        return
    if is_bad_input(ended):
        raise BadBundleError(said(ended))
    raise OperationError("git took too long" if ended.late else said(ended))
