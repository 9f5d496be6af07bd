"""Which installation of the agent is run: the one given, one made anew, or an earlier one.

Installations are never changed in place, and the given one is shared by the machines of a host;
a fresh one is therefore made below the machine's own folder. What ran healthily is remembered
with the machine. Another one given by whoever starts the machine is followed, and ends all this.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from holdfast.machine.agents.openclaw.install import INSTALL_TIMEOUT_S
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.supervise.ports import Done

RECORD_FILE: Final = "installs.json"
_RECORD_BYTES_MAX: Final = 65_536
HEALTHY_KEPT: Final = 4
"""Installations that are remembered as healthy; each is some 800 MB, so few exist."""


ROOMS: Final = ("a", "b")
"""Two folders for installations, so that one can be made anew beside one of the same version."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is kept: the installation that was `given`, the one used instead, the healthy ones."""

    given: str = ""
    current: str = ""
    healthy: tuple[str, ...] = ()


class Installs:
    """Chooses the installation that the agent is started from."""

    def __init__(
        self, agent: AgentProcesses, home: Path, *, on_change: Callable[[], None], log: Log
    ) -> None:
        """Keep what is installed below `home`; `on_change` hears of another installation."""
        self._agent = agent
        self._folder = home / "installs"
        self._file = home / "run" / RECORD_FILE
        self._on_change = on_change
        self._log = log
        self._record = Record()

    def resume(self) -> None:
        """Use what an earlier boot had come to, unless another installation is given now."""
        given = self._agent.place.install
        if not given:
            return
        try:
            kept = msgspec.json.decode(
                atomic_file.read_file(self._file, _RECORD_BYTES_MAX), type=Record
            )
        except FileNotFoundError:
            kept = Record()
        except (OSError, msgspec.DecodeError) as error:
            self._log.emit("installs.unreadable", error=type(error).__name__)
            kept = Record()
        self._record = Record(given=given, healthy=kept.healthy)
        if kept.given == given and kept.current and Path(kept.current).is_dir():
            self._record = kept
            self._agent.use(kept.current)

    async def proved(self) -> None:
        """Remember the present installation as healthy; raise OSError."""
        install = self._agent.place.install
        if not install or self._record.healthy[-1:] == (install,):
            return
        others = [known for known in self._record.healthy if known != install]
        healthy = (*others, install)[-HEALTHY_KEPT:]
        await self._keep(msgspec.structs.replace(self._record, healthy=healthy))

    async def reinstall(self) -> Done:
        """Install the present version anew and use that."""
        install = self._agent.place.install
        argv = self._agent.profile.install_argv
        version = await asyncio.to_thread(version_at, install)
        if argv is None or not install or not version:
            return Done(done=False, detail="this agent was not installed by us")
        try:
            room = await asyncio.to_thread(_room, self._folder, beside=install, version=version)
            ran = await self._agent.run(
                argv(self._agent.place, str(room), version), timeout_s=INSTALL_TIMEOUT_S,
                write=(str(room),),
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            return Done(done=False, detail=f"{type(error).__name__}: {error}")
        said = ran.lines[-1] if ran.lines else ""
        if ran.code != 0 or not await asyncio.to_thread(os.path.isdir, said):
            return Done(done=False, detail=f"the installation ended with {ran.code}: {said}")
        await self._use(said)
        await asyncio.to_thread(_clear, self._folder, keep=(*self._record.healthy, said))
        return Done(done=True, detail=f"{version} anew")

    async def go_back(self) -> Done:
        """Use the version that was healthy before the present one."""
        install = self._agent.place.install
        version = await asyncio.to_thread(version_at, install)
        for known in reversed(self._record.healthy):
            other = await asyncio.to_thread(version_at, known)
            if other and other != version:
                await self._use(known)
                return Done(done=True, detail=f"from {version} to {other}")
        return Done(done=False, detail="no other version has been healthy in this machine")

    async def _use(self, install: str) -> None:
        self._agent.use(install)
        await self._keep(msgspec.structs.replace(self._record, current=install))
        self._on_change()

    async def _keep(self, record: Record) -> None:
        self._record = record
        await asyncio.to_thread(atomic_file.write, self._file, msgspec.json.encode(record))


def version_at(install: str) -> str:
    """Return the version of OpenClaw installed at a folder, or nothing."""
    path = Path(install, "node_modules", "openclaw", "package.json")
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return ""
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) else ""


def _room(folder: Path, *, beside: str, version: str) -> Path:
    """Return a folder to install a version in anew: the present installation is never in it.

    One that stands there of the same version is removed, for the installer would take it as it is;
    what was begun there is gone on with. Raise OSError.
    """
    first, second = (folder / name for name in ROOMS)
    room = second if Path(beside).is_relative_to(first) else first
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entry in _installed(room):
        if version_at(str(entry)) == version:
            shutil.rmtree(entry)
    return room


def _clear(folder: Path, *, keep: tuple[str, ...]) -> None:
    """Remove installations of ours that are not used and never proved themselves."""
    for name in ROOMS:
        for entry in _installed(folder / name):
            if str(entry) not in keep:
                shutil.rmtree(entry, ignore_errors=True)


def _installed(room: Path) -> list[Path]:
    """Return what is installed in a room; names of what was only begun have a dot before them."""
    if not room.is_dir():
        return []
    return [one for one in room.iterdir() if one.is_dir() and not one.name.startswith(".")]
