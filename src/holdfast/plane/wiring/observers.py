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
from holdfast.wire.observing import backlog_text

_NAMED_MAX = 5


class _Named:
    """Instances of which one thing is so: how many, and of the first ones how."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: list[tuple[str, str]] = []
        self.count = 0

    def add(self, instance: str, how: str) -> None:
        self.count += 1
        if len(self._first) < _NAMED_MAX:
            self._first.append((instance, how))

    @property
    def first(self) -> str:
        return self._first[0][0]

    @property
    def text(self) -> str:
        """Return it in words, empty for none."""
        if not self.count:
            return ""
        left = self.count - len(self._first)
        named = "; ".join(f"{instance}: {how}" for instance, how in self._first)
        return f"{self.count} {self._what}: {named}" + (f" and {left} more" if left else "")


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
        """Return how many work, why some do not, and how far those are that have much to read."""
        if not self._settings.observers:
            text = f"{PREFIX}OBSERVERS=false: machines started since have none"
            return DoctorCheck(name="observers", result="ok", message=text)
        counts: Counter[str] = Counter()
        bad, unread, behind = _Named("fail"), _Named("cannot read files"), _Named("are behind")
        stalled = _Named("run and do not do their work")
        async for found, status in self._running():
            instance = self._name_of(found) or found
            counts[status.observer] += 1
            work = status.observer_work
            if status.observer == "failing":
                bad.add(instance, status.observer_reason)
            elif status.observer == "stalled":
                stalled.add(instance, status.observer_reason)
            if work is not None and work.unread:
                unread.add(instance, work.unread[0].reason)
            if work is not None and work.sources:
                behind.add(instance, backlog_text(work))
        warned = [each for each in (bad, stalled, unread) if each.count]
        ran = f"{counts['running']} of {counts.total()} reported machines run theirs"
        texts = (*(each.text for each in warned), ran, behind.text)
        return DoctorCheck(
            name="observers",
            result="warning" if warned else "ok",
            message="; ".join(filter(None, texts))[:REASON_MAX],
            fix=f"holdfast instance logs {warned[0].first}" if warned else "",
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
