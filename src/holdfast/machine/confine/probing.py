"""Finds out what this host supports for confinement, by trying it.

An installed program or a new kernel proves little: user namespaces may be forbidden, and a
container may restrict mounts. So bubblewrap makes a sandbox as it will for agents, and Landlock is
enforced in a process made for that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from holdfast.kernel.failure import brief
from holdfast.machine.confine.landlock import ABI_REFER

Kind: TypeAlias = Literal["bubblewrap+landlock", "bubblewrap", "landlock", "none"]

SEARCHED: Final = "/usr/bin:/bin:/usr/local/bin"
"""Where bubblewrap is searched: never in a folder that an owner or an agent can name."""

NAMESPACES: Final = ("--unshare-pid", "--unshare-ipc")
USER_NAMESPACE: Final = "--unshare-user"
TRIAL_TIMEOUT_S: Final = 20.0
"""Time limit of a trial: usually hundredths of a second, much more on a busy host."""

LANDLOCK: Final = str(Path(__file__).with_name("landlock.py"))
PYTHON: Final = (sys.executable, "-I", "-S", "-E")
_REASON_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class Probe:
    """The result: `bubblewrap` is its version or why there is none, `reason` why not more.

    `landlock_abi` is 0 if the kernel has none. `flags` are the namespace flags that work here.
    """

    kind: Kind
    bubblewrap: str
    landlock_abi: int
    reason: str
    flags: tuple[str, ...] = ()
    program: str = ""

    def to_json(self) -> str:
        """Return the result as one JSON object."""
        fields = {
            "kind": self.kind, "bubblewrap": self.bubblewrap,
            "landlock_abi": self.landlock_abi, "reason": self.reason,
        }  # fmt: skip
        return json.dumps(fields)


def probe() -> Probe:
    """Return what this host supports; takes a tenth of a second and raises nothing."""
    program, version, flags, why_no_bubblewrap = _try_bubblewrap()
    abi, why_no_landlock = _try_landlock()
    kinds: dict[tuple[bool, bool], Kind] = {
        (True, True): "bubblewrap+landlock", (True, False): "bubblewrap",
        (False, True): "landlock", (False, False): "none",
    }  # fmt: skip
    kind = kinds[not why_no_bubblewrap, not why_no_landlock]
    missing = (("bubblewrap", why_no_bubblewrap), ("Landlock", why_no_landlock))
    reason = "; ".join(f"{name}: {why}" for name, why in missing if why)
    return Probe(kind, version or why_no_bubblewrap, abi, reason, flags, program)


def _try_bubblewrap() -> tuple[str, str, tuple[str, ...], str]:
    """Return its path, its version, the working flags, and why it cannot be used."""
    program = shutil.which("bwrap", path=SEARCHED)
    if program is None:
        return "", "", (), f"not installed (no bwrap in {SEARCHED})"
    version, why = _run((program, "--version"))
    if why:
        return "", "", (), why
    # Without a user namespace where permitted: one more would change how root's files appear.
    tries = ((*NAMESPACES,), (*NAMESPACES, USER_NAMESPACE))
    for flags in tries if os.geteuid() == 0 else tries[1:]:
        trial = (
            program, *flags, "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL",
            "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--",
            *PYTHON, "-c", "",
        )  # fmt: skip
        _, why = _run(trial)
        if not why:
            return program, version.split()[-1], flags, ""
    return "", "", (), why


def _try_landlock() -> tuple[int, str]:
    """Return the version of Landlock, and why it cannot be used."""
    output, why = _run((*PYTHON, LANDLOCK, "--try"))
    abi = int(output) if output.isascii() and output.isdigit() else 0
    if why:
        return abi, why
    if abi == 0:
        return 0, "the kernel does not offer it"
    if abi < ABI_REFER:
        return abi, f"ABI {abi} cannot let files move between folders; want {ABI_REFER}"
    return abi, ""


def _run(argv: tuple[str, ...]) -> tuple[str, str]:
    """Return a program's output, and why it failed, empty if it did not."""
    try:
        ended = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", check=False, env={},
            stdin=subprocess.DEVNULL, timeout=TRIAL_TIMEOUT_S, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"{Path(argv[0]).name}: {brief(error)}"[:_REASON_CHARS]
    output = ended.stdout.strip()
    if ended.returncode == 0:
        return output, ""
    words = " ".join(ended.stderr.split()) or f"it ended with {ended.returncode}"
    return output, words[:_REASON_CHARS]
