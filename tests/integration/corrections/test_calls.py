"""Brains and people through the whole plane: what is sent, and what is visible."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from holdfast.corrections import limits
from holdfast.letters.topics import BRAIN, CORRECTION, LESSON
from holdfast.wire.api.call import Principal
from holdfast.wire.limits import INGEST_BODY_BYTES_MAX
from tests.integration.corrections.conftest import Town, make_town
from tests.support.toys.brains import body, correction, event, lesson


async def corrections(town: Town, query: str = "", *, by: str = "owner") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await town.get(f"/api/corrections{query}", by=by))["items"]
    return found


async def test_a_batch_is_answered_when_it_is_on_the_disk_and_can_be_seen(town: Town) -> None:
    now_ms = town.plane.core.clock.now_ms()
    first, second = correction(1, context="why"), correction(5, "a", "b")
    first["at_ms"] = second["at_ms"] = now_ms
    sent = body(first, lesson(2), event(3), second)
    answer = await town.send(sent)
    assert answer == {
        "accepted": 4, "deduplicated": 0, "refused": [], "high_water": 3, "verdicts": 0,
    }  # fmt: skip
    assert (await town.send(sent))["deduplicated"] == 4
    second, first = await corrections(town)
    assert (first["draft"], first["final"], first["count"]) == ("hello", "Hello!", 1)
    assert (first["brain_name"], first["category"], first["routes"]) == (
        "kalle",
        "TONE",
        ["ingest"],
    )
    assert second["draft"] == "a"
    whole = await town.get(f"/api/corrections/{first['id']}")
    assert (whole["context"], whole["event_ids"], whole["sdk"]) == (
        "why",
        ["c-1"],
        "holdfast/0.1.0",
    )
    (brain,) = (await town.get("/api/brains"))["items"]
    assert (brain["accepted"], brain["deduplicated"], brain["missing"]) == (4, 4, 1)
    detail = await town.get(f"/api/brains/{brain['id']}")
    assert detail["sources"][0]["gaps"] == [{"first": 4, "last": 4}]
    assert detail["versions"][0]["accepted"] == 4
    trend = await town.get(f"/api/brains/{brain['id']}/trend?window=30d")
    assert sum(sum(one["values"]) for one in trend["charts"][0]["series"]) == 2


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    town = await make_town(tmp_path / "home")
    await town.send(body(correction(1), correction(4, "a", "b")))
    before = await town.get("/api/brains")
    await town.plane.stop()
    again = await make_plane_again(tmp_path / "home", town)
    assert await again.get("/api/brains") == before
    answer = await again.send(body(correction(1), correction(2, "c", "d")))
    assert (answer["accepted"], answer["deduplicated"], answer["high_water"]) == (1, 1, 2)
    await again.plane.stop()


async def make_plane_again(home: Path, town: Town) -> Town:
    """Return the plane of a folder started anew, with the tokens and the key from before."""
    from holdfast.kernel.clock import SystemClock  # noqa: PLC0415
    from holdfast.plane.settings import load_settings  # noqa: PLC0415
    from holdfast.plane.wiring.plane import make_plane  # noqa: PLC0415

    chosen = load_settings({}, home=str(home), public_url="http://plane.test")
    plane = await make_plane(chosen, clock=SystemClock(), log=town.log, url="http://plane.test")
    await plane.start()
    return Town(plane, town.log, town.tokens, town.key)


async def test_what_another_account_has_does_not_exist(town: Town) -> None:
    await town.send(body(correction(1), lesson(2)))
    (row,) = await corrections(town)
    (brain,) = (await town.get("/api/brains"))["items"]
    (known,) = (await town.get("/api/lessons"))["items"]
    (key,) = (await town.get("/api/brain-keys"))["items"]
    for target in (
        f"/api/corrections/{row['id']}", f"/api/brains/{brain['id']}",
        f"/api/brains/{brain['id']}/trend", "/api/brains/kalle",
    ):  # fmt: skip
        await town.get(target, by="stranger", status=404)
    for listed in (
        "/api/corrections", f"/api/corrections?brain={brain['id']}", "/api/corrections?text=hello",
        "/api/brains", "/api/lessons", f"/api/lessons?brain={brain['id']}", "/api/brain-keys",
        "/api/brain-alerts", f"/api/brain-alerts?brain={brain['id']}",
    ):  # fmt: skip
        assert (await town.get(listed, by="stranger"))["items"] == [], listed
    for listed in ("/api/corrections", "/api/brains"):
        await town.get(f"{listed}?account=local", by="stranger", status=404)
    for method, target in (
        ("POST", f"/api/lessons/{known['id']}/approve"),
        ("POST", f"/api/lessons/{known['id']}/reject"), ("DELETE", f"/api/brain-keys/{key['id']}"),
    ):  # fmt: skip
        answer = await town.ask(method, target, {} if method == "POST" else None, by="stranger")
        assert answer.status == 404, target
    assert len(await corrections(town, by="operator")) == 1
    assert len(await corrections(town, "?account=other", by="operator")) == 0


async def test_a_name_that_a_sender_made_leads_nowhere_beyond_its_account(town: Town) -> None:
    await town.send(body(correction(1)))
    (brain,) = (await town.get("/api/brains"))["items"]
    theirs = (await town.make_key(by="stranger"))["key"]
    for name in ("kalle", brain["id"]):
        await town.send(body(correction(1, f"from {name}"), brain=name), key=theirs)
    assert len(await corrections(town)) == 1
    assert len(await corrections(town, by="stranger")) == 2
    assert {one["account"] for one in (await town.get("/api/brains", by="stranger"))["items"]} == {
        "other"
    }
    bound = (await town.ask("POST", "/api/brain-keys", {"name": "x", "brain": brain["id"]},
                            by="stranger")).json()  # fmt: skip
    assert bound["view"]["brain"] != brain["id"], "another's id is a name like any other"


async def test_a_key_of_one_brain_means_that_one_whatever_it_is_called(town: Town) -> None:
    made = await town.make_key("one", brain="kalle")
    for number, name in enumerate(("", "a-uuid", "another"), 1):
        await town.send(body(correction(number, f"d{number}"), brain=name), key=made["key"])
    (brain,) = (await town.get("/api/brains"))["items"]
    assert (brain["name"], brain["accepted"]) == ("kalle", 3)
    detail = await town.get(f"/api/brains/{brain['id']}")
    assert detail["aliases"] == []


async def test_what_the_holder_of_a_brains_own_key_calls_it_leads_nobody_else_there(
    town: Town,
) -> None:
    bound = (await town.make_key("one", brain="kalle"))["key"]
    (kalle,) = (await town.get("/api/brains"))["items"]
    for number, name in enumerate(("brain", "second", "third"), 1):
        await town.send(body(correction(number, f"d{number}"), brain=name), key=bound)
    await town.send(body(correction(1), brain="brain", source="src-2"))
    made = await town.make_key("two", brain="second")
    assert made["view"]["brain"] not in {"", kalle["id"]}
    answer = await town.ask("POST", "/api/brains", {"name": "third"})
    assert answer.status == 201, answer.body
    found = {one["name"]: one["accepted"] for one in (await town.get("/api/brains"))["items"]}
    assert found == {"kalle": 3, "brain": 1, "second": 0, "third": 0}


async def test_a_key_whose_revoking_was_not_stored_is_revoked_when_it_is_asked_again(
    tmp_path: Path,
) -> None:
    town = await make_town(tmp_path / "home")
    made = await town.make_key("gone")
    target = f"/api/brain-keys/{made['view']['id']}"
    store = town.plane.subjects.brains.store
    real = store.revoke_key

    async def fails(key_id: str, now_ms: int) -> None:
        raise OSError("the disk says no")

    store.revoke_key = fails  # type: ignore[method-assign]
    assert (await town.ask("DELETE", target)).status >= 500
    await town.send(body(correction(1)), key=made["key"], status=401)
    assert (await town.ask("DELETE", target)).status >= 500, "nothing is on the disk yet"
    store.revoke_key = real  # type: ignore[method-assign]
    first = (await town.ask("DELETE", target)).json()["revoked_at"]
    assert (await town.ask("DELETE", target)).json()["revoked_at"] == first
    await town.plane.stop()
    again = await make_plane_again(tmp_path / "home", town)
    await again.send(body(correction(1)), key=made["key"], status=401)
    assert (await again.ask("DELETE", target)).json()["revoked_at"] == first
    await again.plane.stop()


async def test_a_revoked_key_stops_at_once_and_no_other_proof_lets_a_brain_in(town: Town) -> None:
    made = await town.make_key("gone")
    await town.send(body(correction(1)), key=made["key"])
    answer = await town.ask("DELETE", f"/api/brain-keys/{made['view']['id']}")
    assert answer.json()["revoked_at"] is not None
    for proof in (made["key"], town.tokens["owner"], "hfb_" + "A" * 43, "gd_x", ""):
        refused = await town.send(body(correction(2)), key=proof or "none", status=401)
        assert refused["code"] == "not_authenticated"
        assert refused["detail"] == refused["message"]
    await town.get("/api/corrections", by=made["key"], status=401)
    await town.get("/api/corrections", by=town.key, status=401)
    home = town.plane.core.home
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert town.key.encode() not in kept
    assert made["key"].encode() not in kept
    assert not [line for line in town.log.lines if town.key in str(line)]


async def test_more_than_a_minute_allows_is_told_to_wait_and_nothing_of_it_is_kept(
    tmp_path: Path,
) -> None:
    town = await make_town(tmp_path / "home", corrections_per_minute=10)
    await town.send(body(*[correction(n, f"d{n}") for n in range(1, 9)]))
    more = body(*[correction(n, f"d{n}") for n in range(9, 12)])
    refused = await town.ask("POST", "/api/v1/ingest", more, by=town.key)
    assert refused.status == 429
    assert 1 <= int(refused.header("retry-after")) <= 61
    problem = refused.json()
    assert (problem["code"], problem["detail"]) == ("too_many_corrections", problem["message"])
    await town.send(body(*[correction(n, f"d{n}") for n in range(9, 11)]))
    quiet = body(*[correction(n, f"q{n}") for n in range(1, 11)], brain="quiet")
    assert (await town.send(quiet))["accepted"] == 10, "one brain's noise is not another's"
    assert len(await corrections(town)) == 20
    large = body(*[correction(n, f"l{n}") for n in range(1, 16)], brain="large")
    assert (await town.send(large))["accepted"] == 15, "more than a minute holds must pass too"
    one = body(correction(16, "l16"), brain="large")
    assert (await town.send(one, status=429))["code"] == "too_many_corrections"
    await town.plane.stop()


async def test_what_is_too_large_or_of_another_version_is_refused_as_said(town: Town) -> None:
    large = b" " * (INGEST_BODY_BYTES_MAX + 1)
    assert (await town.send(large, status=413))["code"] == "body_too_large"
    refused = await town.send(body(correction(1), version=99), status=400)
    assert refused["code"] == "unsupported_version"
    assert "1 to 1" in refused["detail"]
    odd = msgspec.json.encode(body(correction(1, "SPLIT"))).replace(b"SPLIT", rb"\ud83d")
    assert (await town.send(odd))["accepted"] == 1
    assert (await corrections(town))[0]["draft"] == "\ufffd"


async def test_lists_go_on_where_they_ended(town: Town) -> None:
    await town.send(body(*[correction(n, f"word{n % 2} d{n}") for n in range(1, 8)]))
    seen, after = [], ""
    while True:
        page = await town.get(f"/api/corrections?limit=3{after}")
        seen += [one["draft"] for one in page["items"]]
        if not page["next"]:
            break
        after = f"&after={page['next']}"
    assert seen == [f"word{n % 2} d{n}" for n in range(7, 0, -1)]
    found = await town.get("/api/corrections?text=WORD1%20d")
    assert len(found["items"]) == 4
    for bad in ("x", "1-2", "9" * 25):
        await town.get(f"/api/corrections?after={bad}", status=400)
    await town.send(body(lesson(11, "a"), lesson(12, "b"), lesson(13, "c")))
    page = await town.get("/api/lessons?limit=2")
    rest = await town.get(f"/api/lessons?limit=2&after={page['next']}")
    assert [one["lesson_id"] for one in (*page["items"], *rest["items"])] == ["c", "b", "a"]
    for name in "xyz":
        await town.send(body(correction(1, name), brain=name))
    page = await town.get("/api/brains?limit=3")
    rest = await town.get(f"/api/brains?limit=3&after={page['next']}")
    assert [one["name"] for one in (*page["items"], *rest["items"])] == ["kalle", "x", "y", "z"]


async def test_people_decide_about_lessons_and_brains_hear_of_it(town: Town) -> None:
    await town.send(body(lesson(1, "good"), lesson(2, "bad", state="RULE", text="Never greet.")))
    bad, good = (await town.get("/api/lessons"))["items"]
    approved = await town.ask("POST", f"/api/lessons/{good['id']}/approve", {})
    assert (approved.json()["decision"], approved.json()["decided_by"]) == ("approved", "owner")
    await town.ask("POST", f"/api/lessons/{bad['id']}/reject", {})
    assert [
        x["lesson_id"] for x in (await town.get("/api/lessons?decision=rejected"))["items"]
    ] == ["bad"]
    assert (await town.get("/api/lessons?decision=none"))["items"] == []
    told = await town.get("/api/v1/lessons", by=town.key)
    assert {one["lesson_id"]: one["decision"] for one in told["items"]} == {
        "good": "approved", "bad": "rejected"
    }  # fmt: skip
    rules = await town.send({"brain_id": "kalle", "task": "mail"}, "/brains/rules")
    assert rules["rules_text"] == "- [TONE] Greet by name."


async def asked(town: Town, *, key: str = "", status: int = 200, **body: Any) -> Any:
    question = {"version": 1, "brain": "kalle", "of": "", "known": 0, **body}
    return await town.send(question, "/verdicts", key=key, status=status)


async def test_a_brain_asks_for_what_is_newer_and_what_it_names_it_has(
    town: Town, tmp_path: Path
) -> None:
    ids = [f"l{n}" for n in range(3)]
    await town.send(body(*(lesson(n + 1, one) for n, one in enumerate(ids))))
    rows = {one["lesson_id"]: one["id"] for one in (await town.get("/api/lessons"))["items"]}
    for one, what in (("l0", "approve"), ("l1", "reject"), ("l0", "reject"), ("l2", "approve")):
        answer = await town.ask("POST", f"/api/lessons/{rows[one]}/{what}", {})
        assert (answer.status, answer.json()["taken"]) == (200, False)
    assert (await town.send(body(correction(9))))["verdicts"] == 4
    told = await asked(town)
    assert (told["revision"], told["upto"]) == (4, 4)
    assert [(v["number"], v["lesson_id"], v["verdict"], v["by"]) for v in told["items"]] == [
        (2, "l1", "rejected", "owner"),
        (3, "l0", "rejected", "owner"),
        (4, "l2", "approved", "owner"),
    ]
    assert all(0 <= one["age_ms"] < 60_000 for one in told["items"])
    # Asking is not taking; naming a number is, of this brain and up to what there is.
    for of, known in (("", 3), ("brn_0", 3), (told["brain"], 99)):
        assert len((await asked(town, of=of, known=known))["items"]) == 3
    assert not any(one["taken"] for one in (await town.get("/api/lessons"))["items"])
    (rest,) = (await asked(town, of=told["brain"], known=3))["items"]
    assert rest["lesson_id"] == "l2"
    lessons = (await town.get("/api/lessons"))["items"]
    assert {one["lesson_id"] for one in lessons if one["taken"]} == {"l0", "l1"}
    assert (await asked(town, of=told["brain"], known=4))["items"] == []
    await town.plane.stop()
    again = await make_plane_again(tmp_path / "home", town)
    assert all(one["taken"] for one in (await again.get("/api/lessons"))["items"])
    assert (await again.send(body(correction(10))))["verdicts"] == 4
    await again.plane.stop()


async def test_a_brain_asks_only_about_its_own_and_makes_none_by_asking(town: Town) -> None:
    await town.send(body(lesson(1)))
    (row,) = (await town.get("/api/lessons"))["items"]
    await town.ask("POST", f"/api/lessons/{row['id']}/approve", {})
    theirs = (await town.make_key("theirs", by="stranger"))["key"]
    unknown = {"brain": "", "revision": 0, "upto": 0, "items": []}
    assert await asked(town, key=theirs) == unknown
    assert await asked(town, brain="nobody") == unknown
    assert [one["name"] for one in (await town.get("/api/brains"))["items"]] == ["kalle"]
    other = (await town.make_key("own", brain="other"))["key"]
    assert (await asked(town, key=other))["items"] == []
    refused = await asked(town, version=2, status=400)
    assert (refused["code"], refused["field"]) == ("unsupported_version", "version")
    assert (await asked(town, version=None, status=400))["code"] == "unsupported_version"


async def test_a_brain_may_belong_to_an_instance_of_its_account(town: Town) -> None:
    made = await town.ask("POST", "/api/instances", {"name": "i1", "desired": "stopped"})
    instance = made.json()["id"]
    brain = await town.ask("POST", "/api/brains", {"name": "b", "instance": instance})
    assert (brain.status, brain.json()["instance"]) == (201, instance)
    again = await town.ask("POST", "/api/brains", {"name": "b"})
    assert again.status == 409
    theirs = await town.ask("POST", "/api/brains", {"name": "b", "instance": instance},
                            by="stranger")  # fmt: skip
    assert theirs.status == 404
    other = await town.ask("POST", "/api/brains", {"name": "c", "account": "local"}, by="stranger")
    assert other.status == 404


async def test_open_pages_are_told_of_what_is_durable_and_only_their_own(town: Town) -> None:
    topics = (CORRECTION, LESSON, BRAIN)
    own = Principal("o", "owner", "local", "token")
    other = Principal("s", "owner", "other", "token")
    with (
        town.plane.hub.subscribe(own, topics) as mine,
        town.plane.hub.subscribe(other, topics) as theirs,
    ):
        await town.send(body(correction(1), lesson(2)))
        batch = await mine.next(5, coalesce_s=0)
        assert batch is not None
        (brain,) = (await town.get("/api/brains"))["items"]
        assert {(one.topic, one.key) for one in batch.changes} == {
            (topic, brain["id"]) for topic in topics
        }
        assert await theirs.next(0.01, coalesce_s=0) is None


async def test_alerts_begin_and_end_and_are_counted(town: Town) -> None:
    await town.send(body(correction(1), queue={"depth": 1_500, "oldest_ms": 9}))
    poison = [{"seq": n, "kind": "?", "event_id": f"p{n}", "payload": {}} for n in range(2, 15)]
    answer = await town.send(body(*poison, queue={"depth": 1_400, "oldest_ms": 9}))
    assert [one["event_id"] for one in answer["refused"]][:2] == ["p2", "p3"]
    found = (await town.get("/api/brain-alerts"))["items"]
    assert {one["code"]: one["value"] for one in found} == {"backlog": 1_387, "refusals": 13}
    assert all(one["fix"] for one in found)
    await town.plane.subjects.brains.watch.look()
    began = [fields["code"] for _, name, fields in town.log.lines if name == "intake.alert_began"]
    assert sorted(began) == ["backlog", "refusals"]
    metrics = town.plane.metrics.render().decode()
    assert 'holdfast_brain_alerts{code="backlog"} 1.0' in metrics
    assert 'holdfast_intake_rows_total{outcome="refused"} 13.0' in metrics
    assert "holdfast_brain_backlog_rows 1387.0" in metrics
    checks = (await town.get("/api/doctor", by="operator"))["checks"]
    assert [one["result"] for one in checks if one["name"] == "brains"] == ["warning"]
    await town.send(body(correction(20, "x"), queue={"depth": 1, "oldest_ms": 0}))
    await town.plane.subjects.brains.watch.look()
    assert [one["code"] for one in (await town.get("/api/brain-alerts"))["items"]] == ["refusals"]
    ended = [fields["code"] for _, name, fields in town.log.lines if name == "intake.alert_ended"]
    assert ended == ["backlog"]


async def test_senders_and_versions_without_end_are_counted_together(town: Town) -> None:
    for number in range(limits.SOURCES_PER_BRAIN + 3):
        row = correction(1, f"d{number}", event_id=f"c{number}")
        await town.send(body(row, source=f"s{number}", sdk=f"sdk/{number}"))
    row = correction(1, "d0", event_id="again")
    last = await town.send(body(row, source="one more"))
    assert (last["deduplicated"], last["high_water"]) == (1, 0)
    detail = await town.get("/api/brains/kalle")
    assert len(detail["sources"]) == limits.SOURCES_PER_BRAIN + 1
    assert len(detail["versions"]) == limits.VERSIONS_PER_BRAIN + 1
    assert detail["view"]["accepted"] == limits.SOURCES_PER_BRAIN + 3
    town.plane.subjects.brains.directory.forget_senders(2**60)
    assert (await town.get("/api/brains/kalle"))["sources"] == []


async def test_many_at_once_share_commits_and_each_has_its_own_answer(town: Town) -> None:
    sent = [
        body(*[correction(n, f"d{n} of {who}") for n in range(1, 21)], brain=f"b{who}",
             source=f"s{who}")
        for who in range(40)
    ]  # fmt: skip
    answers = await asyncio.gather(*[town.send(one) for one in sent + sent])
    assert sum(one["accepted"] for one in answers) == 800
    assert sum(one["deduplicated"] for one in answers) == 800
    assert all(one["high_water"] == 20 for one in answers)
    assert len((await town.get("/api/brains"))["items"]) == 40
    assert town.log.at_least("error", "critical") == []


async def test_a_request_that_breaks_the_store_fails_alone_and_may_come_again(town: Town) -> None:
    store = town.plane.subjects.brains.store
    real = store.write

    async def fails_for_one(arrivals: Any, **rest: Any) -> Any:
        if any(c.draft == "POISON" for a in arrivals for c in a.corrections):
            raise OSError("the disk says no")
        return await real(arrivals, **rest)

    store.write = fails_for_one  # type: ignore[method-assign]
    sends = [
        town.ask("POST", "/api/v1/ingest", body(correction(1, text), brain=text), by=town.key)
        for text in ("a", "POISON", "b")
    ]
    answers = await asyncio.gather(*sends)
    assert [one.status for one in answers] == [200, 503, 200]
    assert answers[1].header("retry-after") == "5"
    assert answers[1].json()["code"] == "not_stored"
    store.write = real  # type: ignore[method-assign]
    assert (await town.send(body(correction(1, "POISON"), brain="POISON")))["accepted"] == 1
    assert "POISON" not in str([line for line in town.log.lines if line[0] != "debug"])
