"""`Part`, everything that one subject contributes to the process, and the fold over all parts.

A subject's wiring file makes its `Part`; `plane.py` and the simulator each have a tuple of parts
and use the functions here, independent of the subjects. Two parts that give the same name are an
error that names both, and so is an endpoint without a handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, Kinds
from holdfast.actors.owner import Listener, Owner
from holdfast.actors.probing import Lookout
from holdfast.actors.tasks import why_ended
from holdfast.kernel.failure import brief
from holdfast.kernel.liveness import Vital
from holdfast.kernel.log import Log
from holdfast.letters.topics import OPERATION, QUARANTINE, Publish, Topic
from holdfast.plane.about import Check
from holdfast.plane.wiring.letters import ROUTES, Route
from holdfast.wire.api.call import Handler
from holdfast.wire.api.endpoint import Endpoint

T = TypeVar("T")

TASK_PREFIX: Final = "holdfast-"
MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0


class WiringError(ValueError):
    """The parts are inconsistent; the message has the parts and the names."""


class Job(NamedTuple):
    """Work that runs beside the rest until the plane stops; its task bears the name.

    One with `ends` runs once, after the start.
    """

    name: str
    work: Callable[[], Coroutine[Any, Any, None]]
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The contributions of one subject; `name` is for messages.

    `kinds`, `providers` and `lookouts` go to the engine, `handlers` are bound to endpoint rows of
    their names, `on_commit` is called after every tick that is over. `topics` names the views whose
    committed rows are published to open pages, each with its topic. `checks` are the doctor's.
    `start` is awaited once, in the order of the parts, then `jobs` run. `vitals` is called after
    that and returns what must not end before the plane does; the same holds for jobs. While
    `troubles` yields any, health is degraded; one of the checks reports the same. `release` ends
    what is held open when the stop begins. What must be closed is pushed on `Core.closing` where it
    is opened.
    """

    name: str
    kinds: tuple[Kind, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict[str, Provider])
    lookouts: Mapping[str, Lookout] = field(default_factory=dict[str, Lookout])
    handlers: Mapping[str, Handler] = field(default_factory=dict[str, Handler])
    on_commit: tuple[Listener, ...] = ()
    topics: Mapping[str, Topic] = field(default_factory=dict[str, Topic])
    jobs: tuple[Job, ...] = ()
    vitals: Callable[[], Iterable[Vital]] | None = None
    troubles: Callable[[], Iterable[str]] | None = None
    checks: tuple[Check, ...] = ()
    start: Callable[[], Awaitable[object]] | None = None
    release: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """The engine's tables by name: made empty, filled by `join` before it starts.

    The engine is made first and reads these when it runs, because the engine needs the parts'
    providers and the parts need the engine's mailbox.
    """

    kinds: dict[str, Kind] = field(default_factory=dict[str, Kind])
    providers: dict[str, Provider] = field(default_factory=dict[str, Provider])
    lookouts: dict[str, Lookout] = field(default_factory=dict[str, Lookout])


def merge(what: str, given: Iterable[tuple[str, Mapping[str, T]]]) -> dict[str, T]:
    """Return all mappings as one; raise WiringError when two parts give the same name."""
    merged: dict[str, T] = {}
    giver: dict[str, str] = {}
    for part, mapping in given:
        for name, value in mapping.items():
            if name in merged:
                text = f"{what} {name!r}: given by part {giver[name]!r} and by part {part!r}"
                raise WiringError(text)
            merged[name], giver[name] = value, part
    return merged


def kinds_of(parts: Iterable[Part]) -> dict[str, Kind]:
    """Return the kinds of actors of all parts, by name."""
    return merge(
        "kind", ((p.name, {kind.definition.kind: kind for kind in p.kinds}) for p in parts)
    )


def handlers_of(parts: Iterable[Part]) -> dict[str, Handler]:
    """Return the handlers of all parts, by endpoint."""
    return merge("endpoint", ((part.name, part.handlers) for part in parts))


def bind(parts: Iterable[Part], rows: Sequence[Endpoint]) -> dict[str, Handler]:
    """Return exactly one handler for each row; raise WiringError naming other rows."""
    handlers, names = handlers_of(parts), {row.name for row in rows}
    missing, extra = sorted(names - handlers.keys()), sorted(handlers.keys() - names)
    if missing or extra:
        raise WiringError(f"endpoints that no part answers: {missing}; that have no row: {extra}")
    return handlers


def join(parts: Sequence[Part], tables: Tables, owner: Owner, publish: Publish) -> None:
    """Fill the engine's tables and add listeners, before it starts; raise WiringError."""
    tables.kinds.update(kinds_of(parts))
    check_routes(tables.kinds)
    tables.providers.update(merge("provider", ((p.name, p.providers) for p in parts)))
    tables.lookouts.update(merge("lookout", ((p.name, p.lookouts) for p in parts)))
    topics = merge("view", ((p.name, p.topics) for p in parts))
    for part in parts:
        for listener in part.on_commit:
            owner.listen(listener)
    owner.listen(publish_views(publish, topics))


def check_routes(kinds: Kinds, routes: Iterable[Route] = ROUTES) -> None:
    """Raise WiringError where a kind sends letters to one that is missing or takes none."""
    for route in routes:
        if route.sender not in kinds:
            continue
        receiver = kinds.get(route.receiver)
        if receiver is None or receiver.definition.received is None:
            text = f"{route.sender!r} writes {route.letter.__name__} to {route.receiver!r}"
            raise WiringError(f"{text}, but no part has that kind, or it accepts no letters")


def publish_views(publish: Publish, topics: Mapping[str, Topic]) -> Listener:
    """Return the listener that publishes committed rows; it must be the last one."""

    def on_commit(committed: CommittedTick) -> None:
        if committed.commit is None:
            return
        where, account = committed.tick.after.address.id, committed.commit.account
        for view in committed.tick.views:
            topic = topics.get(view.view)
            if topic is not None:
                publish(topic, view.key, view.account)
        publish(OPERATION, where, account)
        if any(stamp.outcome == "quarantined" for stamp in committed.tick.stamps):
            publish(QUARANTINE, where, account)

    return on_commit


def vitals_of(tasks: Iterable[asyncio.Task[Any]]) -> Iterator[Vital]:
    """Yield tasks, each of which must not end, by their names."""
    for task in tasks:
        yield Vital(task.get_name(), partial(why_ended, task))


def every(
    name: str,
    job: Callable[[], Awaitable[object]],
    every_s: float,
    log: Log,
    *,
    first_s: float = MINUTE_S,
) -> Job:
    """Return a job that is done again and again, first within `first_s` of the start.

    A failure is a log line and tried next time.
    """

    async def repeat() -> None:
        await asyncio.sleep(min(every_s, first_s))
        while True:
            try:
                await job()
            except Exception as error:
                why = brief(error)
                log.error("housekeeping.failed", job=name, reason=why, exc_info=error)  # noqa: TRY400  the port
            await asyncio.sleep(every_s)

    return Job(name, repeat)


class Tasks:
    """Background tasks; one that ends with an exception is logged."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()

    def run_job(self, job: Job) -> Iterator[Vital]:
        """Run a job; yield it where it must not end."""
        task = self._begin(job.work(), job.name)
        if not job.ends:
            yield Vital(job.name, partial(why_ended, task))

    def run(self, work: Coroutine[Any, Any, Any], name: str = "") -> None:
        """Run something beside the rest; what it raises is logged."""
        self._begin(work, name)

    def _begin(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        if name:
            task.set_name(f"{TASK_PREFIX}{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("task.failed", task=task.get_name(), exc_info=task.exception())

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
