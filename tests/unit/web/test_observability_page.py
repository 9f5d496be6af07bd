"""What the way to a node waits for is named in every phase of an instance, and never an error."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.web.pages.observability import waits_for
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.consent import ConsentList, NodeConsent
from holdfast.wire.api.content import NodeDetail
from holdfast.wire.api.instances import InstanceDetail, ObserverView, StartPhase, StartView, Status
from holdfast.wire.times import time_text
from tests.support.samples import sample
from tests.unit.web.sample_pages import SamplePages
from tests.unit.web.shapes import view


def detail(status: str = "running", **fields: Any) -> InstanceDetail:
    return InstanceDetail(instance=view(status=status), **fields)


def start(state: str, reason: str = "") -> StartView:
    done = {"name": "decrypting", "state": "done", "critical": True, "took_ms": 1}
    phase = {"name": "onboard", "state": state, "critical": False, "took_ms": 1, "reason": reason}
    return StartView(phases=tuple(msgspec.convert(one, StartPhase) for one in (done, phase)))


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_names_what_is_waited_for(status: str) -> None:
    assert "regist" in waits_for(detail(status))


def test_a_start_is_named_by_its_phase() -> None:
    said = waits_for(detail("starting", start=start("running")))
    assert "Its machine is starting" in said
    assert "“Makes the agent's first files”" in said
    said = waits_for(detail("running", start=start("failed", "no disk")))
    assert "failed at “Makes the agent's first files”: no disk." in said
    assert "failed" not in waits_for(detail("running", start=start("done")))


@pytest.mark.parametrize(("state", "words"), [("off", "put right"), ("failing", "by itself")])
def test_where_no_observer_runs_no_minute_is_promised(state: str, words: str) -> None:
    said = waits_for(detail(observer=ObserverView(state=state, reason="r")))
    assert words in said
    assert "minute" not in said


class WithNode(SamplePages):
    """A fleet of which one machine has registered; `heard_at` is when it was heard."""

    heard_at: str | None = None
    classes: tuple[str, ...] = ()

    def handlers(self) -> dict[str, Any]:
        node = sample(NodeConsent)

        async def consent(_call: Call) -> Reply:
            return Reply(ConsentList(items=(node,), total=1, looked_at=0, granted=0))

        async def content(_call: Call) -> Reply:
            found = sample(NodeDetail)
            of = replace(found.node, heard_at=self.heard_at, classes=self.classes)
            return Reply(replace(found, node=of))

        async def costs(_call: Call) -> Reply:
            raise Refusal(503, "busy", "The costs are busy.")

        return super().handlers() | {
            "consent.list": consent, "content.node": content, "costs.list": costs,
        }  # fmt: skip


async def test_a_registered_machine_names_its_first_heartbeat_and_then_a_yes() -> None:
    samples = WithNode()
    path = {"id": "in-0000"}
    assert "first heartbeat has not come yet" in await samples.show("page.observability", path=path)
    samples.heard_at = time_text(1)
    html = await samples.show("page.observability", path=path)
    assert "Nothing leaves it before its owner says yes." in html
    samples.classes = ("logs",)
    html = await samples.show("page.observability", path=path)
    assert "says yes" not in html
    assert "What may leave it" in html
