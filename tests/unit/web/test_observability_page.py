"""What the way to a node waits for is named in every phase of an instance, and never an error."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from holdfast.web.pages.observability import waits_for
from holdfast.wire.api.instances import InstanceDetail, ObserverView, StartPhase, StartView, Status
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
