"""One confinement for all programs of a machine: decided once, applied to each.

A program must never run with less than was decided: a step that fails makes the launch fail.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from holdfast.kernel.failure import OperationError, brief
from holdfast.machine.confine.grants import Scope, ScopeError, Wishes, find_scope, programs_on
from holdfast.machine.confine.landlock import (
    ABI_PORTS,
    NO_SOCKETS,
    PORTS_END,
    READ,
    WRITE,
    Kernel,
    Plan,
)
from holdfast.machine.confine.probing import PYTHON, Kind, Probe, probe
from holdfast.machine.confine.report import Report

Wanted: TypeAlias = Literal["auto"] | Kind

VARIABLE: Final = "HOLDFAST_CONFINE_ORDER"
"""The variable by which a cloud specifies the confinement; without it there is none."""

PORTS_OF_AGENT: Final = 3
"""Ports the process cloud gives to an agent: its own and two for its other programs."""

_LOADER: Final = (
    "-c",
    "import sys; sys.path.insert(0, sys.argv[1]); import landlock as it; it.main(sys.argv[2])",
    str(Path(__file__).parent),
)  # fmt: skip
"""Imported rather than run by path, so that its compiled form is cached between starts."""

_MARKS: Final = "HOLDFAST_"
"""Prefixes of the variables by which a machine's processes are found."""


class ConfineError(ValueError):
    """The requested confinement is malformed or not available here; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a cloud wants its machines confined.

    `hidden` is invisible to every agent, `write` belongs to the machine, `read` is lent to it; both
    may be inside what is hidden. `path` is the PATH of the plane's own user, `files` are named by
    other variables of that user; an owner's could name anything. `asked_read` and `asked_write` are
    set by an operator. `ports` are the first and last port of machines, `plane` is the plane's own;
    0 for unknown.
    """

    kind: Wanted = "auto"
    hidden: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    path: str = ""
    files: tuple[str, ...] = ()
    asked_read: tuple[str, ...] = ()
    asked_write: tuple[str, ...] = ()
    ports: tuple[int, int] = (0, 0)
    plane: int = 0


def read_order(text: str) -> Order:
    """Return the order in a variable, an empty one for an empty text."""
    if not text:
        return Order(kind="none")
    try:
        given = json.loads(text)
        order = Order(**{name: _frozen(value) for name, value in given.items()})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        message = f"{VARIABLE}: want a JSON object as the process cloud writes it: {brief(error)}"
        raise ConfineError(message) from error
    if order.kind not in ("auto", *get_args(Kind)):
        message = f"{VARIABLE}: kind {order.kind!r}: want auto, {', '.join(get_args(Kind))}"
        raise ConfineError(message)
    return order


