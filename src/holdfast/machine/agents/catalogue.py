"""Agent profiles as data: how to start, probe and stop an agent and read its exit codes.

Everything specific to one agent program is in its profile; the controller supervises all of them
alike. Profiles compute values; they start no process and touch no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final, NamedTuple, TypeAlias

from holdfast.machine.agents import drain
from holdfast.machine.agents.drain import DrainWay
from holdfast.machine.agents.openclaw import keys as openclaw_keys
from holdfast.machine.agents.openclaw import run, secrets
from holdfast.machine.agents.pairing import Pairing, Place, Plan
from holdfast.machine.agents.work import WorkFiles

_DEMO_MODULE: Final = "holdfast.machine.agents.demo"
_DEMO_PROGRAM: Final = str(PurePath(__file__).with_name(_DEMO_MODULE.rpartition(".")[2] + ".py"))


class Keys(NamedTuple):
    """How a running agent receives a renewed key.

    `path` is the file it reads, `reload_argv` the command that makes it reread that file,
    `referring` the configuration patch that makes it use the file, and `moved_count` the number of
    uses that patch moves.
    """

    path: Callable[[Place], str]
    reload_argv: Callable[[Place], tuple[str, ...]]
    referring: Callable[[Place, Mapping[str, Any], str, str], dict[str, Any]]
    moved_count: Callable[[Mapping[str, Any]], int]


Config: TypeAlias = Mapping[str, Any]
Refer: TypeAlias = Callable[
    [Config, Mapping[str, str], Mapping[str, str]], tuple[dict[str, Any], dict[str, str]]
]
"""Maps (configuration, environment, references so far) to (configuration, references)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of agent.

    `argv`, `env`, `version_argv` and `repair_argv` are computed for a place; a change of the file
    `binary` means a new version. `folders` are created below the machine's home with mode 0700;
    `files` are written with mode 0600 if absent. `ready_path` answers 200 with JSON once the agent
    can work; any other answer, in particular an HTML page, means not ready. `config_path` is its
    configuration file, JSON or JSON5; `config_fault` returns why a configuration certainly prevents
    a start, or an empty string. `state_folder` is the folder whose files people may view.
    `stop_grace_ms` is the time allowed between SIGTERM and SIGKILL. `drain` maps a release (None:
    unknown) to the way it drains, None if it cannot. `misconfigured` lists the exit codes that mean
    a wrong configuration; `repair_argv` is the agent's own repair command, if any. `install_argv`
    installs a version below a folder and prints the path. `pairing` is None for an agent without
    pairing, `keys` for one that must restart to use a new key, `refer` for one that needs no
    references to secrets in its configuration. `doctor_argv` diagnoses, and repairs if `fix` is
    set. `work_argv` hands work to the running agent, prints what comes of it and ends with it; None
    for an agent that cannot be handed any. `reads_state_of` says whether a release reads all that
    another one wrote.
    """

    name: str
    argv: Callable[[Place], tuple[str, ...]]
    env: Callable[[Place], Mapping[str, str]]
    version_argv: Callable[[Place], tuple[str, ...]]
    binary: Callable[[Place], str]
    repair_argv: Callable[[Place], tuple[str, ...]] | None = None
    doctor_argv: Callable[[Place, bool], tuple[str, ...]]
    doctor_alone: bool = True
    keys: Keys | None = None
    folders: Callable[[Place], tuple[str, ...]]
    state_folder: Callable[[Place], str]
    config_path: Callable[[Place], str]
    config_fault: Callable[[Place, Mapping[str, Any]], str] = field(
        default=lambda _place, _config: ""
    )
    files: Callable[[Place], Mapping[str, str]] = field(default=lambda _place: {})
    ready_path: str = "/readyz"
    status_path: str = "/ready"
    stop_grace_ms: int = 10_000
    misconfigured: tuple[int, ...] = (78,)
    pairing: Pairing | None = None
    drain: Callable[[str | None], DrainWay | None] | None = None
    install_argv: Callable[[Place, str, str], tuple[str, ...]] | None = None
    refer: Refer | None = None
    work_argv: Callable[[Place, WorkFiles], tuple[str, ...]] | None = None
    reads_state_of: Callable[[str, str], bool] = field(default=lambda _release, _other: True)


def _demo_argv(place: Place) -> tuple[str, ...]:
    return (*_demo(place), "--port", str(place.port), *place.arguments)


def _demo(place: Place) -> tuple[str, ...]:
    # By path, isolated and without site packages: starts in hundredths of a second, and no variable
    # or file in the agent's folders can change what runs.
    return place.python, "-I", "-S", _DEMO_PROGRAM


def _demo_env(place: Place) -> Mapping[str, str]:
    return {
        "DEMO_STATE_DIR": f"{place.home}/state",
        "DEMO_TOKEN": place.token,
        "TMPDIR": place.temp,
    }


def _demo_config(place: Place) -> str:
    return f"{place.home}/state/demo.json"


_DEMO_CONFIG: Final = '{"channels": {"chat": {"enabled": true}}}\n'
_DEMO_PLAN: Final = Plan(
    channels=("json", "command"),
    devices=("json", "command"),
    decide_channels=("command",),
    decide_devices=("command",),
)


DEMO: Final = Profile(
    name="demo",
    argv=_demo_argv,
    env=_demo_env,
    version_argv=lambda place: (*_demo(place), "--version"),
    binary=lambda _place: _DEMO_PROGRAM,
    repair_argv=lambda place: (*_demo(place), "doctor", "--fix"),
    doctor_argv=lambda place, fix: (*_demo(place), "doctor", *(("--fix",) if fix else ())),
    folders=lambda place: (
        f"{place.home}/state",
        place.temp,
        place.workspace,
    ),
    state_folder=lambda place: f"{place.home}/state",
    config_path=_demo_config,
    files=lambda place: {_demo_config(place): _DEMO_CONFIG},
    pairing=Pairing(
        plan=lambda _version: _DEMO_PLAN,
        credentials=lambda env: f"{env['DEMO_STATE_DIR']}/credentials",
        devices=lambda env: f"{env['DEMO_STATE_DIR']}/devices/pending.json",
        program=_demo,
    ),
    drain=lambda _version: drain.DEMO,
    work_argv=lambda place, files: (
        *_demo(place), "agent", "--port", str(place.port),
        "--message-file", files.prompt, "--folder", files.folder, "--env", files.env,
    ),
)  # fmt: skip

OPENCLAW: Final = Profile(
    name="openclaw",
    argv=run.argv,
    env=run.env,
    version_argv=run.version_argv,
    binary=run.binary,
    repair_argv=run.repair_argv,
    doctor_argv=run.doctor_argv,
    keys=Keys(
        openclaw_keys.keys_path,
        openclaw_keys.reload_argv,
        openclaw_keys.referring,
        openclaw_keys.moved_count,
    ),
    folders=run.folders,
    state_folder=run.state_folder,
    config_path=run.config_path,
    config_fault=run.config_fault,
    files=run.files,
    pairing=run.PAIRING,
    drain=drain.openclaw_drain,
    install_argv=run.install_argv,
    refer=secrets.refer,
    work_argv=run.work_argv,
    reads_state_of=run.reads_state_of,
)

PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in (DEMO, OPENCLAW)}


def find_profile(name: str) -> Profile:
    """Return the profile called `name`; raise KeyError with the known names."""
    try:
        return PROFILES[name]
    except KeyError:
        message = f"agent {name!r}: unknown; there are {', '.join(sorted(PROFILES))}"
        raise KeyError(message) from None
