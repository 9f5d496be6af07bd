"""Reports by the Sentry SDK.

The client is ours alone and never the global one: nothing is patched, no integration runs, no log
line, exception, trace or session is sent. What leaves is filtered by an allow-list of fields, so
that a later version of the SDK cannot add any.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sentry_sdk import Client

from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.world.reports.port import Report

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

CLOSE_S: Final = 2.0
"""How long the end waits for reports that are not sent."""

SENT: Final = frozenset(
    {
        "event_id",
        "extra",
        "fingerprint",
        "level",
        "logger",
        "message",
        "platform",
        "release",
        "sdk",
        "tags",
        "timestamp",
    }
)
"""The fields of an event that leave this process."""


class SentryReports:
    """Reports as events of level error; the SDK's own thread sends them."""

    def __init__(self, dsn: str, *, release: str, log: Log) -> None:
        """Send to the project that `dsn` names; raise ValueError where it is none."""
        self._log = log
        self._client = Client(
            dsn,
            release=release,
            environment="production",
            server_name="",
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            enable_logs=False,
            enable_metrics=False,
            attach_stacktrace=False,
            include_local_variables=False,
            include_source_context=False,
            propagate_traces=False,
            spotlight=False,
            max_breadcrumbs=0,
            before_send=_allowed,
        )

    def send(self, report: Report) -> None:
        """Send it soon; it may be lost."""
        event: Event = {
            "level": "error",
            "logger": "holdfast",
            "message": report.message,
            "fingerprint": [*report.fingerprint],
            "tags": dict(report.tags),
            "extra": dict(report.extra),
        }
        try:
            self._client.capture_event(event)
        except Exception as error:  # noqa: BLE001  a report is never worth the work it is about
            self._log.warning("reports.not_sent", reason=brief(error))

    async def close(self) -> None:
        """Send what waits, for two seconds at most."""
        await asyncio.to_thread(partial(self._client.close, timeout=CLOSE_S))


def _allowed(event: Event, _hint: Hint) -> Event:
    """Return the event with the allowed fields alone."""
    return cast("Event", {name: value for name, value in event.items() if name in SENT})
