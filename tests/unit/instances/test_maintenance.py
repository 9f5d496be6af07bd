"""Looking after an agent: who may, what its controller is asked, how the answers are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from holdfast.actors.ports import Reader
from holdfast.instances.maintenance import maintenance_handlers
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.api.endpoint import Empty
from holdfast.wire.api.maintenance import (
    CARE,
    ConfigPatch,
    ConfigReplace,
    ConfigRestore,
    DoctorStart,
    FileWrite,
)
from holdfast.wire.controller.calls import ControllerError, Trouble, understand
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from tests.support.samples import sample

OWNER = Principal(name="o", scope="owner", account="mine", kind="session")
EVERYTHING = frozenset(
    {"config.read", "config.versions", "config.replace", "config.patch", "config.restore",
     "files.tree", "files.read", "files.write", "doctor.run", "bootstrap.retry"}
)  # fmt: skip


class Rows:
    """A reader that knows one instance."""

    async def view(self, _view: str, key: str) -> tuple[bytes, str, int] | None:
        return {"in-1": (b"{}", "mine", 1), "in-2": (b"{}", "theirs", 1)}.get(key)


class Machine:
    """A controller that answers as it is told, and remembers what it was asked."""

    def __init__(self, answer: Any = None, announced: frozenset[str] = EVERYTHING) -> None:
        self.answer = answer
        self.announced = announced
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        return self.announced

    async def call(
        self,
        instance_id: str,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = 0,
    ) -> A:
        sent = msgspec.to_builtins(body)
        self.asked.append((endpoint.method, endpoint.target(path), dict(query or {}), sent))
        if isinstance(self.answer, Exception):
            raise self.answer
        return understand(200, msgspec.json.encode(self.answer), endpoint.response)


async def ask(machine: Machine, name: str, body: Any = None, **query: str) -> Any:
    handlers = maintenance_handlers(cast("Reader", Rows()), machine)
    instance = query.pop("id", "in-1")
    call = Call(endpoint=name, principal=OWNER, path={"id": instance}, query=query, body=body)
    return (await handlers[name](call)).body


async def refused(machine: Machine, name: str, body: Any = None, **query: str) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        await ask(machine, name, body, **query)
    return caught.value.status, caught.value.problem.code


def test_each_row_has_a_handler() -> None:
    assert set(maintenance_handlers(cast("Reader", Rows()), Machine())) == {
        row.name for row in CARE
    }


@pytest.mark.parametrize("row", CARE, ids=lambda row: row.name)
async def test_what_is_not_visible_is_not_there_and_asks_nobody(row: Any) -> None:
    machine = Machine()
    for instance in ("in-2", "in-3"):
        body = None if row.request is None else sample(row.request)
        code = await refused(machine, row.name, body, id=instance, path="a")
        assert code == (404, "no_such_instance")
    assert not machine.asked


async def test_what_is_not_announced_is_not_asked() -> None:
    for announced in (frozenset[str](), EVERYTHING - {"config.read"}):
        machine = Machine(announced=announced)
        assert await refused(machine, "config.get") == (409, "controller_too_old")
        assert not machine.asked


@pytest.mark.parametrize(
    ("trouble", "status"),
    [("not_running", 503), ("unreachable", 503), ("timeout", 504), ("too_old", 409),
     ("unauthorised", 502), ("broken", 502)],
)  # fmt: skip
async def test_trouble_is_told_apart(trouble: Trouble, status: int) -> None:
    machine = Machine(ControllerError(trouble, "why"))
    assert (await refused(machine, "doctor.run"))[0] == status


@pytest.mark.parametrize("answer", [{}, {"config": [], "etag": "e"}, {"config": {}}, []])
async def test_an_answer_that_breaks_its_schema_is_no_empty_one(answer: Any) -> None:
    assert await refused(Machine(answer), "config.get") == (502, "controller_answer_broken")


async def test_changes_carry_etag_and_force_only_when_given() -> None:
    machine = Machine({"ok": True, "etag": "e2", "changed": True})
    for name, body in (
        ("config.replace", ConfigReplace(config={"a": 1})),
        ("config.replace", ConfigReplace(config={"a": 1}, etag="e1", force=True)),
        ("config.patch", ConfigPatch(patch={"a": None})),
        ("config.patch", ConfigPatch(patch={}, etag="e1", force=True)),
        ("config.restore", ConfigRestore(version="base")),
    ):
        assert (await ask(machine, name, body)).etag == "e2"
    assert machine.asked == [
        ("POST", "/_kilo/config/replace", {}, {"config": {"a": 1}}),
        ("POST", "/_kilo/config/replace", {"force": "true"}, {"config": {"a": 1}, "etag": "e1"}),
        ("POST", "/_kilo/config/patch", {}, {"a": None}),
        ("POST", "/_kilo/config/patch", {"etag": "e1", "force": "true"}, {}),
        ("POST", "/_kilo/config/restore/base", {}, None),
    ]


async def test_a_tree_is_told_as_a_list_with_folders_first() -> None:
    leaf = {"name": "b", "path": "a/b", "type": "file"}
    folder = {"name": "a", "path": "a", "type": "directory", "children": [leaf]}
    cut = {"name": "c", "path": "c", "type": "directory", "children": [], "truncated": True}
    machine = Machine({"tree": [folder, cut], "truncated": True})
    found = await ask(machine, "files.list", path="x", depth="2")
    assert [(entry.path, entry.type, entry.more) for entry in found.entries] == [
        ("a", "directory", False), ("a/b", "file", False), ("c", "directory", True),
    ]  # fmt: skip
    assert found.truncated
    assert machine.asked[0][2] == {"path": "x", "depth": "2"}


async def test_a_doctor_that_never_ran_has_no_status() -> None:
    run = await ask(Machine({"hasRun": False, "status": None, "output": ""}), "doctor.run")
    assert (run.status, run.next) == ("", 0)


async def test_orders_are_passed_on() -> None:
    written = Machine({"etag": "e"})
    await ask(written, "files.write", FileWrite(path="p", content="c", create=True))
    assert written.asked[0][3] == {"path": "p", "content": "c", "create": True}
    retried = Machine({"ok": True, "phase": "doctor"})
    assert (await ask(retried, "bootstrap.retry", Empty())).phase == "doctor"
    busy = ControllerError("refused", "busy", status=409, code="openclaw_doctor_already_active")
    started = await refused(Machine(busy), "doctor.start", DoctorStart())
    assert started == (409, "openclaw_doctor_already_active")


def test_what_holds_secrets_is_not_printed() -> None:
    body = ConfigPatch(patch={"botToken": "hunter2"})
    assert "hunter2" not in repr(body)
    assert "hunter2" not in repr(FileWrite(path="p", content="hunter2"))
    assert all(
        row.audited or row.mutates for row in CARE if row.name in {"config.get", "files.read"}
    )
