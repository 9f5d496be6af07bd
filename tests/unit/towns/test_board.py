"""What people are told of a town: each bead's why is the rules', now and at any earlier tick."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from holdfast.actors.record import decode_record
from holdfast.kernel.clock import DAY_MS
from holdfast.towns import board, board_handlers, condition, events, stories
from holdfast.towns.condition import Census
from holdfast.towns.definition import TOWN
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import explain_each
from holdfast.towns.state import TERMINAL, Breaker, Config, State
from holdfast.towns.words import moment
from holdfast.web.hub import Hub
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.api.town_board import (
    BeadStory,
    BoardNote,
    TownBoard,
    TownSummaries,
    TownTimeline,
)
from tests.support.sample_town import OUTPUT, SampleTown, SampleTowns
from tests.unit.towns.rig import Town

NOW = 1_795_000_000_000
OWNER = Principal("olga", "owner", "local", "session", "s2")
OTHER = Principal("otto", "owner", "elsewhere", "session", "s3")


@pytest.fixture(scope="module")
def town() -> SampleTown:
    return SampleTown(Hub(), now_ms=NOW)


async def ask(town: SampleTown, endpoint: str, who: Principal = OWNER, **fields: Any) -> Any:
    """Return what a handler answers."""
    path = {"id": town.id, **fields.pop("path", {})}
    call = Call(endpoint, who, now_ms=town.now_ms, path=path, **fields)
    return (await town.handlers()[endpoint](call)).body


def shown(town: SampleTown) -> TownBoard:
    return TownBoard(**board.board(town.state, town.policy, NOW), tick=town.folded.number)


def test_one_look_explains_as_much_as_one_for_each_bead(town: SampleTown) -> None:
    assert TOWN.explain is not None
    for folded in town.before.values():
        keys = [f"b/{one}" for one in folded.state.beads]
        found = explain_each(folded.state, town.policy, NOW, keys)
        assert found == {key: TOWN.explain(folded.state, town.policy, NOW, key) for key in keys}


def test_every_bead_at_every_tick_says_how_it_stands(town: SampleTown) -> None:
    for folded in town.before.values():
        sight = board.Sight(folded.state, town.policy, NOW)
        sight.ask(folded.state.beads.values())
        for bead in folded.state.beads.values():
            text, rule = sight.why(bead)
            held = sight.reasons.get(f"b/{bead.id}", ())
            assert text[:1].isupper() or text[:1].isdigit(), (bead.id, text)
            assert rule in {"", *(one.rule for one in held)}
            assert not (bead.status in TERMINAL and rule)


def test_a_board_names_each_issue_once_in_its_column(town: SampleTown) -> None:
    found = shown(town)
    cards = {card.id: card for column in found.columns for card in column.cards}
    issues = {bead.id for bead in town.state.beads.values() if bead.type == "issue"}
    assert cards.keys() == issues
    assert sum(column.total for column in found.columns) == len(issues)
    assert cards["bead-held"].why == "Somebody holds it back"
    assert cards["bead-page"].why == "It waits for 2 other beads"
    assert cards["bead-slow"].why == "Polecat-4 works on it"
    assert cards["bead-typo"].why.startswith("Its merge request was sent back once")
    (fix,) = (card for card in cards.values() if card.purpose == "rework")
    assert fix.content == "text-typo"


async def test_a_town_is_shown_as_it_was_with_nothing_of_what_came_later(
    town: SampleTown,
) -> None:
    earlier = await ask(town, "towns.board", query={"tick": "9"})
    assert (earlier.past, earlier.tick) == (True, 9)
    later = await ask(town, "towns.board")
    assert not later.past
    ids = [{card.id for column in one.columns for card in column.cards} for one in (earlier, later)]
    assert "bead-flaky" in ids[1] - ids[0]
    with pytest.raises(Refusal) as refused:
        await ask(town, "towns.board", query={"tick": "99999"})
    assert refused.value.status == 404


async def test_a_convoy_keeps_what_its_beads_waited_for(town: SampleTown) -> None:
    assert town.state.beads["bead-import"].blocked_by == ()
    found = await ask(town, "towns.board")
    (convoy,) = found.convoys
    waited = {card.id: card.waited_for for card in convoy.beads}
    assert waited["bead-import"] == ("bead-schema",)
    assert waited["bead-page"] == ("bead-import", "bead-search")


async def test_a_story_has_attempts_gates_and_lines_of_the_bead_and_its_request(
    town: SampleTown,
) -> None:
    found: BeadStory = await ask(town, "towns.story", path={"bead": "bead-typo"})
    assert found.text.startswith("A typo in the footer.")
    assert [(one.agent, one.ok) for one in found.attempts] == [
        ("Refinery-3", True), ("Polecat-5", True),
    ]  # fmt: skip
    (run,) = found.gates
    assert [(one.name, one.passed) for one in run.results] == [("lint", True), ("test", False)]
    assert run.results[1].output == OUTPUT
    texts = [line.text for line in found.lines]
    assert texts[0] == "its gates are red: test"
    assert texts[-1] == "was made"
    assert not found.truncated
    member: BeadStory = await ask(town, "towns.story", path={"bead": "bead-docs"})
    assert [line.text for line in member.lines] == ["was made, with 5 beads"]
    assert [card.id for card in member.blockers] == ["bead-page"]


async def test_a_timeline_gives_the_reasons_of_the_rules(town: SampleTown) -> None:
    found: TownTimeline = await ask(town, "towns.timeline", query={"limit": "200"})
    handed = next(line for line in found.lines if line.text == "is handed to Polecat-7")
    assert (handed.title, handed.rule) == ("A typo in the footer", "beads.assign")
    assert handed.reason == "it is open, and waits for nothing"
    assert [line.seq for line in found.lines] == list(range(len(town.log), 0, -1))
    first: TownTimeline = await ask(town, "towns.timeline", query={"limit": "7"})
    rest: TownTimeline = await ask(town, "towns.timeline", query={"after": first.next})
    assert first.lines[-1].seq == rest.lines[0].seq + 1


@pytest.mark.parametrize(
    "endpoint", ["towns.board", "towns.ticks", "towns.timeline", "towns.story"]
)
async def test_a_town_of_another_account_is_not_there(town: SampleTown, endpoint: str) -> None:
    with pytest.raises(Refusal) as refused:
        await ask(town, endpoint, OTHER, path={"bead": "bead-typo"})
    assert refused.value.status == 404


async def test_towns_that_hurt_come_first() -> None:
    hub = Hub()
    calm = SampleTown(hub, now_ms=NOW, name="calm", busy=False)
    towns = SampleTowns(calm, SampleTown(hub, now_ms=NOW, name="orders"))
    call = Call("towns.summaries", OWNER, now_ms=NOW)
    found: TownSummaries = (await towns.handlers()["towns.summaries"](call)).body
    assert [one.name for one in found.items] == ["orders", "calm"]
    assert found.items[0].hurts == ("1 escalation waits for somebody.",)
    assert found.items[1].doing == "It has no rig yet."


async def test_a_large_town_is_looked_through_elsewhere_and_looks_the_same(
    town: SampleTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    towns = SampleTowns(town)
    found = []
    for most in (len(town.state.beads), len(town.state.beads) - 1):
        monkeypatch.setattr(board_handlers, "BEADS_HERE_MAX", most)
        now_ms = decode_record(town.records[-1]).now_ms
        for endpoint, path in (("towns.board", {"id": town.id}), ("towns.summaries", {})):
            call = Call(endpoint, OWNER, now_ms=now_ms, path=path)
            found.append((await towns.handlers()[endpoint](call)).body)
    assert found[:2] == found[2:]
    assert towns.asked == ["present", "brief"]


def test_every_event_has_its_sentence() -> None:
    for event in get_args(events.Event):
        tag = event.__struct_config__.tag
        said = stories.sentence(tag, {"type": tag}, {})
        assert said not in {tag, ""}, f"{tag} is not said to people"


def test_a_damaged_row_is_a_line_like_all_others(town: SampleTown) -> None:
    row = replace(town.log[-1], body=b"\x00{")
    (line,) = stories.lines([row], (), {})
    assert (line.text, line.bead) == ("?", "")


def test_breaker_and_budgets_are_said_in_words() -> None:
    made = Town(budget_day=5_000_000, budget_bead=1_000_000, town_agents_max=2)
    state = made.state
    cut_off = Breaker(state="open", until_ms=NOW + 60_000, ends=(NOW - 1, 1 - NOW, 2 - NOW))
    state = replace(
        state,
        town=replace(state.town, breaker=cut_off, spent=2_500_000, spent_day=NOW // DAY_MS),
    )
    found = limits(state, NOW)
    assert found["breaker"].text.endswith("too many attempts failed lately.")
    assert found["breaker"].until is not None
    assert found["budget"].text == "$2.50 of $5.00 of today are spent."
    later = limits(state, NOW + DAY_MS)
    assert later["budget"].text == "$0.00 of $5.00 of today are spent."
    assert found["attempts"].text.endswith("or when it has cost $1.00.")
    (note,) = condition.notes(Census(state), made.policy, NOW)
    assert note.text == "Nothing is handed out: too many attempts failed lately."
    assert limits(replace(state, town=replace(state.town, config=Config())), NOW)


def limits(state: State, now_ms: int) -> dict[str, BoardNote]:
    found = condition.limits(Census(state), Policy(), now_ms)
    return {note.code: note for note in found}


def test_lately_and_today_are_the_windows_that_the_rules_count_by() -> None:
    made, policy = Town(budget_day=5_000_000), Policy()
    old, new = policy.breaker_window_ms, policy.breaker_window_ms - 1
    known = replace(
        made.state.town,
        breaker=Breaker(ends=(old - NOW, NOW - old, new - NOW, NOW - new)),
        repairs=(NOW - policy.repairs_window_ms, NOW - 1),
        spent=2_500_000,
        spent_day=NOW // DAY_MS - 1,
    )
    found = limits(replace(made.state, town=known), NOW)
    assert found["breaker"].text == "The breaker is closed: 1 of 2 attempts failed lately."
    assert found["repairs"].text.endswith("; 1 lately.")
    assert found["budget"].text == "$0.00 of $5.00 of today are spent."


def test_a_spent_budget_is_said_to_end_with_its_day() -> None:
    made = Town(budget_day=1)
    known = replace(
        made.state.town, spent=1, spent_day=NOW // DAY_MS, exhausted=True,
        breaker=Breaker(state="open", until_ms=NOW + 60_000),
    )  # fmt: skip
    (note,) = condition.notes(Census(replace(made.state, town=known)), made.policy, NOW)
    assert note.text == "Nothing is handed out: the day's money is used up."
    assert note.until == moment((NOW // DAY_MS + 1) * DAY_MS)


ODD: tuple[Any, ...] = (None, 7, "x", [7, None, "x", {}], {"id": []}, [{"id": {}, "blocked_by": 7}])


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", ["BeadDispatched", "ConvoyCreated", "TownGatesFinished"])
def test_rows_of_any_shape_are_lines_and_never_fail(town: SampleTown, kind: str, odd: Any) -> None:
    names = ("bead", "mr", "convoy", "attempt", "agent", "results", "beads", "code", "about", "by")
    fields = {"type": kind, **dict.fromkeys(names, odd)}
    rows = [replace(town.log[-1], body=json.dumps(fields).encode())]
    told = stories.known(rows)
    assert len(stories.lines(rows, (), {})) == 1
    stories.attempts(told, {})
    stories.gate_runs(told, {})
    stories.outputs_of(told)
    list(stories.convoy_edges(rows, {"c"}))
    stories.about(rows, {"x"})


def test_a_row_whose_text_is_none_is_a_line(town: SampleTown) -> None:
    row = replace(town.log[-1], body=b'{"type": "\xff"}')
    (line,) = stories.lines([row], (), {})
    assert line.text == "?"


def test_what_waits_for_a_failed_bead_says_what_to_do() -> None:
    made = Town()
    made.sling("one")
    made.sling("two", blocked_by=("one",))
    made.do(events.BeadCancelled("one", "failed", "ann"))
    sight = board.Sight(made.state, made.policy, made.now_ms)
    sight.ask(made.state.beads.values())
    note, fix = sight.note(made.bead("two"))
    assert note.code == "beads.blocked_by_failed"
    assert "waive" in fix
    ended, _ = sight.note(made.bead("one"))
    assert (ended.text, ended.trouble) == ("It failed: it was cancelled.", "bad")
