"""What the policy wants done; whoever carries it out reports back by an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from holdfast.machine.controller.supervise.state import Repair


@dataclass(frozen=True, slots=True)
class Spawn:
    """Make the process, unless somebody else holds its port."""

    child: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Ask the process to take no new work and to end what it has."""

    child: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the process to end, by this signal."""

    child: int
    signal: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process and its group."""

    child: int


@dataclass(frozen=True, slots=True)
class BeginRepair:
    """Do this repair, once; the reason goes into its record.

    `failed` is the etag of the configuration whose trial this ends, empty for every other repair.
    """

    repair: Repair
    reason: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class CancelRepair:
    """End the repair that is under way."""


@dataclass(frozen=True, slots=True)
class BeHealthy:
    """The child's configuration has proved itself; keep it as the one to come back to."""

    child: int


Command: TypeAlias = Spawn | Drain | Terminate | Kill | BeginRepair | CancelRepair | BeHealthy
