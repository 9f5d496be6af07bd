"""Joins rooms to each other, the same way in the plane and in the simulator.

What runs in a simulation must be what runs in a plane, so the wiring that both need stands here
once and takes its parts as arguments. Nothing here opens a file, a socket or a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.actors.dispatch import Provider
from holdfast.actors.limiter import Gate
from holdfast.actors.owner import Owner
from holdfast.actors.ports import Mailboxes, Reader
from holdfast.actors.probing import Lookout
from holdfast.instances.effects import CloudCalls
from holdfast.instances.environment import Platform
from holdfast.instances.ports import Holders, KeyMint, Sealer
from holdfast.instances.views import MACHINE_VIEW, decode_machine
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.log import Log
from holdfast.kernel.secret import Secret
from holdfast.plane.settings import Settings
from holdfast.plane.wiring import bridges
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.machines import MachineBook
from holdfast.telemetry.ports import Analytics, ContactStore
from holdfast.world.clouds.port import CAPACITY, Cloud

PAGE: Final = 1_000

CALLS_MAX: Final = 16
"""Calls to one cloud at a time."""
CALLS_PER_S: Final = 200.0
"""Calls to one cloud that begin in a second; a cloud with limits of its own answers with them."""
SETTLING: Final = frozenset({CAPACITY})
"""Room is not made within seconds: the instance's own backoff between starts waits for it."""


def join_cloud(
    cloud: Cloud,
    *,
    sealer: Sealer,
    platform: Platform,
    token_secret: Secret,
    mint: KeyMint,
    holders: Holders,
    clock: Clock,
) -> tuple[Provider, Lookout]:
    """Return who makes the engine's calls to a cloud, and who asks it; they share one gate."""
    calls = CloudCalls(
        cloud,
        sealer=sealer,
        platform=platform,
        token_secret=token_secret,
        mint=mint,
        holders=holders,
    )
    gate = Gate(clock, concurrency=CALLS_MAX, rate_per_s=CALLS_PER_S)
    provider = Provider(execute=calls.execute, gate=gate, settling=SETTLING)
    return provider, Lookout(look=calls.look, gate=gate)


def make_telemetry(
    settings: Settings,
    *,
    clock: Clock,
    log: Log,
    book: MachineBook,
    contacts: ContactStore,
    analytics: Analytics,
    mailboxes: Mailboxes,
    pairing_news: Callable[[str], None] | None = None,
) -> Telemetry:
    """Return the stream of check-ins, which tells instances through their mailboxes.

    `pairing_news` is told which machine says that its pairing requests are others than before.
    """
    return Telemetry(
        clock=clock,
        log=log,
        machines=book,
        contacts=contacts,
        analytics=analytics,
        transitions=bridges.InstanceTransitions(mailboxes, pairing_news),
        checkin_gap_ms=round(settings.checkin_min_s * SECOND_MS),
        flush_ms=max(1, round(settings.telemetry_buffer_s * SECOND_MS)),
    )


def follow_contact(
    owner: Owner, book: MachineBook, telemetry: Telemetry, settings: Settings
) -> None:
    """Have telemetry know the machines as they are committed."""
    interval_ms = round(settings.checkin_interval_s * SECOND_MS)
    owner.listen(bridges.follow_machines(book, interval_ms=interval_ms))
    book.listen(telemetry)


def fill_book(reader: Reader, book: MachineBook, settings: Settings) -> None:
    """Take in every machine that may check in, from the committed rows."""
    interval_ms = round(settings.checkin_interval_s * SECOND_MS)
    after = ""
    while page := reader.views(MACHINE_VIEW, account=None, after=after, limit=PAGE):
        for _key, body, _seq in page:
            book.put(bridges.facts_of(decode_machine(body), interval_ms=interval_ms))
        after = page[-1][0]
