"""Schemathesis reads the OpenAPI document and tries to make the edge contradict it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from tests.support.schemas import CHECKS, LABELS, SCHEMA, exercise
from tests.support.slices import each
from tests.support.stub_plane import StubPlane

PLANE = StubPlane()
TOKENS = asyncio.run(PLANE.prepare())


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def keeps_to_it(case: Any) -> None:
    given = case.headers or {}
    case.headers = {**given, "authorization": f"Bearer {TOKENS.operator}"}
    case.call_and_validate(checks=[*CHECKS, checks.negative_data_rejection])


# tests/integration/plane/test_real_app.py takes all of them to the real handlers.
@pytest.mark.parametrize("label", each(3, LABELS))
def test_the_edge_keeps_to_its_own_description(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SCHEMA, "app", PLANE.edge)
    exercise(SCHEMA, label, keeps_to_it)
