"""The policy of instances: every interval and bound that the rules read.

It is a value, hashed and kept with each tick record, so that a replay uses the policy of its time
and a what-if can use another. The fold does not use it. Defaults are the figures of
docs/compat/instance-life.md except for the polling of machines in their desired state: check-ins
and one look a day replace it (see the decision record on looks).
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS


class Policy(Struct, frozen=True, kw_only=True, gc=False):
    """Intervals in ms. A look interval of 0 means: only the daily probe looks.

    `volumes` names the providers on which every machine has a volume. `down_after` is how many
    looks in a row must find a machine down that should run. `silent_restart_ms` is how long a
    machine that is there may stay silent before it is restarted, 0 for never; the wait doubles
    with each restart that did not help, up to `silent_restart_cap_ms`. `first_contact_ms` is how
    long a started machine may take until its first check-in, 0 for no limit.
    """

    start_timeout_ms: int = 5 * MINUTE_MS
    restart_soft_ms: int = 5 * MINUTE_MS
    restart_hard_ms: int = 15 * MINUTE_MS
    destroy_retry_ms: int = MINUTE_MS
    stale_provision_ms: int = 8 * HOUR_MS
    daily_look_ms: int = DAY_MS
    running_look_ms: int = 0
    idle_look_ms: int = 0
    look_jitter_ms: int = 0
    down_after: int = 1
    wait_ms: int = 20 * SECOND_MS
    call_ms: int = 30 * SECOND_MS
    stop_grace_ms: int = 15 * SECOND_MS
    step_retry_first_ms: int = SECOND_MS
    step_retry_cap_ms: int = 45 * SECOND_MS
    start_retry_first_ms: int = SECOND_MS
    start_retry_cap_ms: int = 5 * MINUTE_MS
    denied_retry_ms: int = HOUR_MS
    silent_restart_ms: int = 15 * MINUTE_MS
    silent_restart_cap_ms: int = 6 * HOUR_MS
    first_contact_ms: int = 15 * MINUTE_MS
    key_renew_ms: int = 3 * DAY_MS
    volumes: tuple[str, ...] = ()


CONTRACT: Final = Policy(
    running_look_ms=5 * MINUTE_MS,
    idle_look_ms=30 * MINUTE_MS,
    look_jitter_ms=MINUTE_MS,
    down_after=5,
    wait_ms=MINUTE_MS,
)
"""The polling cadences of compat/instance-life.md, as another policy under the same rules."""

encode_policy = msgspec.json.Encoder().encode
decode_policy = msgspec.json.Decoder(Policy).decode


def step_backoff(policy: Policy) -> Backoff:
    """Return the waits between tries of one step."""
    return Backoff(first_ms=policy.step_retry_first_ms, cap_ms=policy.step_retry_cap_ms)


def start_backoff(policy: Policy) -> Backoff:
    """Return the waits between whole starts that failed."""
    return Backoff(first_ms=policy.start_retry_first_ms, cap_ms=policy.start_retry_cap_ms)


def silence_backoff(policy: Policy) -> Backoff:
    """Return the waits before a silent machine is restarted."""
    return Backoff(first_ms=policy.silent_restart_ms, cap_ms=policy.silent_restart_cap_ms, jitter=0)
