"""Commands of the policy; the supervisor reports their results as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from holdfast.machine.controller.supervise.state import Repair


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process, unless another program holds its port."""

    child: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Make the process refuse new work and finish its own."""

    child: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """End the process with this signal."""

    child: int
    signal: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the process and its group."""

    child: int


@dataclass(frozen=True, slots=True)
class BeginRepair:
    """Begin this repair, once; the reason goes into its record.

    `failed` is the etag of the configuration whose trial this ends, empty for every other repair.
    """

    repair: Repair
    reason: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class CancelRepair:
    """Cancel the repair under way."""


@dataclass(frozen=True, slots=True)
class BeHealthy:
    """The child's configuration has proved itself; keep it as the one to go back to."""

    child: int


Command: TypeAlias = Spawn | Drain | Terminate | Kill | BeginRepair | CancelRepair | BeHealthy
