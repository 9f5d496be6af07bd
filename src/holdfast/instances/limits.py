"""Every limit of an instance, by name.

The fold has no policy, so what the fold itself must know stands here; what an operator may set
stands in `policy.py`.
"""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import MINUTE_MS, SECOND_MS

CONFIG_BYTES_MAX: Final = 11_264
"""Variables and sealed secrets of one instance as JSON, so that its state fits in 16 KiB."""

SECRETS_MAX: Final = 50
"""Custom secrets of one instance (compat/instance-life.md), beside the catalogue's fields."""

VARIABLES_MAX: Final = 200
"""Plain variables of one instance."""

FAULT_CHARS_MAX: Final = 240
"""Characters kept of an error's text in the state; the event in the log keeps more."""

LOST_CLAIMS_MAX: Final = 4
"""Claims that were lost and are remembered, the newest."""

DOOMED_MAX: Final = 8
"""Machines that wait for their destruction; names are unique, so more than two is a surprise."""

HEALTHY_RUN_MS: Final = 10 * MINUTE_MS
"""A run this long shows that starting works: the count of failures begins anew after it."""

START_FRESH_MS: Final = 5 * MINUTE_MS
"""A second order to start is idempotent within this time of the first
(compat/instance-life.md)."""

LISTING_LAG_MS: Final = 2 * MINUTE_MS
"""A machine whose creation was never answered may be missing from a listing for this long after
it was decided: the call may be sent 30 s later, be done 30 s after that, and listings lag. As
long a launch that was given up may yet be done."""

VOLUME_TRIES_MAX: Final = 50
"""Failed deletions of a volume before it is given up and named for a person
(compat/instance-life.md)."""

CLOCK_BACK_MS: Final = 5 * SECOND_MS
"""How far the clock may be behind what is remembered before it counts as set back; less than
this lengthens a wait by as much, and no more."""

LAUNCH_MS: Final = MINUTE_MS
"""A machine seen as created comes up by itself within this time, or was not to be launched."""

HAND_OVER_FIRST_MS: Final = 30 * SECOND_MS
HAND_OVER_CAP_MS: Final = 60 * MINUTE_MS
"""First and longest wait between tries to make a key or deliver secrets, which last for days."""

RELAUNCH_MS: Final = 10 * MINUTE_MS
"""Time before expiry at which a machine without new secrets is launched anew to get them."""

DOUBT_MS: Final = MINUTE_MS
"""How long after a restore a machine may refuse its present key before it is launched anew: two
tries."""

REVISIONS_SKIPPED: Final = 1_000_000
"""Revisions of the directive that a restored journal may lack: a controller takes only a later one
for news. Nobody gives as many orders between two backups."""

KEY_LIFE_MS: Final = 30 * 24 * 60 * MINUTE_MS
"""How long a key is good (compat/instance-life.md)."""

MINT_MS: Final = 15 * SECOND_MS
"""How long making a key may take before it is given up (compat/instance-life.md)."""

OVERLAP_MS_MAX: Final = 7 * 24 * 60 * MINUTE_MS
"""The longest that replaced tokens may stay good; controllers take no more either."""
