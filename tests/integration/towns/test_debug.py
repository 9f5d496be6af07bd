"""The routes by which an operator looks into a town: by a real plane, its store and rehearsals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
import pytest_asyncio

from holdfast.kernel.ids import address
from holdfast.plane.town_debug import TownDebug
from holdfast.towns import events
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.state import NewBead
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.table import ENDPOINTS
from tests.integration.towns.test_api import ask, order
from tests.integration.towns.test_orders import new_town
from tests.support.asgi import call, json_headers
from tests.support.real_plane import Made, end, make
from tests.support.walk import body_of, target_of

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]
TITLE = "A title that is content"
BEFORE, AFTER = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Made]:
    made = await make(tmp_path_factory.mktemp("debug") / "home")
    yield made
    await end(made)


async def look(made: Made, where: str, what: str, body: Any = None, *, status: int = 200) -> Any:
    method = "POST" if what.startswith(("reconcile", "replay")) else "GET"
    path = f"/debug{where.removeprefix('/api')}/{what}"
    answer = await ask(made, method, path, body, token=made.tokens.operator)
    assert answer.status == status, answer.body
    return answer.json()


async def wait_for_nobody(made: Made, where: str, *arrived: Any) -> None:
    """Accept events that no tick takes yet: nobody wakes the owner."""
    actor = address(KIND, where.rpartition("/")[2])
    rows = []
    for number, event in enumerate(arrived):
        row = arrival(
            events.LoopResumed() if event is None else event, dedupe=f"w{number}", source="api"
        )
        rows.append((actor, msgspec.structs.replace(row, body=b"{") if event is None else row))
    await made.plane.core.stores.journal.accept(rows)


async def test_a_dry_run_says_what_the_next_tick_does_in_both_vocabularies(made: Made) -> None:
    where = await new_town(made, "dry")
    new = NewBead(id="bead-new", rig="web", content="c")
    await wait_for_nobody(made, where, None, events.BeadCreated(bead=new), events.DrainEnded())
    before = await look(made, where, "status")
    found = await look(made, where, "reconcile-dry-run")
    numbers = found["metrics"]
    assert (numbers["eventsDrained"], numbers["eventsFailed"]) == (3, 1)
    assert (numbers["pendingEventCount"], numbers["pendingAfter"]) == (3, 0)
    assert numbers["actionsEmitted"] == len(found["actions"]) > 0
    assert sum(numbers["actionsByType"].values()) == numbers["actionsEmitted"]
    assert [one["outcome"] for one in found["events"]] == ["quarantined", "applied", "applied"]
    assert found["basis"]["draining"] is True
    assert "bead-new" in msgspec.json.encode(found["actions"]).decode()
    assert found["diffVsLastTick"]["new"]

    refused = await look(made, where, "reconcile-dry-run?strict=true", status=422)
    assert (refused["code"], refused["field"]) == ("bad_event", "strict")
    after = await look(made, where, "status")
    assert after["alarmStatus"]["reconciler"] == before["alarmStatus"]["reconciler"]
    assert after["beadSummary"] == []


async def test_status_nudges_drain_and_beads_have_the_names_of_others(made: Made) -> None:
    where = await new_town(made, "seen")
    agent = await order(made, f"{where}/agents", {"role": "polecat", "rig": "web", "name": "furio"})
    bead = await order(made, f"{where}/beads", {"rig": "web", "title": TITLE, "body": "Secret"})
    await order(made, f"{where}/agents/furio/nudge", {"message": "Go on, please."})

    status = await look(made, where, "status")
    assert status["agentMeta"][0]["bead_id"] == agent["id"]
    (row,) = status["beadSummary"]
    assert (row["bead_id"], row["rig_id"], row["title"]) == (bead["id"], "web", "[hidden]")
    loop = status["alarmStatus"]
    assert (loop["agents"]["idle"], loop["beads"]["open"], loop["draining"]) == (1, 1, True)
    assert "BeadCreated" in {one["type"] for one in loop["recentEvents"]}
    revealed = await look(made, where, "status?reveal=true")
    assert revealed["beadSummary"][0]["title"] == TITLE

    nudges = await look(made, where, "nudges")
    assert [one["message"] for one in nudges["nudges"]] in ([], ["[hidden]"])
    drain = await look(made, where, "drain-status")
    assert (drain["draining"], drain["drainNonce"]) == (True, "[hidden]")
    assert (await look(made, where, "drain-status?reveal=true"))["drainNonce"].startswith("drain-")
    found = await look(made, where, f"beads/{bead['id'][:12]}?reveal=true")
    assert (found["bead"]["title"], found["bead"]["body"]) == (TITLE, "Secret")
    assert (found["reviewMetadata"], found["dependencies"]) == (None, [])
    hidden = await look(made, where, f"beads/{bead['id']}")
    assert "Secret" not in msgspec.json.encode(hidden).decode()

    pull = {"rig": "web", "branch": "fix", "pr_url": "https://forge.test/1", "title": "Theirs"}
    adopted = await order(made, f"{where}/pull-requests", pull)
    review = (await look(made, where, f"beads/{adopted['id']}"))["reviewMetadata"]
    assert (review["branch"], review["pr_url"]) == ("fix", "[hidden]")


async def test_a_replay_is_the_past_or_says_that_it_is_not(made: Made) -> None:
    where = await new_town(made, "past")
    first = await order(made, f"{where}/beads", {"rig": "web", "title": "One"})
    second = await order(made, f"{where}/beads", {"rig": "web", "title": "Two"})
    await order(made, f"{where}/beads/{first['id']}/cancel", {})
    span = {"from": BEFORE, "to": AFTER}

    past = await look(made, where, "replay-events", span)
    assert (past["caveat"], past["match"], past["differences"]) == ("", True, 0)
    assert past["eventsReplayed"] >= 5
    live = past["stateSnapshot"]["nonTerminalBeads"]
    assert [one["bead_id"] for one in live] == [second["id"]]
    assert len(past["ticks"]) == len({one["tick"] for one in past["ticks"]}) >= 5

    middle = past["ticks"][-2]["now"]
    early = await look(made, where, "replay-events", {"from": BEFORE, "to": middle})
    assert early["basis"]["toSeq"] < past["basis"]["toSeq"]
    assert len(early["stateSnapshot"]["nonTerminalBeads"]) == 2
    late = await look(made, where, "replay-events", {"from": past["ticks"][-1]["now"], "to": AFTER})
    assert (late["match"], late["basis"]["toSeq"]) == (True, past["basis"]["toSeq"])

    body = {**span, "mode": "what-if", "policy": {"poll_ms": 1_000}}
    assert (await look(made, where, "replay-events", body))["mode"] == "what-if"
    edited = {
        **span, "mode": "what-if",
        "events": [{"at_ms": 4_000_000_000_000, "event": {
            "type": "BeadCancelled", "bead": second["id"],
        }}],
    }  # fmt: skip
    answer = await look(made, where, "replay-events", edited)
    assert answer["stateSnapshot"]["nonTerminalBeads"] == []
    assert (answer["match"], answer["caveat"][:6]) == (None, "Events")

    over = await look(made, where, "replay-events", {**span, "mode": "overlay"})
    assert "present state" in over["caveat"]
    assert over["eventsReplayed"] >= 5


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"from": AFTER, "to": BEFORE}, 400, "bad_span", "from"),
        ({"from": "yesterday", "to": AFTER}, 400, "bad_time", "from"),
        ({"from": BEFORE, "to": "soon"}, 400, "bad_time", "to"),
        ({"from": BEFORE}, 400, "", "to"),
        ({"from": BEFORE, "to": AFTER, "policy": {"poll_ms": 1}}, 400, "bad_mode", "mode"),
        ({"from": BEFORE, "to": AFTER, "mode": "what-if", "policy": {"x": 1}}, 400,
         "bad_rehearsal", "body"),
        ({"from": BEFORE, "to": AFTER, "mode": "what-if",
          "events": [{"at_ms": 1, "event": {"type": "Nonsense"}}]}, 400, "bad_rehearsal", "body"),
    ],
)  # fmt: skip
async def test_a_bad_span_is_refused_by_its_field(
    made: Made, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    where = f"/api/towns/{(await order(made, '/api/towns', {'name': name_of(body)}))['id']}"
    said = await look(made, where, "replay-events", body, status=status)
    assert said["field"] == field
    assert code in {"", said["code"]}


def name_of(body: dict[str, Any]) -> str:
    """Return a name that is the same for the same body, and fits."""
    return "t" + msgspec.json.encode(body).hex()[-60:]


async def test_a_town_is_asked_so_often_and_other_routes_are_not_here(made: Made) -> None:
    where = await new_town(made, "often")
    for name in ("wasteland", "wasteland-beads"):
        assert (await look(made, where, name, status=404))["code"] == "not_here"
    answers = [await look_status(made, where) for _ in range(40)]
    assert answers[0] == 200
    assert answers[-1] == 429


async def look_status(made: Made, where: str) -> int:
    path = f"/debug{where.removeprefix('/api')}/drain-status"
    return (await ask(made, "GET", path, token=made.tokens.operator)).status


async def test_every_debug_route_is_for_operators_who_see_the_town_and_audited(made: Made) -> None:
    where = await new_town(made, "secret")
    town = where.rpartition("/")[2]
    rows = [row for row in ENDPOINTS if row.path.startswith("/debug/")]
    assert len(rows) >= 10

    async def status(row: Endpoint, token: str, one: str) -> int:
        target, body = target_of(row, id=one), body_of(row)
        headers = json_headers(token) if token else json_headers()
        return (await call(made.plane.app, row.method, target, headers=headers, body=body)).status

    for row in rows:
        assert (row.scope, row.audited, row.mutates) == ("operator", True, False), row.name
        for token, refusal in (("", 401), (made.tokens.owner, 403), (made.tokens.node, 401)):
            assert await status(row, token, town) == refusal, row.name
        assert await status(row, made.tokens.operator, "nowhere") == 404, row.name
    audited = await ask(made, "GET", "/api/audit?limit=100", token=made.tokens.operator)
    assert {row.name for row in rows} <= {one["endpoint"] for one in audited.json()["items"]}


async def test_an_operator_of_an_account_sees_no_town_of_another_on_any_debug_route(
    made: Made,
) -> None:
    town = (await new_town(made, "elsewhere")).rpartition("/")[2]
    stores, nobody = made.plane.core.stores, cast("Any", None)
    handlers = TownDebug(worker=nobody, reader=stores.reader, records=stores.towns).by_endpoint()
    who = Principal("them", "operator", "other", "token")
    for name, handler in handlers.items():
        for one in (town, "elsewhere"):
            with pytest.raises(Refusal, match="404 no_such_town"):
                await handler(Call(name, who, path={"id": one, "bead": "b"}))
