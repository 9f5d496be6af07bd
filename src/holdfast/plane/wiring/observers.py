"""The doctor's check of the observers beside agents, as their machines reported them last."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from holdfast.instances.index import Page, Query
from holdfast.instances.ports import Contacts
from holdfast.letters.names import NameOf, unnamed
from holdfast.plane.settings import PREFIX, Settings
from holdfast.plane.wiring.confinement import SPAN, Fleet
from holdfast.plane.wiring.part import Part
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.controller.checkin import MachineStatus
from holdfast.wire.limits import REASON_MAX

_NAMED_MAX = 5


class ObserverCheck:
    """Counts the observers of running machines."""

    def __init__(
        self, fleet: Fleet, contacts: Contacts, settings: Settings, name_of: NameOf = unnamed
    ) -> None:
        """Look at `fleet`; `contacts` is what machines reported last."""
        self._name_of = name_of
        self._fleet = fleet
        self._contacts = contacts
        self._settings = settings

    async def check(self) -> DoctorCheck:
        """Return how many run, and why some do not."""
        if not self._settings.observers:
            text = f"{PREFIX}OBSERVERS=false: machines started since have none"
            return DoctorCheck(name="observers", result="ok", message=text)
        counts: Counter[str] = Counter()
        named: list[tuple[str, str]] = []
        async for instance, status in self._running():
            counts[status.observer] += 1
            if status.observer == "failing" and len(named) < _NAMED_MAX:
                named.append((self._name_of(instance) or instance, status.observer_reason))
        failing = counts["failing"]
        left = failing - len(named)
        parts = [f"{counts['running']} of {counts.total()} reported machines run theirs"]
        if failing:
            more = f" and {left} more" if left else ""
            reasons = "; ".join(f"{instance}: {reason}" for instance, reason in named)
            parts.insert(0, f"{failing} fail: {reasons}{more}")
        return DoctorCheck(
            name="observers",
            result="warning" if failing else "ok",
            message="; ".join(parts)[:REASON_MAX],
            fix=f"holdfast instance logs {named[0][0]}" if named else "",
        )

    async def _running(self) -> AsyncIterator[tuple[str, MachineStatus]]:
        """Yield running instances with what their machines reported; those that did not are not."""
        query = Query(account=None, limit=SPAN, statuses=("running",))
        while True:
            page: Page = await self._fleet.page(query)
            for instance in page.ids:
                last = self._contacts.contact(instance)
                if last is not None and last.status is not None:
                    yield instance, last.status
            if page.following is None:
                return
            query = query._replace(after=page.following)


def observers_part(contacts: Contacts, fleet: Fleet, settings: Settings, name_of: NameOf) -> Part:
    """Return the check as a part; `name_of` names instances."""
    check = ObserverCheck(fleet, contacts, settings, name_of)
    return Part(name="observers", checks=(check.check,))
