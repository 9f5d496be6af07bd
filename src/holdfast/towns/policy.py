"""The figures that a town's rules decide by: data, versioned, and hashed into each tick record.

`Policy()` has the later values of compat/towns.md; `EARLIER` is the preset with the values before.
What an owner sets for a town is in its `Config` (`state.py`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS

POLICY_VERSION: Final = 3
"""Version 1 had nothing about mayors and hosts; 2 nothing about mayors that hang, what they have
looked at, and agents whose instance was destroyed."""


class Policy(Struct, frozen=True, kw_only=True):
    """Figures of the rules; times are in milliseconds.

    `cooldowns_ms` is the wait before the next attempt, by attempts that failed so far; the last
    one holds for all further ones. `refused_first_ms` doubles up to `refused_cap_ms` while starts
    of a bead are refused, which is the host's fault and not the bead's. The breaker opens at
    `breaker_failures` failed attempts within `breaker_window_ms` when they are at least
    `breaker_share` of all that ended, for `breaker_first_ms`, doubled each time up to
    `breaker_cap_ms`. `inactive_ms` are the ages of an agent's last event at which it is nudged,
    escalated and stopped; whoever hears agents measures them (`silent_ms` for heartbeats).
    A mayor that ended while something waited for it is started again after `mayor_first_ms`,
    doubled up to `mayor_cap_ms`, and is stopped when nothing has waited for `mayor_idle_ms`; where
    the first of them is 0, nobody starts mayors. One that reports no work for the first of
    `inactive_ms` while something waits is poked, and started again after `mayor_hung_ms`; 0: never.
    `mayor_looks_once`: what a run that ended well has looked at starts no other.
    `hosts_asked`: instances of agents are asked to say whether they run. `destroyed_told`: those
    that were destroyed answer too, and somebody is asked about a mayor or refinery there.
    What ended long ago leaves the state in parts, one each `retired_every_ms`; 0: at once.
    `failed_counted`: beads that wait for failed ones are counted, and not named each.
    A town in which something is under way is looked at each `active_ms`, another each `idle_ms`.
    """

    version: int = POLICY_VERSION
    cooldowns_ms: tuple[int, ...] = (
        30 * SECOND_MS,
        30 * SECOND_MS,
        MINUTE_MS,
        2 * MINUTE_MS,
        5 * MINUTE_MS,
        10 * MINUTE_MS,
    )
    refused_first_ms: int = 30 * SECOND_MS
    refused_cap_ms: int = 2 * HOUR_MS
    breaker_failures: int = 20
    breaker_share: float = 0.5
    breaker_window_ms: int = 30 * MINUTE_MS
    breaker_first_ms: int = 5 * MINUTE_MS
    breaker_cap_ms: int = 30 * MINUTE_MS
    unheard_ms: int = 3 * MINUTE_MS
    stale_ms: int = 5 * MINUTE_MS
    stalled_ms: int = 150 * MINUTE_MS
    silent_ms: int = 90 * SECOND_MS
    inactive_ms: tuple[int, int, int] = (15 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS)
    nudge_again_ms: int = HOUR_MS
    poll_ms: int = MINUTE_MS
    active_ms: int = 5 * SECOND_MS
    idle_ms: int = 5 * MINUTE_MS
    gates_ms: int = 30 * MINUTE_MS
    land_ms: int = 10 * MINUTE_MS
    call_again_ms: int = 30 * SECOND_MS
    call_cap_ms: int = 10 * MINUTE_MS
    calls_max: int = 10
    reworks_max: int = 3
    landings_max: int = 5
    landing_first_ms: int = 30 * SECOND_MS
    landing_cap_ms: int = 30 * MINUTE_MS
    drain_ms: int = 7 * MINUTE_MS
    bump_ms: int = 4 * HOUR_MS
    bumps_max: int = 3
    mail_again_ms: int = 30 * SECOND_MS
    mayor_first_ms: int = 30 * SECOND_MS
    mayor_cap_ms: int = 30 * MINUTE_MS
    mayor_idle_ms: int = 30 * MINUTE_MS
    mayor_hung_ms: int = 15 * MINUTE_MS
    mayor_looks_once: bool = True
    hosts_asked: bool = True
    destroyed_told: bool = True
    retired_every_ms: int = 25
    failed_counted: bool = True
    repairs_max: int = 10
    repairs_window_ms: int = HOUR_MS
    alert_grace_ms: tuple[tuple[int, int], ...] = ((4, 5 * MINUTE_MS),)


EARLIER: Final = Policy(
    cooldowns_ms=(2 * MINUTE_MS, 2 * MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS, 10 * MINUTE_MS,
                  30 * MINUTE_MS),
    landings_max=1_000_000,
)  # fmt: skip
"""The earlier values: longer cooldowns, and landings that are tried without end."""

_WITHOUT: Final[tuple[tuple[int, dict[str, Any]], ...]] = (
    (1, {"mayor_first_ms": 0, "hosts_asked": False}),
    (
        2,
        {
            "mayor_hung_ms": 0,
            "mayor_looks_once": False,
            "destroyed_told": False,
            "retired_every_ms": 0,
            "failed_counted": False,
        },
    ),
)
"""What policies up to a version did without."""

encode_policy = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Policy)


def decode_policy(body: bytes) -> Policy:
    """Return a stored policy; one of before decides nothing that its version did not, as then."""
    policy = _decoder.decode(body)
    for version, without in _WITHOUT:
        if policy.version <= version:
            policy = replace(policy, **without)
    return policy


def cooldown_ms(policy: Policy, failed: int) -> int:
    """Return the wait before the next attempt after `failed` failed ones."""
    return policy.cooldowns_ms[min(failed, len(policy.cooldowns_ms) - 1)]


def doubled_ms(first_ms: int, cap_ms: int, times: int) -> int:
    """Return a wait that has been doubled `times` times, at most `cap_ms`."""
    return min(first_ms << min(max(times, 0), 40), cap_ms)