@dataclass(slots=True)
class Launch:
    """How to start one confined program; call `started` or `failed` afterwards."""

    argv: tuple[str, ...]
    env: dict[str, str]
    report: Report | None = None
    descriptors: list[int] = field(default_factory=list)
    kept: tuple[int, ...] = ()

    @property
    def inherited(self) -> tuple[int, ...]:
        """Return the descriptors that the process must inherit."""
        theirs = () if self.report is None else (self.report.theirs.fileno(),)
        return (*self.descriptors, *self.kept, *theirs)

    def hold(self, data: bytes) -> int:
        """Return the descriptor of a memory file with this content, positioned at its start."""
        descriptor = os.memfd_create("holdfast")
        self.descriptors.append(descriptor)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def started(self) -> None:
        """Close the descriptors that the process has inherited."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        if self.report is not None:
            self.report.theirs.close()

    def failed(self) -> None:
        """Close everything."""
        self.started()
        if self.report is not None:
            self.report.close()


class Confinement:
    """Wraps programs; `kind` names the mechanisms in use."""

    def __init__(self, order: Order, found: Probe, *, agent_port: int) -> None:
        """Confine as ordered with what the probe found; raise ConfineError if that is too little.

        Blocks for a tenth of a second where ports are to be denied.
        """
        self.kind: Kind = _choose(order.kind, found)
        self.found = found
        self._order = order
        self._ports = -1
        self._abi = found.landlock_abi if "landlock" in self.kind else 0
        if self._abi >= ABI_PORTS and order.ports[1]:
            self._ports = _allow_ports(order, agent_port)

    def wrap(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str,
        read: Sequence[str] = (), write: Sequence[str] = (),
    ) -> Launch:  # fmt: skip
        """Return how to start this program, with access to these files too; raise OSError."""
        if self.kind == "none":
            return Launch(tuple(argv), dict(env))
        scope = self._scope(read, write)
        boxed = "bubblewrap" in self.kind
        launch = Launch((), {name: env[name] for name in env if name.startswith(_MARKS)})
        try:
            launch.report = Report() if boxed else None
            launch.kept = () if self._ports < 0 else (self._ports,)
            plan = Plan(
                report=-1 if launch.report is None else launch.report.theirs.fileno(),
                ports=self._ports,
                abi=self._abi,
                rules=scope.rules(alone=not boxed) if self._abi else (),
                argv=list(argv),
                env=env,
            )
            launch.argv = (*PYTHON, *_LOADER, str(launch.hold(plan.encode())))
            if boxed:
                options = (*self._flags, *scope.mounts(), "--chdir", cwd)
                held = launch.hold(b"".join(os.fsencode(word) + b"\0" for word in options))
                launch.argv = (self.found.program, "--args", str(held), "--", *launch.argv)
        except BaseException:
            launch.failed()
            raise
        return launch

    def _scope(self, read: Sequence[str], write: Sequence[str]) -> Scope:
        order = self._order
        wishes = Wishes(
            read=(*order.read, *read),
            write=(*order.write, *write),
            programs=(*programs_on(order.path), *order.files),
            asked_read=order.asked_read,
            asked_write=order.asked_write,
            hidden=order.hidden,
        )
        try:
            return find_scope(wishes)
        except ScopeError as error:
            raise OperationError(str(error)) from error

    @property
    def _flags(self) -> tuple[str, ...]:
        return (*self.found.flags, "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL")

    def close(self) -> None:
        """Close what launches share."""
        if self._ports >= 0:
            os.close(self._ports)
            self._ports = -1


def isolated(argv: Sequence[str], *, write: Sequence[str] = ()) -> Launch:
    """Return how to start a program of ours that reads what others wrote; raise OSError.

    It reads the host's programs, this Python and what is in `write`, writes there alone, has no
    variables, and can make no socket. Without Landlock the files of its user stay open to it.
    """
    launch, scope = Launch((), {}), find_scope(Wishes(write=write))
    plan = Plan(
        report=-1,
        ports=NO_SOCKETS,
        abi=Kernel().find_abi(),
        rules=[(READ, path) for path in scope.read] + [(WRITE, path) for path in scope.write],
        argv=list(argv),
        env={},
    )
    launch.argv = (*PYTHON, *_LOADER, str(launch.hold(plan.encode())))
    return launch


NOTHING: Final = Probe("none", "not asked for", 0, "not asked for")


def open_confinement(text: str, *, agent_port: int) -> Confinement:
    """Return the confinement for a text, with the ports beside the agent's open to it.

    Raise ConfineError. Blocks for some tenths of a second while it probes the host.
    """
    order = read_order(text)
    found = NOTHING if order.kind == "none" else probe()
    return Confinement(order, found, agent_port=agent_port)


def unconfined() -> Confinement:
    """Return a confinement that confines nothing."""
    return Confinement(Order(kind="none"), NOTHING, agent_port=0)


def _choose(wanted: Wanted, found: Probe) -> Kind:
    if wanted == "auto":
        return found.kind
    missing = set(wanted.split("+")) - set(found.kind.split("+")) - {"none"}
    if missing:
        message = f"{VARIABLE}: {wanted} is asked for and not to be had: {found.reason}"
        raise ConfineError(message)
    return wanted


def _allow_ports(order: Order, agent_port: int) -> int:
    """Return the ruleset of all ports but other machines', our controller's and the plane's.

    A machine's range is the controller's port, the agent's and those after it. Connecting to the
    plane's port is allowed: brains send there.
    """
    first, last = order.ports
    own = range(agent_port, agent_port + PORTS_OF_AGENT)
    open_ports = {port for port in range(PORTS_END) if not first <= port <= last} | set(own)
    return Kernel().allow_ports(connect=open_ports, bind=open_ports - {order.plane})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
