"""What can be run in a machine, as data: how to start it, probe it, read its ends and stop it.

A profile is the only place that knows an agent program. The controller supervises any of them
alike. Profiles compute; they never start anything or touch a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from holdfast.machine.agents import openclaw
from holdfast.machine.agents.place import Place

_DEMO_MODULE: Final = "holdfast.machine.agents.demo"
_DEMO_PROGRAM: Final = str(PurePath(__file__).with_name(_DEMO_MODULE.rpartition(".")[2] + ".py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of agent.

    `argv`, `env`, `version_argv` and `mend_argv` are computed for a place; `binary` is the file
    whose change means another version. `folders` are made below the machine's home with mode
    0700, `files` are written with mode 0600 when they are not there yet. `ready_path` answers 200
    with JSON once the agent can work; anything else, an HTML page above all, means not yet.
    `stop_grace_ms` is how long it may take to end after SIGTERM. `misconfigured` lists the exit
    codes that mean a wrong configuration; `mend_argv`, if any, is the agent's own repair.
    """

    name: str
    argv: Callable[[Place], tuple[str, ...]]
    env: Callable[[Place], Mapping[str, str]]
    version_argv: Callable[[Place], tuple[str, ...]]
    binary: Callable[[Place], str]
    mend_argv: Callable[[Place], tuple[str, ...]] | None = None
    folders: Callable[[Place], tuple[str, ...]]
    files: Callable[[Place], Mapping[str, str]] = field(default=lambda _place: {})
    ready_path: str = "/readyz"
    status_path: str = "/ready"
    stop_grace_ms: int = 10_000
    misconfigured: tuple[int, ...] = (78,)


def _demo_argv(place: Place) -> tuple[str, ...]:
    return (*_demo(place), "--port", str(place.port), *place.arguments)


def _demo(place: Place) -> tuple[str, ...]:
    # By its path, isolated and without site packages: a start of hundredths of a second that no
    # variable or file in the agent's folders can change.
    return place.python, "-I", "-S", _DEMO_PROGRAM


def _demo_env(place: Place) -> Mapping[str, str]:
    return {
        "DEMO_STATE_DIR": f"{place.home}/state",
        "DEMO_TOKEN": place.token,
        "TMPDIR": place.temp,
    }


DEMO: Final = Profile(
    name="demo",
    argv=_demo_argv,
    env=_demo_env,
    version_argv=lambda place: (*_demo(place), "--version"),
    binary=lambda _place: _DEMO_PROGRAM,
    mend_argv=lambda place: (*_demo(place), "doctor", "--fix"),
    folders=lambda place: (
        f"{place.home}/state",
        place.temp,
        place.workspace,
    ),
)

OPENCLAW: Final = Profile(
    name="openclaw",
    argv=openclaw.argv,
    env=openclaw.env,
    version_argv=openclaw.version_argv,
    binary=openclaw.binary,
    mend_argv=openclaw.mend_argv,
    folders=openclaw.folders,
    files=openclaw.files,
)

PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in (DEMO, OPENCLAW)}


def find_profile(name: str) -> Profile:
    """Return the profile called `name`; raise KeyError with the known names."""
    try:
        return PROFILES[name]
    except KeyError:
        message = f"agent {name!r}: unknown; there are {', '.join(sorted(PROFILES))}"
        raise KeyError(message) from None
