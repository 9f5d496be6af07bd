"""How an agent is kept up: the rung its recovery is on, and what became of its settings. Pure."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import HEALTH_BADGES, Badge
from holdfast.wire.api.instances import Climb, InstanceDetail, RecoveryView
from holdfast.wire.health import HealthCode

LADDER: Final = {
    "restart": ("Restart", "It is started again, each time a little later."),
    "last_healthy_config": ("Last healthy settings", "It gets the settings that it last ran with."),
    "reinstall": ("Reinstall", "Its program is installed anew."),
    "previous_version": ("Previous version", "It gets the release that it ran before."),
    "parked": ("Parked", "It is left alone until a person has looked."),
}
"""The rungs, the mildest first: what each is called, and what it does."""

_CONFIG: Final = {
    "trial": Badge("on trial", "busy", "It is kept when the agent stays up with it."),
    "healthy": Badge("healthy", "ok", "The agent has stayed up with it."),
    "rolled_back": Badge("rolled back", "bad", "The agent did not stay up with it."),
    "failed": Badge("failed", "bad", "The agent did not stay up with it. It is still there."),
}

_CAME: Final = {
    None: Badge("under way", "busy"),
    True: Badge("done", "ok"),
    False: Badge("skipped", "off", "It could not be done."),
}

_AT_WORK: Final[frozenset[HealthCode]] = frozenset(
    {"crashing", "repairing", "recovering", "unready", "start-failed"}
)
"""Statuses in which the recovery is at work."""

Place = Literal["done", "here", "ahead"]


class Rung(NamedTuple):
    """One rung, and where it is from the one that the recovery is on."""

    title: str
    what: str
    place: Place


class Try(NamedTuple):
    """One rung that was tried: what, when, why, and what came of it."""

    title: str
    came: Badge
    at: Moment | None
    reason: str
    detail: str


class Recovery(NamedTuple):
    """The panel; `is_quiet` when nothing but a start was ever needed."""

    badge: Badge
    rungs: tuple[Rung, ...]
    reason: str
    blocked: str
    config: Badge | None
    config_reason: str
    work_cuts: int
    is_quiet: bool
    can_hold: bool
    can_retry: bool
    tries: tuple[Try, ...]


def recovery(detail: InstanceDetail, *, now_ms: int) -> Recovery | None:
    """Return the panel, or None for a machine that has not reported."""
    instance, view = detail.instance, detail.instance.recovery
    if view is None:
        return None
    names = list(LADDER)
    at = names.index(view.rung) if view.rung in LADDER else 0
    climbs = at > 0
    return Recovery(
        badge=_badge(view, instance.health.code),
        rungs=tuple(
            Rung(*LADDER[name], "done" if n < at else "here" if n == at else "ahead")
            for n, name in enumerate(names)
        ),
        reason=view.reason,
        blocked=view.blocked,
        config=_CONFIG.get(view.config),
        config_reason=view.config_reason,
        work_cuts=view.work_cuts,
        is_quiet=not (
            climbs
            or view.held
            or view.blocked
            or view.config in {"rolled_back", "failed"}
            or instance.health.code in _AT_WORK
        ),
        can_hold=climbs and not view.held and view.rung != "parked",
        can_retry=instance.desired == "running"
        and (climbs or view.held or instance.health.code in _AT_WORK),
        tries=tuple(_try(climb, now_ms) for climb in reversed(detail.climbs)),
    )


def _try(climb: Climb, now_ms: int) -> Try:
    title, _ = LADDER.get(climb.rung, (climb.rung, ""))
    # Parking is the end of all tries, and not something that could go well.
    came = Badge("your turn", "bad") if climb.rung == "parked" else _CAME[climb.done]
    return Try(title, came, moment(climb.at, now_ms), climb.reason, climb.detail)


def _badge(view: RecoveryView, code: HealthCode) -> Badge:
    """Return the state of the recovery in a word, the worst first."""
    if view.rung == "parked":
        return Badge("parked", "bad")
    if view.blocked:
        return Badge("blocked", "bad")
    if view.held:
        return Badge("stopped by somebody", "warn")
    if code in _AT_WORK:
        return HEALTH_BADGES[code]
    if view.rung != "restart":
        return Badge("recovering", "warn")
    return Badge("not needed", "ok") if code == "ready" else Badge("nothing to do", "off")
