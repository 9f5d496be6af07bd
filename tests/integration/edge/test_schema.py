"""Schemathesis reads the OpenAPI document and tries to make the edge contradict it."""

from __future__ import annotations

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from holdfast.plane.openapi import document
from holdfast.wire.api.table import ENDPOINTS
from tests.support.stub_plane import StubPlane

PLANE = StubPlane()
TOKENS = asyncio.run(PLANE.prepare())
# A stream has no end, a page no schema, and a check-in's answers depend on its order of checks.
ROWS = tuple(row for row in ENDPOINTS if row.kind == "json" and row.scope != "machine")

CHECKS: list[Any] = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


def described() -> dict[str, Any]:
    """Return the document without credentials: each case gets an operator's."""
    found = document(ROWS, version="0.0.test")
    for path in found["paths"].values():
        for operation in path.values():
            del operation["security"]
    return found


schema = schemathesis.openapi.from_dict(described())
schema.app = PLANE.edge


@schema.parametrize()
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_the_edge_keeps_to_its_own_description(case: Any) -> None:
    given = case.headers or {}
    case.headers = {**given, "authorization": f"Bearer {TOKENS.operator}"}
    case.call_and_validate(checks=CHECKS)
