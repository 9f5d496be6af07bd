"""What pairing asks of the world: bodies of calls, what they answer, and where a machine is.

A body holds everything its call needs, so that whoever carries it out looks nothing up in a
state that may have moved on.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.kernel.outcome import Outcome
from holdfast.pairing.requests import Asked, Waiting
from holdfast.pairing.state import Pairing, Verb

Via: TypeAlias = Literal["controller", "exec", "plane"]

NOT_RUNNING = "not_running"
"""Permanent: the instance does not run, so nobody can be asked."""
NO_MEANS = "redeploy"
"""Permanent: neither a route nor a command can do it; a newer machine could."""
DOUBT = "doubt"
"""Permanent: whether it was done could not be found out; nothing of it runs any more."""
MAY_RUN = "may_run"
"""Permanent: it was sent and its answer lost; it may be carried out still."""


class DecideCall(Struct, frozen=True, tag="decide", gc=False):
    """Tell the machine a decision."""

    serial: int
    verb: Verb
    asked: Asked


class LookCall(Struct, frozen=True, tag="look", omit_defaults=True, gc=False):
    """Ask the machine whether a request still waits, afresh.

    `early` says that the order may still run, so that a request which waits proves nothing.
    """

    serial: int
    verb: Verb
    asked: Asked
    early: bool = False


Body: TypeAlias = DecideCall | LookCall

encode_body = msgspec.json.Encoder(order="deterministic").encode
decode_body = msgspec.json.Decoder(Body).decode


class Carried(Struct, frozen=True, gc=False):
    """A decision that was carried out, in the machine's words."""

    message: str
    via: Via


class StillWaits(Struct, frozen=True, gc=False):
    """The request waits on: the decision was not carried out."""


class Place(Struct, frozen=True, kw_only=True, gc=False):
    """Where an instance's machine is and whether it runs, from committed rows."""

    instance: str
    name: str
    account: str
    running: bool
    provider: str = ""
    machine_id: str = ""
    epoch: int = 0
    config_version: int = 0


class Basis(Struct, frozen=True, gc=False):
    """Everything that makes a list worthless when it changes: the pairing epoch, the machine.

    A list belongs to the basis that was so before it was asked for.
    """

    pairing_epoch: int
    machine_epoch: int
    machine_id: str
    config_version: int


class Source(Struct, frozen=True, kw_only=True, gc=False):
    """How one source of a list stands; times in ms, 0 for never."""

    name: str
    last_success_ms: int = 0
    error: str = ""
    stale: bool = False


class Listing(Struct, frozen=True, kw_only=True):
    """What a machine says waits. Not `complete` where some source could not be read."""

    requests: tuple[Waiting, ...]
    via: Literal["controller", "exec"]
    complete: bool
    sources: tuple[Source, ...] = ()
    error: str = ""


class Places(Protocol):
    """The committed rows of instances."""

    def of(self, instance: str) -> Place | None:
        """Return where an instance's machine is, or None when there is no such instance."""
        ...

    def pairing(self, instance: str) -> Pairing:
        """Return the committed state of an instance's pairing; empty where nothing is."""
        ...


class Machines(Protocol):
    """Asks a machine, by whatever way it has."""

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        """Return what waits; with `refresh` as the agent says now, not as it said before."""
        ...


def basis(place: Place, state: Pairing) -> Basis:
    """Return what a list that is asked for now will belong to."""
    return Basis(state.epoch, place.epoch, place.machine_id, place.config_version)
