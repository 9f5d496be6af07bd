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
from holdfast.wire.parsers import json_as

RECORD_FILE: Final = "installs.json"
_RECORD_BYTES_MAX: Final = 65_536
HEALTHY_KEPT: Final = 4
"""Installations remembered as healthy; each is some 800 MB, so few exist."""


FOLDERS: Final = ("a", "b")
"""Two folders for installations, so that the same version can be installed beside itself."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The stored record: the `given` installation, the one used instead, the healthy ones.

    `turn` is the number of the order that gave it. `ran` is the one, of `ran_version`, that has
    written the agent's state last.
    """

    given: str = ""
    current: str = ""
    healthy: tuple[str, ...] = ()
    turn: int = 0
    ran: str = ""
    ran_version: str = ""


class Installs:
    """Chooses the installation the agent is started from."""

    def __init__(
        self,
        agent: AgentProcesses,
        home: Path,
        *,
        turn: int = 0,
        on_change: Callable[[], None],
        log: Log,
    ) -> None:
        """Install below `home`; `on_change` is called when the installation changes.

        The same installation is given anew if the number of its order, `turn`, is another.
        """
        self.turn = turn
        self._agent = agent
        self._folder = home / "installs"
        self._file = home / "run" / RECORD_FILE
        self._on_change = on_change
        self._log = log
        self._record = Record()

    @property
    def ran(self) -> tuple[str, str]:
        """Return the installation that wrote the state last, and its version; empty for none."""
        return self._record.ran, self._record.ran_version

    def resume(self) -> None:
        """Continue with the choice of an earlier boot, unless another installation is given now."""
        given = self._agent.place.install
        if not given:
            return
        try:
            kept = json_as(Record, atomic_file.read_file(self._file, _RECORD_BYTES_MAX))
        except FileNotFoundError:
            kept = Record()
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            self._log.emit("installs.unreadable", error=type(error).__name__)
            kept = Record()
        ran = kept.ran or kept.current or kept.given
        version = kept.ran_version or version_at(ran)
        kept = msgspec.structs.replace(kept, ran=ran, ran_version=version)
        self._record = Record(
            given=given, healthy=kept.healthy, turn=self.turn, ran=ran, ran_version=version
        )
        is_same = (kept.given, kept.turn) == (given, self.turn)
        if is_same and kept.current and Path(kept.current).is_dir():
            self._record = kept
            self._agent.use(kept.current)

    async def note(self, install: str) -> None:
        """Record that it is this installation that the state is of; raise OSError."""
        version = await asyncio.to_thread(version_at, install)
        if version and (install, version) != self.ran:
            ran = msgspec.structs.replace(self._record, ran=install, ran_version=version)
            await self._keep(ran)

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
        await self.stay(installed)
        await asyncio.to_thread(_clear, self._folder, keep=(*self._record.healthy, installed))
        return Done(done=True, detail=f"{version} anew")

    async def go_back(self) -> Done:
        """Use the version that was healthy before the present one, if it reads the state."""
        install = self._agent.place.install
        version = await asyncio.to_thread(version_at, install)
        why = "no other version has been healthy in this machine"
        for known in reversed(self._record.healthy):
            other = await asyncio.to_thread(version_at, known)
            if not other or other == version:
                continue
            if not self._agent.profile.reads_state_of(other, version):
                why = f"{other} does not read what {version} wrote"
                continue
            await self.stay(known)
            return Done(done=True, detail=f"from {version} to {other}")
        return Done(done=False, detail=why)

    async def stay(self, install: str) -> None:
        """Use this installation instead of the given one from now on; raise OSError."""
        self._agent.use(install)
        version = await asyncio.to_thread(version_at, install)
        await self._keep(
            msgspec.structs.replace(self._record, current=install, ran=install, ran_version=version)
        )
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
