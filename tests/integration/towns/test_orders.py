"""Every order about a town, through a whole plane with its real engine and stores."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from holdfast.kernel.ids import address
from holdfast.plane.rig_tokens import RigTokens
from holdfast.plane.wiring.town_notices import TownNotices
from holdfast.towns import events, ports
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.outgoing import FORGES, GATES, HOSTS, NOTICES
from holdfast.wire.api.table import ENDPOINTS
from tests.integration.towns.test_api import ask, order
from tests.support.asgi import call, json_headers
from tests.support.real_plane import Made, end, make
from tests.support.walk import body_of, target_of

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]
SECRET = "ghp_of-a-rig-that-nobody-sees"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Made]:
    made = await make(tmp_path_factory.mktemp("towns") / "home")
    yield made
    await end(made)


async def new_town(made: Made, name: str) -> str:
    """Make a town with a rig that drains, so that nothing of it moves by itself."""
    town = await order(made, "/api/towns", {"name": name})
    where = f"/api/towns/{town['id']}"
    await order(made, f"{where}/rigs", {"name": "web", "repository": "https://forge.test/web"})
    await order(made, f"{where}/drain", {"minutes": 60})
    return where


async def read(made: Made, path: str) -> Any:
    answer = await ask(made, "GET", path)
    assert answer.status == 200, answer.body
    return answer.json()


async def refused(made: Made, path: str, body: Any, *, method: str = "POST") -> tuple[Any, ...]:
    answer = await ask(made, method, path, body)
    said = answer.json()
    assert answer.status >= 400, said
    return answer.status, said["code"], said.get("field", "")


async def test_settings_change_one_by_one_and_a_town_is_found_by_its_name(made: Made) -> None:
    where = await new_town(made, "settings")
    changed = await ask(made, "PATCH", "/api/towns/settings", {"polecats_max": 3})
    assert changed.json()["settings"]["polecats_max"] == 3
    changed = await ask(made, "PATCH", where, {"auto_merge_delay_ms": 0, "merge_strategy": "pr"})
    found = (await read(made, "/api/towns/settings"))["settings"]
    assert (found["polecats_max"], found["merge_strategy"]) == (3, "pr")
    assert found["auto_merge_delay_ms"] == 0
    await ask(made, "PATCH", where, {"auto_merge_delay_ms": None})
    assert (await read(made, where))["settings"]["auto_merge_delay_ms"] is None
    assert await refused(made, where, {}, method="PATCH") == (400, "nothing_to_change", "body")
    bad = await refused(made, where, {"attempts_max": 0}, method="PATCH")
    assert (bad[0], bad[2]) == (400, "attempts_max")


async def test_a_rig_keeps_what_is_not_given_and_never_shows_its_token(made: Made) -> None:
    where = await new_town(made, "rigs")
    first = await order(made, f"{where}/rigs", {
        "name": "api", "repository": "https://forge.test/api.git", "forge": "github",
        "token": SECRET, "gates": {"lint": {"command": ["make", "lint"], "timeout_s": 60}},
        "commands": {"polecat": ["agent", "--prompt", "{prompt}"]}, "branch": "trunk",
    })  # fmt: skip
    assert (first["has_token"], first["gates"]["lint"]["timeout_s"]) == (True, 60)
    later = await order(made, f"{where}/rigs", {"name": "api", "agents_max": 2})
    assert later == {**first, "agents_max": 2}
    listed = await ask(made, "GET", f"{where}/rigs")
    assert SECRET.encode() not in listed.body
    town = where.rpartition("/")[2]
    core = made.plane.core
    settings = await core.stores.towns.rig(town, "api")
    assert settings is not None
    assert SECRET not in settings.token
    assert RigTokens(core.keyring).open(town, settings).reveal() == SECRET
    assert SECRET.encode() not in b"".join(
        path.read_bytes() for path in core.home.glob("*.db*") if path.is_file()
    )

    elsewhere = {"name": "api", "repository": "https://evil.test/api.git"}
    assert await refused(made, f"{where}/rigs", elsewhere) == (400, "token_needed", "token")
    assert await core.stores.towns.rig(town, "api") == settings
    without = await order(made, f"{where}/rigs", {**elsewhere, "token": None})
    assert (without["repository"], without["has_token"]) == (elsewhere["repository"], False)
    await order(made, f"{where}/rigs", {"name": "api", "token": SECRET})

    gone = await ask(made, "DELETE", f"{where}/rigs/api")
    assert (gone.status, gone.json()["gone"], gone.json()["has_token"]) == (200, True, False)
    assert await refused(made, f"{where}/rigs/nowhere", None, method="DELETE") == (
        404, "no_such_rig", "rig",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("repository", "answer"),
    [
        ("/srv/web", (403, "operators_only", "repository")),
        ("https://me:secret@forge.test/web", (400, "bad_repository", "repository")),
        ("http://forge.test/web", (400, "bad_repository", "repository")),
        ("ssh://forge.test/web", (400, "bad_repository", "repository")),
        ("https://", (400, "bad_repository", "repository")),
        ("--upload-pack=touch", (400, "bad_repository", "repository")),
    ],
)
async def test_a_repository_is_an_https_address_or_an_operators_folder(
    made: Made, repository: str, answer: tuple[Any, ...]
) -> None:
    town = await order(made, "/api/towns", {"name": f"r-{zlib.crc32(repository.encode())}"})
    where = f"/api/towns/{town['id']}/rigs"
    assert await refused(made, where, {"name": "web", "repository": repository}) == answer
    assert (await read(made, where))["items"] == []
    assert await made.plane.core.stores.towns.rigs(town["id"]) == ()
    if repository.startswith("/"):
        said = await ask(
            made, "POST", where, {"name": "web", "repository": repository},
            token=made.tokens.operator,
        )  # fmt: skip
        assert said.json()["repository"] == repository


async def test_gates_take_no_turns_of_landings(made: Made) -> None:
    (part,) = (one for one in made.plane.subjects.parts if one.name == "towns")
    assert set(part.providers) == {HOSTS, FORGES, GATES, NOTICES}
    assert part.providers[GATES].gate is not part.providers[FORGES].gate


async def test_an_agent_runs_on_instances_of_its_towns_account_alone(made: Made) -> None:
    where = await new_town(made, "hosts")
    answer = await ask(
        made, "POST", "/api/instances", {"name": "theirs"}, token=made.tokens.other_owner
    )
    theirs = answer.json()["id"]
    agent = {"role": "polecat", "rig": "web", "host": theirs}
    assert await refused(made, f"{where}/agents", agent) == (404, "no_such_instance", "host")
    mine = (await ask(made, "POST", "/api/instances", {"name": "mine"})).json()["id"]
    added = await order(made, f"{where}/agents", {**agent, "host": mine})
    assert added["host"] == mine


async def test_beads_are_slung_found_held_released_waived_and_cancelled(made: Made) -> None:
    where = await new_town(made, "beads")
    body = "A long text.\n" * 500
    one = await order(made, f"{where}/beads", {"rig": "web", "title": "Mend it", "body": body})
    short = one["id"][:12]
    two = await order(
        made, f"{where}/beads", {"rig": "web", "title": "Then this", "blocked_by": [short]}
    )
    assert (two["blocked_by"], two["title"]) == ([one["id"]], "Then this")
    found = await read(made, f"{where}/beads/{two['id']}")
    assert found["dependencies"] == [
        {"id": one["id"], "type": "blocks", "status": "open", "title": "Mend it"}
    ]
    assert (await read(made, f"{where}/beads/{short}"))["body"] == body
    assert await refused(made, f"{where}/beads/bead/hold", {}) == (409, "ambiguous", "bead")
    assert await refused(made, f"{where}/beads/zzzz/hold", {}) == (404, "no_such_bead", "bead")

    assert (await order(made, f"{where}/beads/{short}/hold", {}))["held"] is True
    why = await read(made, f"{where}/beads/{short}/why")
    assert (why["id"], why["status"]) == (one["id"], "open")
    assert why["waits"], why
    assert (await order(made, f"{where}/beads/{short}/release", {}))["held"] is False
    waived = await order(made, f"{where}/beads/{two['id']}/waive", {"blocker": short})
    assert (waived["blocked_by"], waived["blockers"]) == ([], 0)
    assert (await order(made, f"{where}/beads/{short}/cancel", {}))["status"] == "failed"
    live = await read(made, f"{where}/beads?status=live&type=issue&rig=web")
    assert [bead["id"] for bead in live["items"]] == [two["id"]]
    status = await read(made, f"{where}/status")
    assert (status["beads"]["open"], status["beads"]["failed"]) == (1, 1)
    page = await read(made, f"{where}/beads?limit=1")
    rest = await read(made, f"{where}/beads?limit=1&after={page['next']}")
    assert {page["items"][0]["id"], rest["items"][0]["id"]} == {one["id"], two["id"]}


async def test_what_was_refused_leaves_no_text_and_a_repeated_order_is_one_bead(made: Made) -> None:
    where = await new_town(made, "once")
    refusal = await refused(made, f"{where}/beads", {"rig": "nowhere", "title": "Lost"})
    assert refusal[:2] == (409, "no_such_rig")
    headers = {**json_headers(made.tokens.owner), "idempotency-key": "the-same"}
    said = [
        (await call(made.plane.app, "POST", f"{where}/beads", headers=headers, body=body)).json()
        for body in (b'{"rig":"web","title":"Once"}',) * 2
    ]
    assert said[0]["id"] == said[1]["id"]
    assert len((await read(made, f"{where}/beads"))["items"]) == 1
    assert await made.plane.core.stores.towns.erase(where.rpartition("/")[2]) == 2  # rig and text


async def test_a_convoy_is_staged_started_shown_and_cancelled(made: Made) -> None:
    where = await new_town(made, "convoys")
    tasks: list[dict[str, Any]] = [
        {"title": "Base"}, {"title": "Left", "depends_on": [0]},
        {"title": "Right", "depends_on": [0]}, {"title": "Top", "depends_on": [1, 2]},
    ]  # fmt: skip
    body = {"rig": "web", "title": "A new Door!", "tasks": tasks, "staged": True}
    made_one = await order(made, f"{where}/convoys", body)
    convoy = made_one["bead"]["id"]
    assert made_one["facts"]["branch"].startswith("convoy/a-new-door/")
    assert [task["title"] for task in made_one["tasks"]] == ["Base", "Left", "Right", "Top"]
    ids = [task["id"] for task in made_one["tasks"]]
    assert sorted(made_one["tasks"][3]["blocked_by"]) == sorted(ids[1:3])
    started = await order(made, f"{where}/convoys/{convoy}/start", {})
    assert (started["facts"]["staged"], started["tasks"][0]["staged"]) == (False, False)
    listed = (await read(made, f"{where}/convoys"))["items"]
    assert [(one["bead"]["title"], one["tasks"]) for one in listed] == [("A new Door!", [])]
    ended = await order(made, f"{where}/convoys/{convoy}/cancel", {})
    assert {task["status"] for task in ended["tasks"]} == {"failed"}
    assert await refused(made, f"{where}/convoys/{ids[0]}/start", {}) == (
        404, "no_such_convoy", "bead",
    )  # fmt: skip
    for tasks in ([{"title": "a", "depends_on": [0]}], [{"title": "a", "depends_on": [7]}]):
        bad = await refused(made, f"{where}/convoys", {**body, "tasks": tasks})
        assert bad == (400, "bad_dependency", "tasks[0].depends_on")
    circle = [{"title": "a", "depends_on": [1]}, {"title": "b", "depends_on": [0]}]
    bad = await refused(made, f"{where}/convoys", {**body, "tasks": circle})
    assert bad[:2] == (409, "cycle")


async def test_agents_get_mail_and_nudges_by_their_name(made: Made) -> None:
    where = await new_town(made, "agents")
    added = await order(made, f"{where}/agents", {"role": "polecat", "rig": "web", "name": "furio"})
    assert (added["name"], added["status"]) == ("furio", "idle")
    mail = await order(made, f"{where}/mail", {"to": "furio", "title": "Hello", "body": "Look."})
    assert (mail["type"], mail["title"]) == ("message", "Hello")
    nudge = await order(made, f"{where}/agents/{added['id']}/nudge", {"message": "Go on."})
    assert (await read(made, f"{where}/texts/{nudge['id']}"))["body"] == "Go on."
    assert await refused(made, f"{where}/mail", {"to": "nobody", "title": "a"}) == (
        404, "no_such_agent", "to",
    )  # fmt: skip
    gone = await ask(made, "DELETE", f"{where}/agents/furio")
    assert (gone.status, gone.json()["id"]) == (200, added["id"])
    assert (await read(made, f"{where}/agents"))["items"] == []


async def test_escalations_and_notices_are_shown_and_taken_on(made: Made) -> None:
    where = await new_town(made, "escalations")
    town = where.rpartition("/")[2]
    event = events.Escalated(escalation="esc-1", severity="high", category="help", about="b/x")
    core = made.plane.core
    await core.mailbox.ask(
        address(KIND, town), arrival(event, dedupe="e1", source="api"), wait_ms=20_000
    )
    (found,) = (await read(made, f"{where}/escalations"))["items"]
    assert (found["facts"]["severity"], found["bead"]["status"]) == ("high", "open")
    taken = await order(made, f"{where}/escalations/esc-1/acknowledge", {})
    assert taken["status"] == "closed"

    told = TownNotices(core.stores.towns, core.clock, core.log)
    for _ in range(2):
        await told.notice(town, ports.NoticeCall(code="breaker_opened", severity="critical"))
    (notice,) = (await read(made, f"{where}/notices"))["items"]
    assert (notice["code"], notice["severity"]) == ("breaker_opened", "critical")


async def test_a_drain_ends_by_its_nonce_and_a_pull_request_is_adopted(made: Made) -> None:
    where = await new_town(made, "drains")
    begun = await read(made, f"{where}/drain")
    other = await order(made, f"{where}/drain/end", {"nonce": "another"})
    assert other == begun
    assert (await order(made, f"{where}/drain/end", {"nonce": begun["nonce"]})) == {
        "draining": False, "nonce": "", "until": None,
    }  # fmt: skip
    pull = {"rig": "web", "branch": "fix", "pr_url": "https://forge.test/1", "title": "Theirs"}
    bead = await order(made, f"{where}/pull-requests", pull)
    found = await read(made, f"{where}/beads/{bead['id']}")
    assert (found["title"], found["review"]["pr_url"]) == ("Theirs", "https://forge.test/1")
    bad = await refused(made, f"{where}/pull-requests", {**pull, "pr_url": "http://forge.test/1"})
    assert bad[:2] == (409, "bad_pr_url")


async def test_a_closed_town_takes_no_work_and_has_no_token(made: Made) -> None:
    where = await new_town(made, "closing")
    await order(made, f"{where}/rigs", {"name": "web", "token": SECRET})
    closed = await order(made, f"{where}/close", {})
    assert closed["closed"] is True
    assert (await read(made, f"{where}/rigs"))["items"][0]["has_token"] is False
    bad = await refused(made, f"{where}/beads", {"rig": "web", "title": "Late"})
    assert bad[:2] == (409, "town_closed")


async def test_towns_of_other_accounts_are_not_there_on_any_route(made: Made) -> None:
    where = await new_town(made, "mine")
    town = where.rpartition("/")[2]
    rows = [
        row
        for row in ENDPOINTS
        if row.path.startswith("/api/towns/{id}") and row.scope != "attempt"
    ]
    assert len(rows) > 30
    for row in rows:
        for one in (town, "mine"):
            answer = await call(
                made.plane.app, row.method, target_of(row, id=one),
                headers=json_headers(made.tokens.other_owner), body=body_of(row),
            )  # fmt: skip
            assert (answer.status, answer.json()["code"]) == (404, "no_such_town"), row.name


async def test_an_agent_runs_only_on_an_instance_of_its_towns_account(made: Made) -> None:
    where = await new_town(made, "hosted")
    desk = {"name": "desk", "desired": "stopped"}
    instance = (await ask(made, "POST", "/api/instances", desk)).json()
    for host in (instance["id"], "desk"):
        agent = await order(
            made, f"{where}/agents", {"role": "polecat", "rig": "web", "host": host}
        )
        assert agent["host"] == instance["id"]
    bad = await refused(made, f"{where}/agents", {"role": "polecat", "rig": "web", "host": "none"})
    assert bad == (404, "no_such_instance", "host")
    headers = json_headers(made.tokens.other_owner)

    async def as_other(path: str, body: dict[str, str]) -> Any:
        content = msgspec.json.encode(body)
        return await call(made.plane.app, "POST", path, headers=headers, body=content)

    town = (await as_other("/api/towns", {"name": "theirs"})).json()["id"]
    rig = {"name": "web", "repository": "https://forge.test/web"}
    assert (await as_other(f"/api/towns/{town}/rigs", rig)).status == 200
    for host in (instance["id"], "desk"):
        body = {"role": "polecat", "rig": "web", "host": host}
        answer = await as_other(f"/api/towns/{town}/agents", body)
        assert (answer.status, answer.json()["code"]) == (404, "no_such_instance")
