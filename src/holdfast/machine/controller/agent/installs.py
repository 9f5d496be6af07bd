"""Chooses the agent's installation: the given one, a new one, or an earlier one.

Installations are never changed in place, and the given one is shared by the machines of a host; a
fresh one is therefore made below the machine's own folder. Installations that proved healthy are
recorded in the machine. Another one given at the start of the machine overrides all this.
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

from holdfast.kernel.failure import brief
from holdfast.machine.agents.openclaw.install import INSTALL_TIMEOUT_S
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.supervise.ports import Done

RECORD_FILE: Final = "installs.json"
_RECORD_BYTES_MAX: Final = 65_536
HEALTHY_KEPT: Final = 4
"""Installations remembered as healthy; each is some 800 MB, so few exist."""


FOLDERS: Final = ("a", "b")
"""Two folders for installations, so that the same version can be installed beside itself."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The stored record: the `given` installation, the one used instead, the healthy ones."""

    given: str = ""
    current: str = ""
    healthy: tuple[str, ...] = ()


class Installs:
    """Chooses the installation the agent is started from."""

    def __init__(
        self, agent: AgentProcesses, home: Path, *, on_change: Callable[[], None], log: Log
    ) -> None:
        """Install below `home`; `on_change` is called when the installation changes."""
        self._agent = agent
        self._folder = home / "installs"
        self._file = home / "run" / RECORD_FILE
        self._on_change = on_change
        self._log = log
        self._record = Record()

    def resume(self) -> None:
        """Continue with the choice of an earlier boot, unless another installation is given now."""
        given = self._agent.place.install
        if not given:
            return
        try:
            kept = msgspec.json.decode(
                atomic_file.read_file(self._file, _RECORD_BYTES_MAX), type=Record
            )
        except FileNotFoundError:
            kept = Record()
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            self._log.emit("installs.unreadable", error=type(error).__name__)
            kept = Record()
        self._record = Record(given=given, healthy=kept.healthy)
        if kept.given == given and kept.current and Path(kept.current).is_dir():
            self._record = kept
            self._agent.use(kept.current)

    async def proved(self) -> None:
        """Record the present installation as healthy; raise OSError."""
        install = self._agent.place.install
        if not install or self._record.healthy[-1:] == (install,):
            return
        others = [known for known in self._record.healthy if known != install]
        healthy = (*others, install)[-HEALTHY_KEPT:]
        await self._keep(msgspec.structs.replace(self._record, healthy=healthy))

    async def reinstall(self) -> Done:
        """Reinstall the present version and use that."""
        install = self._agent.place.install
        argv = self._agent.profile.install_argv
        version = await asyncio.to_thread(version_at, install)
        if argv is None or not install or not version:
            return Done(done=False, detail="this agent was not installed by us")
        try:
            target = await asyncio.to_thread(
                _free_folder, self._folder, beside=install, version=version
            )
            ran = await self._agent.run(
                argv(self._agent.place, str(target), version), timeout_s=INSTALL_TIMEOUT_S,
                write=(str(target),),
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            return Done(done=False, detail=brief(error))
        installed = ran.lines[-1] if ran.lines else ""
        if ran.code != 0 or not await asyncio.to_thread(os.path.isdir, installed):
            return Done(done=False, detail=f"the installation ended with {ran.code}: {installed}")
        await self._use(installed)
        await asyncio.to_thread(_clear, self._folder, keep=(*self._record.healthy, installed))
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
    except (OSError, ValueError, RecursionError):
        return ""
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) else ""


def _free_folder(folder: Path, *, beside: str, version: str) -> Path:
    """Return a folder to install a version in; never the one in use.

    A finished one of the same version is removed, since the installer would take it as it is; an
    unfinished one is continued. Raise OSError.
    """
    first, second = (folder / name for name in FOLDERS)
    target = second if Path(beside).is_relative_to(first) else first
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entry in _installed(target):
        if version_at(str(entry)) == version:
            shutil.rmtree(entry)
    return target


def _clear(folder: Path, *, keep: tuple[str, ...]) -> None:
    """Remove our unused installations that never proved healthy."""
    for name in FOLDERS:
        for entry in _installed(folder / name):
            if str(entry) not in keep:
                shutil.rmtree(entry, ignore_errors=True)


def _installed(target: Path) -> list[Path]:
    """Return the installations in a folder; unfinished ones have a leading dot."""
    if not target.is_dir():
        return []
    return [one for one in target.iterdir() if one.is_dir() and not one.name.startswith(".")]
