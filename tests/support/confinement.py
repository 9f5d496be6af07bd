"""The kinds of confinement that this host has, for tests that run programs in each."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Final, get_args

import pytest

from holdfast.machine.confine.probing import Kind, Probe, probe
from holdfast.machine.confine.sandbox import Confinement, Order, Wanted

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@functools.cache
def found() -> Probe:
    """What this host offers, found out once."""
    return probe()


def need(kind: Wanted) -> None:
    """Skip the test where the host does not offer this kind."""
    missing = set(kind.split("+")) - {"auto", "none"} - set(found().kind.split("+"))
    if missing:
        pytest.skip(f"this host does not offer {kind}: {found().reason}")


def confinement(
    kind: Wanted, *, hidden: tuple[Path, ...] = (), ports: tuple[int, int] = (0, 0),
    agent_port: int = 0, plane: int = 0,
) -> Confinement:  # fmt: skip
    """Return a confinement of this kind; skip the test where there is none."""
    need(kind)
    order = Order(
        kind=kind, hidden=tuple(map(str, hidden)), path=os.environ["PATH"], ports=ports, plane=plane
    )
    return Confinement(order, found(), agent_port=agent_port)
