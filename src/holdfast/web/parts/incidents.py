"""The outages of an instance, as its page shows them. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.web.parts.moments import Moment, moment, span_words
from holdfast.web.parts.words import HEALTH_BADGES, Badge
from holdfast.wire.api.instances import Incident, InstanceDetail

SHOWN: Final = 5
"""Outages that are open to see; those before are behind a disclosure."""

_STATES: Final = {
    "down": Badge("Down", "bad"),
    "proving": Badge("Back, not proven yet", "warn"),
    "recovered": Badge("Recovered", "ok"),
    "dropped": Badge("Given up", "off", "It was not wanted running any more."),
}


class IncidentRow(NamedTuple):
    """One outage: what it was, how it ended, how long it lasted, what was tried and lost."""

    number: int
    title: str
    text: str
    state: Badge
    noticed: Moment | None
    lasted: str
    tried: str
    lost: str


class Incidents(NamedTuple):
    """The panel; `usual` is the median time to recover in words."""

    latest: tuple[IncidentRow, ...]
    older: tuple[IncidentRow, ...]
    usual: str


def incidents(detail: InstanceDetail, *, now_ms: int) -> Incidents:
    """Return the panel of an instance."""
    rows = tuple(_row(one, now_ms) for one in detail.incidents)
    usual = "" if detail.recovery_s is None else span_words(detail.recovery_s * 1_000)
    return Incidents(rows[:SHOWN], rows[SHOWN:], usual)


def _row(one: Incident, now_ms: int) -> IncidentRow:
    span = span_words(one.down_s * 1_000)
    return IncidentRow(
        number=one.number,
        title=HEALTH_BADGES[one.worst].text,
        text=one.text,
        state=_STATES[one.state],
        noticed=moment(one.noticed_at, now_ms),
        lasted=f"down for {span} so far" if one.state == "down" else f"down for {span}",
        tried=one.tried or "nothing yet",
        lost="" if not one.work_cuts else f"running work was cut {times(one.work_cuts)}",
    )


def times(count: int) -> str:
    """Return a count in words."""
    return "once" if count == 1 else f"{count} times"
