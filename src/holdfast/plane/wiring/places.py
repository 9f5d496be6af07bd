"""Places of machines and the state of pairing: committed rows, cached in memory.

Listeners of commits, and lists over the whole fleet, cannot wait for a store at each instance. So
the rows are read once, at the start, and updated with each commit: one small record an instance,
and the pairing row of those that have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.ports import Reader
from holdfast.instances.views import DETAIL_VIEW, INSTANCE_VIEW, read_detail, read_instance
from holdfast.pairing.ports import Place
from holdfast.pairing.state import STATE_VERSION, Pairing, decode_state, empty
from holdfast.pairing.views import PAIRING_VIEW

_PAGE: Final = 1_000


class CommittedPlaces:
    """The port `Places`, over committed rows. `fill` must run before the engine."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._details: dict[str, tuple[str, int]] = {}
        self._pairings: dict[str, bytes] = {}
        self._put: dict[str, Callable[[str, bytes | None], None]] = {
            INSTANCE_VIEW: self._put_instance,
            DETAIL_VIEW: self._put_detail,
            PAIRING_VIEW: self._put_pairing,
        }

    async def fill(self, reader: Reader) -> None:
        """Read the rows committed before this start."""
        for view, put in self._put.items():
            after = ""
            while page := await reader.views(view, account=None, after=after, limit=_PAGE):
                for key, body, _seq in page:
                    put(key, body)
                after = page[-1][0]

    def on_commit(self, committed: CommittedTick) -> None:
        """Update from a commit; the first of all listeners about pairing."""
        for row in committed.tick.views if committed.commit is not None else ():
            put = self._put.get(row.view)
            if put is not None:
                put(row.key, row.body)

    def of(self, instance: str) -> Place | None:
        """Return the place of an instance's machine, or None when there is no such instance."""
        return self._places.get(instance) if instance in self._details else None

    def pairing(self, instance: str) -> Pairing:
        """Return the committed state of an instance's pairing; empty if there is none."""
        body = self._pairings.get(instance)
        if body is None:
            return empty(instance)
        try:
            return decode_state(body, STATE_VERSION)
        except ValueError:  # a damaged row: its requests wait, as if none had been decided
            return empty(instance)

    def _put_instance(self, instance: str, body: bytes | None) -> None:
        if body is None:
            self._places.pop(instance, None)
            return
        view = read_instance(instance, body)
        provider, config_version = self._details.get(instance, ("", 0))
        self._places[instance] = Place(
            instance=instance,
            name=view.name,
            account=view.account,
            running=view.status == "running" and bool(view.machine_id),
            provider=provider,
            machine_id=view.machine_id,
            epoch=view.epoch,
            config_version=config_version,
        )

    def _put_detail(self, instance: str, body: bytes | None) -> None:
        if body is None:
            self._details.pop(instance, None)
            return
        detail = read_detail(body)
        self._details[instance] = (detail.provider, detail.config_version)
        place = self._places.get(instance)
        if place is not None:
            self._places[instance] = replace(
                place, provider=detail.provider, config_version=detail.config_version
            )

    def _put_pairing(self, instance: str, body: bytes | None) -> None:
        if body is None:
            self._pairings.pop(instance, None)
        else:
            self._pairings[instance] = body
