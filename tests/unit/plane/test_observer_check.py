from __future__ import annotations

from holdfast.instances.index import Mark, Page, Query
from holdfast.letters.machine import LastContact
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.confinement import SPAN
from holdfast.plane.wiring.observers import ObserverCheck
from holdfast.wire.controller.checkin import MachineStatus, ObserverWork, UnreadSources


class Fleet:
    """Running instances, with what each machine told of its observer; None told nothing yet."""

    def __init__(
        self, told: dict[str, tuple[str, str] | None], works: dict[str, ObserverWork] | None = None
    ) -> None:
        self.told = told
        self.works = works or {}

    async def page(self, query: Query) -> Page:
        after = query.after.name if query.after else ""
        names = [name for name in sorted(self.told) if name > after]
        ids = tuple(names[: query.limit])
        more = Mark(ids[-1], ids[-1], ids[-1]) if len(names) > query.limit else None
        return Page(ids, more, len(self.told), {})

    def contact(self, instance: str) -> LastContact | None:
        told = self.told[instance]
        if told is None:
            return None
        status = MachineStatus(
            uptime_seconds=0, load_avg_5m=0, observer=told[0], observer_reason=told[1],
            observer_work=self.works.get(instance),
        )  # fmt: skip
        return LastContact(status=status)

    def check(self, **settings: bool) -> ObserverCheck:
        return ObserverCheck(self, self, Settings(**settings))  # type: ignore[arg-type]


async def test_observers_that_fail_are_counted_and_some_named() -> None:
    told: dict[str, tuple[str, str] | None] = {f"m{n:04}": ("running", "") for n in range(SPAN)}
    assert (await Fleet(told).check().check()).result == "ok"
    told |= {f"x{n}": ("failing", f"reason {n}") for n in range(7)}
    told |= {"off": ("off", "off"), "silent": None}
    check = await Fleet(told).check().check()
    assert check.result == "warning"
    assert check.message == (
        "7 fail: x0: reason 0; x1: reason 1; x2: reason 2; x3: reason 3; x4: reason 4 and 2 more;"
        f" {SPAN} of {SPAN + 8} reported machines run theirs"
    )
    assert check.fix == "holdfast instance logs x0"


async def test_one_that_runs_and_does_not_work_and_what_is_left_are_said() -> None:
    works = {
        "a": ObserverWork(sources=3, bytes=2_000_000),
        "b": ObserverWork(unread=(UnreadSources(reason="LineFile: Permission denied", sources=1),)),
    }
    told: dict[str, tuple[str, str] | None] = {"a": ("running", ""), "b": ("running", "")}
    check = await Fleet(told, works).check().check()
    assert (check.result, check.fix) == ("warning", "holdfast instance logs b")
    assert check.message == (
        "1 cannot read files: b: LineFile: Permission denied; 2 of 2 reported machines run theirs;"
        " 1 are behind: a: 2.0 MB (files: 3)"
    )
    check = await Fleet(told | {"c": ("stalled", "it says nothing")}).check().check()
    assert check.message == (
        "1 run and do not do their work: c: it says nothing; 2 of 3 reported machines run theirs"
    )


async def test_a_plane_without_observers_misses_none() -> None:
    check = await Fleet({"m": ("failing", "it ended")}).check(observers=False).check()
    assert (check.result, "HOLDFAST_OBSERVERS=false" in check.message) == ("ok", True)
