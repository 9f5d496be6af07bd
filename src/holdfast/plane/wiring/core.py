"""The dependencies of every part: settings, clock, chance, stores, keys, mailbox, exit stack.

The simulator makes one too, with its own clock and stores in memory. Nothing is opened here.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.accounts.browser import BrowserSessions
from holdfast.accounts.ports import AccountsStore
from holdfast.actors.ports import Journal, Mailboxes, Reader
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.kernel.log import TotalLog
from holdfast.kernel.metrics import TotalMeter
from holdfast.kernel.secret import Secret
from holdfast.letters.topics import Publish
from holdfast.plane.consent_key import ConsentKey
from holdfast.plane.plane_key import PlaneKey
from holdfast.plane.secret_encryption import KeyRing
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.engine import Engine
from holdfast.plane.wiring.part import Tables
from holdfast.telemetry.ports import Analytics, ContactStore
from holdfast.telemetry.ticks import Ticks
from holdfast.towns.attempts import AttemptStore
from holdfast.towns.records import TownRecords


class TownStore(TownRecords, AttemptStore, Protocol):
    """The store of everything of towns that is not an event."""


class Stores(Protocol):
    """The open stores that more than one part uses."""

    @property
    def journal(self) -> Journal:
        """Return the store of actors' events."""
        ...

    @property
    def reader(self) -> Reader:
        """Return the reader of committed rows."""
        ...

    @property
    def accounts(self) -> AccountsStore:
        """Return the store of people and tokens."""
        ...

    @property
    def towns(self) -> TownStore:
        """Return the store of texts and settings of towns, and of tokens of attempts."""
        ...

    @property
    def contacts(self) -> ContactStore:
        """Return the store of last contacts."""
        ...

    @property
    def analytics(self) -> Analytics:
        """Return the store of datapoints."""
        ...

    @property
    def ticks(self) -> Ticks:
        """Return the store of towns' ticks."""
        ...


class SystemChance:
    """Ids and keys from the system's generator."""

    def token(self, prefix: str) -> str:
        """Return the prefix and 256 random bits as URL-safe text."""
        return prefix + secrets.token_urlsafe(32)

    def uuid(self) -> str:
        """Return a random UUID, canonical and in lower case."""
        return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The dependencies of every part.

    `log` and `meter` never raise. `publish` notifies open pages, `run` starts a background task
    and logs what it raises. `mailbox` sends events to actors. `url` is the plane's address for
    machines and people. A part pushes on `closing` what it opens, at once; all of it is closed in
    the reverse order.
    """

    settings: Settings
    home: Path
    url: str
    clock: Clock
    chance: Chance
    log: TotalLog
    meter: TotalMeter
    publish: Publish
    run: Callable[[Coroutine[Any, Any, Any]], None]
    stores: Stores
    keyring: KeyRing
    token_secret: Secret
    plane_key: PlaneKey
    consent_key: ConsentKey
    tables: Tables
    engine: Engine
    mailbox: Mailboxes
    closing: AsyncExitStack

    @property
    def browsers(self) -> BrowserSessions:
        """Return the `BrowserSessions` derived from the key of this plane."""
        return BrowserSessions(self.plane_key.derive("browsers"))
