"""Every limit of consent in the plane, by name."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.clock import MINUTE_MS, SECOND_MS

UNSIGNED_MAX: Final = 16
"""Documents of a node that wait for a signature before another grant is refused and no deletion is
begun. A revocation is never refused: it needs something that was not revoked yet, so that refused
grants bound both."""

NUMBERS_GAP: Final = 64
"""How far beyond a number that a node reports the next document is: receipts after the last grant
that it saw had numbers too, before the plane was restored."""

NUMBERS_STEP_MAX: Final = 1_000_000
"""How far a node's report can raise its numbers at once, so that none can use them all up."""

SIGN_VALID_MS: Final = 5 * MINUTE_MS
"""How long a document may wait in its lane."""

SIGN_ANSWER_MS: Final = 10 * MINUTE_MS
"""How long a document may have no outcome before it is sent again: longer than it is valid."""

SIGN_TIMEOUT_MS: Final = 30 * SECOND_MS
"""Timeout of a signature."""

DELETE_VALID_MS: Final = 5 * MINUTE_MS
DELETE_TIMEOUT_MS: Final = 10 * MINUTE_MS
"""Timeout of one deletion: what is stored of a node may be gigabytes."""
DELETE_ANSWER_MS: Final = 20 * MINUTE_MS
"""How long a deletion may have no outcome before it is asked for again."""

RETRY_FIRST_MS: Final = 5 * SECOND_MS
RETRY_CAP_MS: Final = 10 * MINUTE_MS
"""Waits between tries of a signature or deletion that failed."""

RENEW_AT_ONCE: Final = 16
"""Nodes whose grants are signed anew at a time after a rotation. Of 64, a decision of an owner
beside them waited for 155 ms by the median."""
RENEW_WAIT_S: Final = 10.0
"""How long these are waited for; one whose signature fails is looked at an hour later."""
RENEW_LOOK_S: Final = 0.02
RENEW_FIRST_S: Final = 180.0
"""When a plane that was started looks for grants that another key signed: after two heartbeats of
each node. A node may know of a higher number than a data folder that was put back, and that has to
close it first."""
RENEW_AGAIN_S: Final = 3_600.0
