"""What `holdfast-tool` declares is what the endpoint table takes."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.town_tool.declared import TOOLS, Tool
from holdfast.wire.api.table import ENDPOINTS

ROWS = {row.name.removeprefix("tools."): row for row in ENDPOINTS if row.scope == "attempt"}
NOT_OFFERED = {"heartbeat": {"attempt", "waits"}}
"""Fields for programs: the token says the attempt, and the mayor's host that it waits."""


def test_each_row_is_a_tool_and_the_other_way_round() -> None:
    assert {tool.name for tool in TOOLS} == set(ROWS)
    for tool in TOOLS:
        assert ROWS[tool.name].path == f"/api/towns/{{id}}/tools/{tool.name}"
        assert tool.reads == (ROWS[tool.name].method == "GET")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_has_the_arguments_of_its_request(tool: Tool) -> None:
    request = ROWS[tool.name].request
    fields = {} if request is None else {f.name: f for f in msgspec.structs.fields(request)}
    for name in NOT_OFFERED.get(tool.name, ()):
        assert not fields.pop(name).required
    assert {one.name for one in tool.arguments} == set(fields)
    for one in tool.arguments:
        assert one.required == fields[one.name].required, one.name
    if request is not None:
        schema = msgspec.json.schema(request)
        described = schema["$defs"][request.__name__]["properties"]
        for one in tool.arguments:
            if one.choices:
                assert {*one.choices} == {*described[one.name]["enum"]}
