"""What a field is read as that stored rows of before it leave out.

They stay in a data folder through upgrades. A default that changes alters what is made of the rows
that are there already.
"""

from __future__ import annotations

import pytest

from holdfast.pairing import events, policy, ports, requests, state
from tests.support.declared_defaults import declared, written

DEFAULTS = """
pairing.events.DecisionDone
    via=""
pairing.events.DecisionDoubted
    runs=false
pairing.events.InstanceGone
    account=""
pairing.events.PairingDecided
    remember=null
pairing.events.PolicySet
    rules=[] version=null
pairing.policy.Rule
    channel="" role="" scopes=[] expires_ms=0 by="" created_ms=0
pairing.ports.Listing
    requests=[] complete=true sources=[] error=""
pairing.ports.LookCall
    early=false
pairing.ports.Place
    provider="" machine_id="" epoch=0 config_version=0
pairing.ports.Source
    last_success_ms=0 error="" stale=false
pairing.requests.Asked
    channel="" code="" machine_id="" sender="" fingerprint=""
pairing.requests.Waiting
    sender_name="" account="" roles=[] scopes=null platform="" client="" created_ms=null
    expires_ms=null
pairing.state.Decision
    by="" rule="" tries=0 code="" message="" via="" asked=null remember=null runs_until_ms=0
pairing.state.Pairing
    account="" epoch=0 serial=0 mode="manual" policy_version=0 rules=[] decisions=[] gone=false
"""
FOUND, WRITTEN = declared((events, policy, ports, requests, state)), written(DEFAULTS)


def test_each_stored_form_with_defaults_is_listed() -> None:
    assert sorted(FOUND) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_field_that_is_left_out_is_read_as_before(name: str) -> None:
    assert FOUND[name] == WRITTEN[name]
