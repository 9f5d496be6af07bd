"""Instances are found by id and by name alike, and only by who may see them."""

from __future__ import annotations

import pytest

from holdfast.plane.wiring.instance_names import InstanceNames, by_name
from holdfast.wire.api.call import Call, Principal, Refusal, Reply
from holdfast.wire.api.instances import InstanceView
from holdfast.wire.api.table import ENDPOINTS
from tests.unit.web.shapes import view


class Rows:
    def listen(self, saw: object) -> None:
        self.saw = saw

    def show(self, instance: str, shown: InstanceView | None) -> None:
        self.saw(instance, shown)  # type: ignore[operator]


def names(*shown: InstanceView) -> tuple[Rows, InstanceNames]:
    rows = Rows()
    found = InstanceNames(rows)
    for one in shown:
        rows.show(one.id, one)
    return rows, found


def test_a_name_is_found_in_its_account_and_an_id_goes_first() -> None:
    _, found = names(view(id="i1", name="atlas"), view(id="i2", name="i1", account="other"))
    assert found.find("atlas", "local") == "i1"
    assert found.find("atlas", "other") == "atlas", "another account's is not found"
    assert found.find("i1", None) == "i1", "an id means the instance of this id"
    assert found.find("nobody", None) == "nobody"


def test_a_name_of_two_accounts_is_refused_with_both_ids() -> None:
    _, found = names(view(id="i1", name="a"), view(id="i2", name="a", account="other"))
    assert found.find("a", "other") == "i2"
    with pytest.raises(Refusal) as refusal:
        found.find("a", None)
    assert (refusal.value.status, "i1, i2" in refusal.value.problem.fix) == (400, True)


def test_a_name_that_is_gone_or_changed_is_not_found() -> None:
    rows, found = names(view(id="i1", name="atlas"))
    rows.show("i1", view(id="i1", name="zeus"))
    assert (found.find("atlas", None), found.find("zeus", None)) == ("atlas", "i1")
    rows.show("i1", None)
    assert (found.find("zeus", None), found("i1")) == ("zeus", "")


@pytest.mark.parametrize(
    "endpoint", ["instance.get", "config.versions", "page.instance", "rehearse.dry-run"]
)
async def test_every_endpoint_about_an_instance_takes_its_name(endpoint: str) -> None:
    _, found = names(view(id="i1", name="atlas"))
    row = next(r for r in ENDPOINTS if r.name == endpoint)

    async def handler(call: Call) -> Reply:
        return Reply(call.path["id"])

    bound = by_name({row.name: handler}, ENDPOINTS, found)
    given = {"id": "atlas", "kind": "instance"}
    call = Call(row.name, Principal("ada", "owner", "local", "token"), path=given)
    assert (await bound[row.name](call)).body == "i1"
    resolved, name = found.resolve(row, call)
    assert (resolved.path["id"], name) == ("i1", "atlas")


def test_what_is_about_no_instance_has_no_name() -> None:
    _, found = names(view(id="i1", name="atlas"))
    row = next(r for r in ENDPOINTS if r.name == "rehearse.dry-run")
    given = {"id": "atlas", "kind": "town"}
    call = Call(row.name, Principal("ada", "owner", "local", "token"), path=given)
    assert found.resolve(row, call) == (call, "")
