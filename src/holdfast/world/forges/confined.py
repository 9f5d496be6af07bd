"""Confines what the plane runs of a rig: gates, checkouts, and git in repositories of others.

The machine's side confines (`holdfast.machine.controller.run_confined`), by the same order as
machines get. A program sees the system, what it is lent for reading, and its own folders.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.world.forges.port import UNCONFINED
from holdfast.world.processes.barrier import inherited_from
from holdfast.world.processes.confine import VARIABLE, WRAPPER, Confine, order
from holdfast.world.processes.probe import UNCONFINED as UNCONFINED_KINDS
from holdfast.world.processes.probe import probe_host

_PROBE_S: Final = 60.0


class Confined:
    """Makes command lines confined; `inherited` is what of the plane's environment they may have.

    `ports` are the first and last of machines. Without confinement on this host nothing is run,
    unless `accept_unconfined`.
    """

    def __init__(
        self, confine: Confine, inherited: Mapping[str, str], *,
        ports: tuple[int, int] = (0, 0), accept_unconfined: bool = False,
    ) -> None:  # fmt: skip
        self._confine = confine
        self._inherited = dict(inherited)
        self._ports = ports
        self._accepted = accept_unconfined
        self._is_ready = False
        self._asking = asyncio.Lock()

    @property
    def inherited(self) -> dict[str, str]:
        """Return what of the plane's environment a rig's own programs have."""
        return dict(self._inherited)

    @property
    def path(self) -> str:
        """Return the PATH of what is run."""
        return self._inherited.get("PATH", "/usr/bin:/bin")

    async def ready(self) -> Outcome[None]:
        """Return whether programs may be run here; the host is examined until it is so."""
        async with self._asking:
            if self._is_ready:
                return Ok(None)
            found = await self._examine()
            self._is_ready = isinstance(found, Ok)
            return found

    async def _examine(self) -> Outcome[None]:
        if self._accepted or self._confine.kind not in {"auto", "none"}:
            return Ok(None)  # one that is named and not to be had makes each program fail
        reason = "it is switched off"
        if self._confine.kind == "auto":
            found = await probe_host(within_s=_PROBE_S)
            if found.kind not in UNCONFINED_KINDS:
                return Ok(None)
            reason = found.reason
        return Permanent(
            UNCONFINED, f"programs of rigs cannot be confined here ({reason}): install bubblewrap"
        )

    def environment(self, own: Sequence[Path], lent: Sequence[Path]) -> dict[str, str]:
        """Return the variables that a confined program and its wrapper need."""
        confined = order(self._confine, self._inherited, self._ports, tuple(own), tuple(lent))
        return {"PATH": self.path, VARIABLE: confined}

    def wrap(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the command line that runs another one confined."""
        return tuple(argv) if self._confine.kind == "none" else (*WRAPPER, *argv)

    def shell(self, argv: Sequence[str], env: Mapping[str, str]) -> str:
        """Return it as text for a shell, with more variables."""
        pairs = (f"{name}={value}" for name, value in env.items())
        return shlex.join(("env", *pairs, *self.wrap(argv)))


def confined_here(confine: Confine, *, ports: tuple[int, int], accept_unconfined: bool) -> Confined:
    """Return what confines on this host, with what machines inherit of this process's variables."""
    inherited = inherited_from(os.environ)
    return Confined(confine, inherited, ports=ports, accept_unconfined=accept_unconfined)
