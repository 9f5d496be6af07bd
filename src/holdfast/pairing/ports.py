"""Ports of pairing: bodies and results of effects, places of machines, lists.

A body holds everything that its call needs, so that the executor reads nothing from a state that
may have changed since.
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
"""Permanent: the instance does not run, so there is no machine to call."""
NO_MEANS = "redeploy"
"""Permanent: neither a route nor a command can do it; a newer controller could."""
DOUBT = "doubt"
"""Permanent: it is unknown whether it was done; no order runs any more."""
MAY_RUN = "may_run"
"""Permanent: it was sent and the answer was lost; it may still be carried out."""


class DecideCall(Struct, frozen=True, tag="decide", gc=False):
    """Send a decision to the machine."""

    serial: int
    verb: Verb
    asked: Asked


class LookCall(Struct, frozen=True, tag="look", omit_defaults=True, gc=False):
    """Read from the machine, afresh, whether a request still waits.

    `early` is true while the order may still run: a waiting request then proves nothing.
    """

    serial: int
    verb: Verb
    asked: Asked
    early: bool = False


Body: TypeAlias = DecideCall | LookCall

encode_body = msgspec.json.Encoder(order="deterministic").encode
decode_body = msgspec.json.Decoder(Body).decode


class Carried(Struct, frozen=True, gc=False):
    """A decision that was carried out, with the machine's message."""

    message: str
    via: Via


class StillWaits(Struct, frozen=True, gc=False):
    """The request still waits: the decision was not carried out."""


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
    """What invalidates a list when it changes: the pairing epoch and the machine.

    A list has the basis of before it was read.
    """

    pairing_epoch: int
    machine_epoch: int
    machine_id: str
    config_version: int


class Source(Struct, frozen=True, kw_only=True, gc=False):
    """The state of one source of a list; times in ms, 0 for never."""

    name: str
    last_success_ms: int = 0
    error: str = ""
    stale: bool = False


class Listing(Struct, frozen=True, kw_only=True):
    """The waiting requests of a machine; not `complete` where a source could not be read."""

    via: Literal["controller", "exec"]
    requests: tuple[Waiting, ...] = ()
    complete: bool = True
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
    """Reads lists of machines."""

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        """Return the waiting requests; with `refresh`, as read from the agent now."""
        ...


def basis(place: Place, state: Pairing) -> Basis:
    """Return the basis of a list that is read now."""
    return Basis(state.epoch, place.epoch, place.machine_id, place.config_version)
