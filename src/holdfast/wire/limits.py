"""Every limit on what crosses the network, by name."""

from __future__ import annotations

from typing import Final

BODY_BYTES_MAX: Final = 65_536
"""A request body, unless its endpoint says otherwise."""

CHECKIN_BODY_BYTES_MAX: Final = 16_384
"""A check-in; a real one takes less than 1 KiB."""

TEXT_MAX: Final = 128
"""Characters of a name, version or id in a message."""

REASON_MAX: Final = 512
"""Characters of a reason or an error text in a message."""

COUNTER_MAX: Final = 2**53 - 1
"""The largest counter that every JSON reader keeps exactly."""

BOOTS_MAX: Final = 4
"""Earlier boots whose last counters a check-in repeats."""

COMMANDS_MAX: Final = 16
"""Commands in one directive."""

OUTCOMES_MAX: Final = 16
"""Outcomes of commands in one check-in."""

WAKE_WAIT_S_MAX: Final = 30
"""How long the plane holds a long poll open, in seconds."""

TIME_TEXT_MAX: Final = 32
"""Characters of a time in ISO 8601."""

ENV_NAME_MAX: Final = 128
"""Characters of the name of an environment variable."""

ENV_VALUE_MAX: Final = 8_192
"""Characters of the value of an environment variable; Linux itself stops at 128 KiB."""

ENV_VARIABLES_MAX: Final = 200
"""Environment variables of one instance, plain or secret."""

INSTANCE_BODY_BYTES_MAX: Final = 1_048_576
"""A request that carries environment variables."""

PAGE_ITEMS_MAX: Final = 500
"""Items in one page of a list."""

BULK_ITEMS_MAX: Final = 500
"""Instances in one bulk request."""

LOG_LINES_MAX: Final = 1_000
"""Lines of one answer of a log tail."""

LOG_LINE_MAX: Final = 8_192
"""Characters of one log line; a longer one is cut by the machine."""

CHART_POINTS_MAX: Final = 2_000
"""Points of one series of a chart."""

STEPS_MAX: Final = 1_000
"""Steps in the story of one operation, facts of an explanation, actions of a rehearsed tick."""

REHEARSAL_TICKS_MAX: Final = 1_000
"""Ticks in the answer of one rehearsal."""

REHEARSAL_EVENTS_MAX: Final = 64
"""Invented events in one rehearsal; what one tick takes."""

PASSWORD_MIN: Final = 12
"""Characters of a password; NIST SP 800-63B asks for 8 at least, 15 where it is the only factor."""

PASSWORD_MAX: Final = 256
"""Characters of a password, so that hashing it has a greatest cost."""

SECRET_TEXT_MAX: Final = 128
"""Characters of a token, session or sign-in link; ours take less than 64."""

IDEMPOTENCY_KEY_MAX: Final = 128
"""Characters of an `Idempotency-Key`."""
