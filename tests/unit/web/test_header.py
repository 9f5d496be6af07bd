"""The top of an instance's page."""

from __future__ import annotations

import pytest

from holdfast.web.pages.instance import header
from holdfast.web.parts.moments import NOTHING
from holdfast.wire.api.instances import InstanceDetail
from holdfast.wire.confinement import Confinement
from tests.unit.web.shapes import NOW, view


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("bubblewrap+landlock", "running", "bubblewrap and Landlock"),
        ("none", "running", "none: this agent can read everything the plane's user can"),
        ("unknown", "running", "unknown: its controller does not tell"),
        ("none", "stopped", NOTHING),
    ],
)
def test_what_confines_the_running_agent_is_told_whole(
    kind: Confinement, status: str, words: str
) -> None:
    detail = InstanceDetail(instance=view(status=status, confinement=kind))
    facts = {fact.name: fact for fact in header(detail, now_ms=NOW).facts}
    assert facts["Confinement"].value.startswith(words)
    assert facts["Confinement"].is_long, "it is not cut off"
