"""Commands about nodes read every page, and find one node without reading all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from holdfast.cli.client import Client
from holdfast.cli.connection import Connection
from holdfast.cli.main import make_app
from holdfast.cli.naming import pick_node, resolve_node
from holdfast.cli.output import EXIT_MISSING
from holdfast.content.gate import Admitted
from holdfast.content.records import ABOUT, CRON, FILE, Row
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import NodeView
from holdfast.wire.consent import ContentClass, node_of_name
from holdfast.wire.limits import PAGE_ITEMS_MAX
from tests.unit.content.test_node_list import OWNER, listed, nodes

MANY = PAGE_ITEMS_MAX + 1


class Near(Client):
    """A client of the handlers themselves, without a server."""

    def __init__(self, count: int) -> None:
        super().__init__("http://127.0.0.1:1")
        self.calls = nodes(count)
        self.asked: list[str] = []

    def call(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        idempotency_key: str = "",
    ) -> Any:
        del body, idempotency_key
        self.asked.append(name)
        made = Call(name, OWNER, path=path or {}, query=query or {})
        return asyncio.run(self._reply(made))

    async def _reply(self, call: Call) -> Any:
        return (await self.calls.by_endpoint()[call.endpoint](call)).body

    def store(self, of: ContentClass, streams: list[str]) -> None:
        rows = [Row(name, "latest", ABOUT, 1, sealed=False, body=b'"x"') for name in streams]
        asyncio.run(self.calls._store.write(Admitted(0, of, rows, 1)))


@pytest.mark.parametrize(
    ("command", "of", "stream"),
    [("memory", "memory", FILE), ("cron", "metadata", CRON)],
)
def test_files_and_jobs_beyond_one_page_are_listed(
    command: str, of: ContentClass, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Near(1)
    plane.store(of, [f"{stream}{no:04}" for no in range(MANY)])
    monkeypatch.setattr("holdfast.cli.nodes.connect", lambda: Connection(plane))
    said = CliRunner().invoke(make_app("nodes"), ["nodes", command, "n00000", "--json"])
    assert said.exit_code == 0, said.output
    found = msgspec.json.decode(said.stdout)
    assert len(found["items"]) == MANY
    assert not found.get("next")


def test_a_node_is_found_by_its_id_in_one_call() -> None:
    plane, node = Near(MANY), node_of_name("local", "n00500")
    assert resolve_node(Connection(plane), node) == node
    assert plane.asked == ["content.nodes"]
    assert resolve_node(Connection(plane), "n00500") == node
    assert resolve_node(Connection(plane), node[:-2]) == node


def test_a_node_that_there_is_not_and_one_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        resolve_node(Connection(Near(1)), "nobody")
    assert ended.value.exit_code == EXIT_MISSING
    assert "no node has the id or name 'nobody'" in capsys.readouterr().err
    view: NodeView = asyncio.run(listed(nodes(1))).items[0]
    twins = [msgspec.structs.replace(view, id=each) for each in ("nd_a", "nd_b")]
    with pytest.raises(typer.Exit):
        pick_node("n00000", twins, where="")
    assert "use an id: nd_a, nd_b" in capsys.readouterr().err
    assert pick_node("nd_b", twins, where="") == "nd_b"
