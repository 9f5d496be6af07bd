"""What the rows of the tables say beyond their form: what changes something, what is recorded."""

from __future__ import annotations

from holdfast.wire.api.table import ENDPOINTS
from holdfast.wire.controller.table import ROUTES

CHANGES_NOTHING = {
    "clawmetry.alert", "clawmetry.approval", "clawmetry.assistant", "clawmetry.auth",
    "clawmetry.autonomy", "clawmetry.cache", "clawmetry.evaluate", "clawmetry.events",
    "clawmetry.files", "clawmetry.heartbeat", "clawmetry.ingest", "clawmetry.intent",
    "clawmetry.logs", "clawmetry.memory", "clawmetry.register", "clawmetry.sessions",
    "clawmetry.shared-trace", "clawmetry.snapshot", "clawmetry.stream", "clawmetry.trial",
    "controller.checkin", "controller.intent", "debug.graceful-stop", "debug.reconcile-dry-run",
    "debug.replay-events", "debug.send-message",
    "gradata.activation", "gradata.connect", "gradata.corpus", "gradata.correct",
    "gradata.manifest", "gradata.metrics", "gradata.push", "gradata.rules", "gradata.sync",
    "ingest.batch", "ingest.verdicts", "instance.open", "observer.copy", "observer.samples",
    "rehearse.dry-run", "rehearse.explain", "rehearse.replay", "rehearse.what-if",
    "tools.heartbeat",
}  # fmt: skip
"""Rows that are sent, and are no order of a person: they need no idempotency key."""


def test_what_is_sent_is_an_order_unless_it_is_a_program_or_a_question() -> None:
    assert {row.name for row in ENDPOINTS if row.method != "GET" and not row.mutates} == (
        CHANGES_NOTHING
    )
    assert not [row.name for row in ENDPOINTS if row.method == "GET" and row.mutates]


def test_reads_of_an_agents_content_and_tries_of_its_rules_are_audited_too() -> None:
    assert {row.name for row in ENDPOINTS if row.audited and not row.mutates} == {
        "config.get", "content.export", "debug.bead", "debug.drain-status", "debug.graceful-stop",
        "debug.nudges", "debug.reconcile-dry-run", "debug.replay-events", "debug.send-message",
        "debug.status", "debug.wasteland", "debug.wasteland-beads", "files.read", "instance.open",
        "page.instance-next", "page.town-next", "page.town-what-if", "rehearse.dry-run",
        "rehearse.explain", "rehearse.replay", "rehearse.what-if",
    }  # fmt: skip


def test_what_programs_call_all_the_time_is_matched_first() -> None:
    hot = {row.name for row in ENDPOINTS if row.hot}
    assert hot == {
        "clawmetry.heartbeat", "clawmetry.wake", "controller.checkin", "controller.wake",
        "ingest.batch", "ingest.verdicts",
    }  # fmt: skip


def test_orders_of_a_controller_that_need_no_body() -> None:
    empty = {row.name for row in ROUTES if row.may_be_empty}
    assert empty == {"doctor.start", "gateway.ladder.stop"}


def test_a_controller_can_answer_each_call_with_200() -> None:
    assert not [row.name for row in ROUTES if 200 not in row.statuses]
