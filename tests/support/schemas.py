"""The API's document for schemathesis, and the checks of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import schemathesis
from schemathesis import checks
from schemathesis.checks import load_all_checks
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import BaseSchema

from holdfast.plane.openapi import document
from holdfast.wire.api.table import ENDPOINTS

# A stream has no end, a page no schema, and a check-in's answers depend on its order of checks.
ROWS = tuple(row for row in ENDPOINTS if row.kind == "json" and row.scope != "machine")

CHECKS: list[Any] = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def described() -> dict[str, Any]:
    """Return the document without credentials: each case gets an operator's."""
    found = document(ROWS, version="0.0.test")
    for path in found["paths"].values():
        for operation in path.values():
            del operation["security"]
    return found


SCHEMA: Final[BaseSchema] = schemathesis.openapi.from_dict(described())
LABELS: Final = tuple(
    f"{method.upper()} {path}"
    for path, operations in SCHEMA.raw_schema["paths"].items()
    for method in operations
)
"""Every operation of the document."""


def exercise(schema: BaseSchema, label: str, test: Callable[[Any], None]) -> None:
    """Give a test the cases of one operation, as `schema.parametrize` does.

    That makes the cases of all operations while tests are collected, in every process that may run
    one: half of what the collection of the suite took.
    """
    load_all_checks()
    operation = schema.find_operation_by_label(label)
    assert operation is not None, label
    build_operation_test(
        config=schema.config, operation=operation, test_func=test, given_kwargs={},
        feedback=FeedbackSources(constants_value_source=make_constants_value_source(schema)),
    )()  # fmt: skip
