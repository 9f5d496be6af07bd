"""Starts a machine's program: its environment, and the start barrier it waits at.

The program is started behind a barrier: a shell that waits for one word on its input before it
becomes the program (same pid, same start time). The word is sent after the machine's record, with
that pid, is on disk. If the plane dies in between, the input closes and the shell ends, so no
program ever runs without a record.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from holdfast.kernel.outcome import Permanent
from holdfast.kernel.secret import Secret
from holdfast.world.clouds.port import INVALID, MachineSpec
from holdfast.world.clouds.process_log import open_log
from holdfast.world.clouds.process_record import Folder, Record
from holdfast.world.clouds.process_refusal import DeclinedError
from holdfast.world.clouds.process_table import MARKER

EnvKeys: TypeAlias = Callable[[MachineSpec], Secret | None]
"""Returns the key that opens a machine's sealed values; None if there is none."""

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

SEALED_PREFIX: Final = "HOLDFAST_ENC_"
KEY_NAME: Final = "HOLDFAST_ENV_KEY"
SEAL: Final = "enc:v1:"

CARRIED_PREFIX: Final = "HOLDFAST_AGENT_ENV_"
"""Prefix of a variable for the agent alone; the controller removes it."""

_LOADS_CODE: Final = re.compile(r"LD_.*|OPENSSL_.*|GCONV_PATH|LOCPATH|GLIBC_TUNABLES|MALLOC_.*")
"""Variables that change which code a program loads, or how its libraries work.

An owner may set them for an agent, which is confined; the controller, which is not, must not be
started with them. Python's own are ignored by it: it is run isolated.
"""

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN_PREFIXES: Final = (
    "HOLDFAST_ENC_",
    "HOLDFAST_ENV_",
    CARRIED_PREFIX,
    "KILOCLAW_ENC_",
    "KILOCLAW_ENV_",
)
_BARRIER: Final = 'read -r word && [ "$word" = go ] || exit 125; exec "$@" </dev/null'
_WORD: Final = b"go\n"


def check_spec(spec: MachineSpec) -> None:
    """Decline a spec whose name cannot be a folder or whose variables cannot be set."""
    if not NAME.fullmatch(spec.name):
        _decline(f"name {spec.name!r}: want 1 to 63 letters, digits, hyphens or underscores")
    for name, value in {**spec.env, **spec.sealed}.items():
        if not _VARIABLE.fullmatch(name) or name.startswith(_TAKEN_PREFIXES):
            _decline(f"env {name!r}: not a variable's name, or one that is reserved")
        if "\0" in value:
            _decline(f"env {name}: the value holds a NUL, which no environment can carry")
    for name, value in spec.sealed.items():
        if not value.startswith(SEAL):
            _decline(f"sealed {name}: want a value sealed as {SEAL}..., not plain text")


def environment(
    record: Record, folder: Folder, home: Path, *, inherited: Mapping[str, str], keys: EnvKeys
) -> dict[str, str]:
    """Return the environment of a machine: inherited, its own, then ours; later ones win."""
    spec = record.spec
    composed = {
        **inherited,
        **{carried(name): value for name, value in spec.env.items()},
        **{f"{SEALED_PREFIX}{name}": value for name, value in spec.sealed.items()},
        "HOME": str(home),
        "TMPDIR": str(folder.tmp),
        "HOLDFAST_SANDBOX_ID": spec.sandbox_id,
        "HOLDFAST_INSTANCE_ID": spec.instance_id,
        MARKER: record.id,
        "HOLDFAST_MACHINE_EPOCH": str(spec.epoch),
        "HOLDFAST_INCARNATION": record.incarnation,
        "HOLDFAST_CONTROLLER_PORT": str(record.port),
        "HOLDFAST_AGENT_PORT": str(record.port + 1),
        "HOLDFAST_AGENT": spec.agent,
        "HOLDFAST_AGENT_HOME": str(home),
        "HOLDFAST_STATE_DIR": str(folder.state),
    }
    key = keys(spec) if spec.sealed else None
    if key is not None:
        composed[KEY_NAME] = key.reveal()
    return composed


def carried(name: str) -> str:
    """Return the name under which an owner's variable is passed to the controller."""
    return f"{CARRIED_PREFIX}{name}" if _LOADS_CODE.fullmatch(name) else name


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


def _decline(text: str) -> None:
    raise DeclinedError(Permanent(INVALID, text))
