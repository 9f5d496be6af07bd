"""Starts a program behind a barrier, and takes in how it ended.

The barrier is a shell that waits for one word on its input before it becomes the program (same pid,
same start time). The word is sent after the program's record, with that pid, is on disk. If the
plane dies in between, the input closes and the shell ends: no program runs without a record.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast.world.processes.log import open_log
from holdfast.world.processes.table import Identity, read_stat

_NPM: Final = ("REGISTRY", "USERCONFIG", "CAFILE")
_NPM_USERCONFIG: Final = "NPM_CONFIG_USERCONFIG"

INHERITED: Final = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
    *(f"NPM_CONFIG_{name}" for name in _NPM), *(f"npm_config_{name.lower()}" for name in _NPM),
)  # fmt: skip
"""Variables of the plane's own environment that a machine inherits; none is a secret.

npm's settings are included, because a machine reinstalls its agent with npm.
"""

_BARRIER: Final = 'read -r word && [ "$word" = go ] || exit 125; exec "$@" </dev/null'
_WORD: Final = b"go\n"


def inherited_from(environ: Mapping[str, str], extra: Sequence[str] = ()) -> dict[str, str]:
    """Return what a machine may inherit of the plane's environment; `extra` names more of it.

    A machine has a home of its own, in which npm would miss the `.npmrc` of the first installation;
    so the path of that one is passed on too.
    """
    found = {name: environ[name] for name in (*INHERITED, *extra) if name in environ}
    if _NPM_USERCONFIG in found or _NPM_USERCONFIG.lower() in found or not environ.get("HOME"):
        return found
    npmrc = Path(environ["HOME"], ".npmrc")
    return {**found, _NPM_USERCONFIG: str(npmrc)} if npmrc.is_file() else found


class HeldProcess:
    """A started program that waits at the barrier, as a child of this process."""

    __slots__ = ("process",)

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], home: Path, log: Path
    ) -> None:
        """Start it in a session of its own, its output straight into the log."""
        output = open_log(log)
        try:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _BARRIER, "holdfast-gate", *argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=home,
                env=dict(env),
                start_new_session=True,
            )
        finally:
            os.close(output)

    def open(self) -> None:
        """Let it become its program; one that was killed before is detected elsewhere."""
        self._say(_WORD)

    def disown(self) -> None:
        """Leave waiting for its end to the holder of its pidfd, which may be another plane."""
        self.process.returncode = 0  # else Popen waits for it, or warns when it is collected

    def shut(self) -> None:
        """Close the barrier: it ends without having done anything."""
        self._say(b"")
        self.process.wait()

    def _say(self, word: bytes) -> None:
        pipe = self.process.stdin
        if pipe is None:  # pragma: no cover - it was opened as a pipe
            return
        try:
            with pipe:
                pipe.write(word)
        except BrokenPipeError:
            return


def reap(leader: Identity) -> int | None:
    """Reap a dead child and return its exit code; None if it is not our child."""
    stat = read_stat(leader.pid)
    if stat is None or stat.start_ticks != leader.start_ticks:
        return None
    try:
        pid, status = os.waitpid(leader.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None
