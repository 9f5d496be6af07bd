"""Repairs the agent's record of its own client, in its files, before it starts.

A step of the start that never fails it: every error is a warning. Nothing is written unless both
files are understood, each is replaced as a whole and only over what was read, and the originals are
kept in the machine's own folder. A database is never touched.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias

import msgspec

from holdfast.machine.agents.pairing import Env, Pairing
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.files import read_json
from holdfast.machine.controller.pairing.openclaw.device_repair_plan import (
    RepairedStore,
    plan_repair,
)
from holdfast.machine.controller.pairing.openclaw.own_client import device_id
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.controller.machine import DeviceRepairTold

PAIRED, PENDING = "paired.json", "pending.json"
KEPT: Final = "device-repair"
"""Folder below the machine's `run` with both files as they were before the last repair."""

Status: TypeAlias = Literal["noop", "repaired", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """Result of a repair; `because` gives the reason why there was nothing to do."""

    status: Status = "noop"
    because: str = ""
    repaired: int = 0
    removed: int = 0
    token_updated: bool = False
    warnings: tuple[str, ...] = ()

    def describe(self) -> DeviceRepairTold:
        """Return it in the form of the version route."""
        return DeviceRepairTold(
            status=self.status,
            because=self.because,
            repaired_count=self.repaired,
            removed_count=self.removed,
            token_updated=self.token_updated,
            warnings=self.warnings,
        )


class DeviceRepair:
    """Repairs one agent's record of its own client."""

    def __init__(
        self,
        pairing: Pairing,
        env: Env,
        run_folder: Path,
        *,
        below: Path | None = None,
        trusted: bool,
        version: VersionProbe,
        is_running: Callable[[], bool],
        log: Log,
    ) -> None:
        """`trusted`: the owner wants the agent's own client approved automatically.

        `below` is a folder above the agent's files that the agent cannot replace.
        """
        self._pairing = pairing
        self._env = env
        self._kept = run_folder / KEPT
        self._below = below
        self._trusted = trusted
        self._version = version
        self._is_running = is_running
        self._log = log
        self.last: Repaired | None = None
        """What the repair of this start came to, None before it."""

    async def run(self) -> None:
        """Run within a time limit, and log the result; raise nothing."""
        self.last = await self._run()
        self._log.emit("pairing.repair", **msgspec.to_builtins(self.last.describe()))

    async def _run(self) -> Repaired:
        given_up = threading.Event()
        try:
            async with asyncio.timeout(limits.REPAIR_S):
                if self._pairing.identity is None:
                    return Repaired(because="this agent has no client of its own")
                version = (await self._version.find()).version
                if "json" not in self._pairing.plan(version).devices:
                    where = "in no file" if version else "nobody knows where"
                    return Repaired(because=f"{version or 'this release'} keeps devices {where}")
                if self._is_running():
                    return Repaired(because="the agent runs")
                return await asyncio.to_thread(self._repair, given_up)
        except TimeoutError:
            given_up.set()
            return _warn(f"not within {limits.REPAIR_S:g} s")
        except Exception as error:  # noqa: BLE001  the start must not end here, whatever it is
            return _warn(f"{type(error).__name__}")

    def _repair(self, given_up: threading.Event) -> Repaired:
        folder = Path(self._pairing.devices(self._env)).parent
        below = str(self._below or "")
        assert self._pairing.identity is not None, "looked at before"
        try:
            own = device_id(read_json(self._pairing.identity(self._env), below=below))
        except FileNotFoundError:
            return Repaired(because="the agent has no key of its own")
        except (OSError, ValueError, RecursionError) as error:
            return _warn(f"the agent's own key cannot be read: {type(error).__name__}")
        try:
            with atomic_file.open_folder(folder, below=self._below) as devices:
                return self._repair_in(devices, own, given_up)
        except FileNotFoundError:
            return Repaired(because="there are no files")
        except OSError as error:
            return _warn(f"the devices' folder: {error.strerror}")

    def _repair_in(self, folder: int, own: str, given_up: threading.Event) -> Repaired:
        try:
            paired, pending = _read(folder, PAIRED), _read(folder, PENDING)
            if paired is None:
                return Repaired(because="there are no files")
            found = plan_repair(
                _parse(paired, PAIRED), {} if pending is None else _parse(pending, PENDING),
                own, trusted=self._trusted,
            )  # fmt: skip
        except (OSError, ValueError, RecursionError) as error:
            return _warn(_explain(error))
        if found.paired is None and found.pending is None:
            return Repaired(because="nothing is wrong")
        return self._write(folder, found, paired, pending, given_up)

    def _write(
        self, folder: int, found: RepairedStore, paired: bytes, pending: bytes | None,
        given_up: threading.Event,
    ) -> Repaired:  # fmt: skip
        """Write the devices first: a request is removed only after its device is stored."""
        done = Repaired()
        plan = ((PAIRED, found.paired, paired), (PENDING, found.pending, pending))
        for name, content, before in plan:
            if content is None:
                continue
            assert before is not None, "what changed was read"
            try:
                self._keep(name, before)
                if given_up.is_set():
                    return _warn("given up before it was written", done)
                if not atomic_file.put(folder, name, _text(content), over=before):
                    return _warn(f"{name} changed meanwhile", done)
            except OSError as error:
                return _warn(f"{name} cannot be written: {error.strerror}", done)
            if name == PAIRED:
                done = replace(done, repaired=found.repaired, token_updated=found.token_updated)
            else:
                done = replace(done, removed=found.removed)
        return replace(done, status="repaired")

    def _keep(self, name: str, content: bytes) -> None:
        atomic_file.make_folder(self._kept)
        with atomic_file.open_folder(self._kept) as kept:
            atomic_file.put_over(kept, name, content)


def _read(folder: int, name: str) -> bytes | None:
    with suppress(FileNotFoundError):
        return atomic_file.read(folder, name, limits.FILE_BYTES_MAX)
    return None


def _parse(content: bytes, name: str) -> object:
    try:
        return json.loads(content, parse_constant=_refuse)
    except ValueError as error:
        message = f"{name}: not JSON"
        raise ValueError(message) from error


def _refuse(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)


def _text(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()


def _explain(error: Exception) -> str:
    """Return what is wrong with a file, without quoting it."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _warn(text: str, done: Repaired | None = None) -> Repaired:
    return replace(done or Repaired(), status="warning", warnings=(text,))
