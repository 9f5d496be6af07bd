"""What a field is read as that stored rows of before it leave out.

They stay in a data folder through upgrades. A default that changes alters what is made of the rows
that are there already.
"""

from __future__ import annotations

import pytest

from holdfast.actors import ports, record
from tests.support.declared_defaults import declared, written

DEFAULTS = """
actors.ports.Arrival
    cause="" by="" asked=""
actors.ports.Commit
    stamps=[] intents=[] effects=[] letters=[] claims=[] releases=[] probes=[] unprobes=[] views=[]
    alarm_ms=null alarm_changed=false state=null state_version=0 digest="" record=null
actors.ports.EffectRow
    cause="" supersedes=false status="waiting" attempts=0
actors.ports.LetterRow
    hops=0
actors.ports.Loaded
    since=[] state_digest=""
actors.ports.Logged
    cause="" by="" code="" message="" accepted_ms=0
actors.ports.Operation
    effects=[] outcomes=[]
actors.ports.Pending
    cause="" by=""
actors.ports.ProbeRow
    answer=""
actors.ports.Stamp
    code="" message=""
actors.record.Decision
    result="done" found=null effects=[]
actors.record.Input
    code="" message=""
actors.record.TickRecord
    inputs=[] decisions=[] withheld=[] changed_reasons=[] notes=[] deadline_ms=null phases_us=[]
"""
FOUND, WRITTEN = declared((ports, record)), written(DEFAULTS)


def test_each_stored_form_with_defaults_is_listed() -> None:
    assert sorted(FOUND) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_field_that_is_left_out_is_read_as_before(name: str) -> None:
    assert FOUND[name] == WRITTEN[name]
