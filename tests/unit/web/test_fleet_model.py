from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from holdfast.web.pages.fleet import FleetQuery, fleet_page, fleet_row
from holdfast.web.parts.words import element_id
from holdfast.wire.api.instances import InstanceList
from holdfast.wire.api.plane import AgentList, AgentView
from holdfast.wire.api.table import by_name
from tests.unit.web.shapes import NOW, view

AGENTS = AgentList(
    items=(
        AgentView(name="demo", summary="", bundled=True, installed=True),
        AgentView(name="openclaw", summary="", bundled=False, installed=False),
    )
)
SORTS = ["name", "-name", "restarts", "-load", "contact"]
queries = st.builds(
    FleetQuery,
    statuses=st.sampled_from([(), ("running",), ("running", "stopped")]),
    agent=st.sampled_from(["", "demo"]),
    attention=st.sampled_from(["", "true", "false"]),
    text=st.text(min_size=0, max_size=64).map(str.strip),
    sort=st.sampled_from(SORTS),
    after=st.sampled_from(["", "100"]),
)


@given(queries)
def test_what_the_api_is_asked_fits_its_parameters(query: FleetQuery) -> None:
    patterns = {param.name: param.pattern for param in by_name["instance.list"].params}
    for name, value in query.asked().items():
        assert re.fullmatch(patterns[name], value), (name, value)


@given(queries)
def test_a_query_survives_its_address(query: FleetQuery) -> None:
    assert FleetQuery.parse(query.fields()) == query


def test_empty_fields_of_a_form_say_nothing() -> None:
    query = FleetQuery.parse({"status": "", "agent": "", "text": " ", "sort": ""})
    assert query == FleetQuery()
    assert query.href() == "/"
    assert not query.narrows


def test_chips_switch_their_status_and_begin_at_the_first_page() -> None:
    query = FleetQuery(healths=("crashing",), after="100")
    listed = InstanceList(items=(), health_counts={"stopped": 1, "ready": 2, "crashing": 3})
    chips = {c.text: c for c in fleet_page(query, listed, AGENTS, now_ms=0, operator=True).chips}
    assert chips["Crashing"].is_on
    assert chips["Crashing"].href == "/"
    assert chips["Stopped"].href == "/?health=crashing%2Cstopped"
    assert list(chips) == ["Crashing", "Ready", "Stopped"], "what hurts first"


def test_a_filter_that_matches_nothing_keeps_its_chip() -> None:
    query = FleetQuery(healths=("recovering",))
    made = fleet_page(query, InstanceList(items=()), AGENTS, now_ms=0, operator=True)
    assert [(c.text, c.amount) for c in made.chips] == [("Recovering", 0)]


def test_a_sorted_column_turns_round_and_figures_begin_with_the_greatest() -> None:
    made = fleet_page(FleetQuery(), InstanceList(items=()), AGENTS, now_ms=0, operator=True)
    columns = {column.name: column for column in made.columns}
    assert columns["health"].order == "ascending", "what hurts most stands first"
    assert columns["health"].href == "/?sort=-health"
    assert columns["name"].href == "/?sort=name"
    assert columns["load"].href == "/?sort=-load"
    assert columns["load"].order == ""


def test_only_agents_that_are_installed_are_offered() -> None:
    made = fleet_page(FleetQuery(), InstanceList(items=()), AGENTS, now_ms=0, operator=True)
    assert made.agents == ("demo",)
    assert made.is_empty


def test_a_row_offers_what_can_be_ordered() -> None:
    runs = fleet_row(view(), now_ms=NOW)
    assert (runs.can_start, runs.can_stop) == (False, True)
    stopped = fleet_row(view(status="stopped", desired="stopped"), now_ms=NOW)
    assert (stopped.can_start, stopped.can_stop) == (True, False)
    leaving = fleet_row(view(status="destroying", desired="destroyed"), now_ms=NOW)
    assert (leaving.can_start, leaving.can_stop) == (False, False)


@given(st.sets(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,12}", fullmatch=True), max_size=30))
def test_elements_of_rows_have_ids_that_selectors_take(ids: set[str]) -> None:
    made = [element_id("i", each) for each in ids]
    assert all(re.fullmatch(r"i-[A-Za-z0-9_-]+", each) for each in made)
