"""`holdfast town`: agents that work through beads, how they are, what is set for them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import typer

from holdfast.cli.connection import connect, settings_or_fail
from holdfast.cli.output import (
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    say,
    short_ids,
    show,
    show_facts,
    show_list,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.cli.town_option import Agent, Bead, Town, TownName, state_of, taken, town_of
from holdfast.wire.api.endpoint import Empty
from holdfast.wire.api.town_work import EscalationList, MailSend, NudgeSend
from holdfast.wire.api.towns import (
    DrainEnd,
    DrainStart,
    DrainView,
    NoticeList,
    TownAgentAdd,
    TownAgentList,
    TownAgentView,
    TownCreate,
    TownPatch,
    TownStatus,
    TownView,
)
from holdfast.wire.forms import in_words
from holdfast.wire.parsers import json_as

app = typer.Typer(no_args_is_help=True, help="Towns: agents that work through beads.")

_TOWNS: Final = (
    Column("name"),
    Column("state"),
    Column("id", drop=1),
    Column("account", drop=3),
    Column("made", drop=2),
)
_AGENTS: Final = (
    Column("name"),
    Column("role"),
    Column("rig", drop=2),
    Column("status"),
    Column("bead"),
    Column("attempts", drop=3),
    Column("since", drop=1),
)
_WAITING: Final = (Column("beads"), Column("rule", drop=1), Column("wait because", least=20))
_ESCALATIONS: Final = (
    Column("id"),
    Column("severity"),
    Column("status"),
    Column("category", drop=2),
    Column("about", drop=1),
    Column("what", drop=3, least=20),
)
_NOTICES: Final = (Column("at"), Column("severity"), Column("what"), Column("about", drop=1))
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; required without a terminal.")]


@app.command("list")
def list_towns(
    account: Annotated[str, typer.Option(help="Only this account's; operators only.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List towns."""
    found = connect().every("towns.list", query={"account": account})
    rows = (
        (one.name, state_of(one), one.id, one.account, ago(one.created_at)) for one in found.items
    )
    empty = "No towns yet. Make one: holdfast town create NAME"
    show_list(found, _TOWNS, rows, empty=empty, as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits, hyphens.")],
    account: Annotated[str, typer.Option(help="Whose it is; operators only.")] = "",
    review: Annotated[
        bool, typer.Option("--review/--no-review", help="Whether agents' work is reviewed.")
    ] = True,
    agents_max: Annotated[int, typer.Option(min=1, max=1_000, help="Agents at most.")] = 50,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a town."""
    body = TownCreate(name=name, account=account, code_review=review, agents_max=agents_max)
    made: TownView = taken(connect().call("towns.create", body=body), as_json=as_json)
    if not as_json:
        say(f"{made.name} is there. Add a repository: holdfast rig add NAME --repository URL")


@app.command()
def demo() -> None:
    """Make a town with a small repository, and watch its bundled agents land a convoy in it."""
    from holdfast.cli.town_demo import run_demo  # noqa: PLC0415  for this only

    run_demo(connect(), settings_or_fail())


@app.command("show")
def show_town(town: TownName = "", as_json: bool = JSON_OPTION) -> None:
    """Show a town and what is set for it."""
    plane = connect()
    found = plane.call("towns.get", path={"id": town_of(plane, town)})
    _show(taken(found, as_json=as_json), as_json=as_json)


@app.command("set")
def set_(
    settings: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="As `town show` names them.")
    ],
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Change what is set for a town; a value is JSON or a word: repair=false, budget_day=0."""
    plane = connect()
    path = {"id": town_of(plane, town)}
    answer = taken(plane.call("towns.set", path=path, body=patch_of(settings)), as_json=as_json)
    _show(answer, as_json=as_json)


def patch_of(pairs: list[str]) -> TownPatch:
    """Return NAME=VALUE texts as settings; exit with an error for what is none."""
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in TownPatch.__struct_fields__:
            known = ", ".join(TownPatch.__struct_fields__)
            fail(f"{pair!r} is no setting", fix=f"NAME=VALUE, of {known}", code=EXIT_USAGE)
        try:
            fields[name] = json_as(object, value)
        except msgspec.DecodeError:
            fields[name] = value
    try:
        return msgspec.convert(fields, TownPatch)
    except msgspec.ValidationError as error:
        return fail(
            in_words(str(error)), fix="docs/towns.md says what each may be", code=EXIT_USAGE
        )


@app.command()
def close(town: TownName = "", yes: Yes = False, as_json: bool = JSON_OPTION) -> None:
    """Close a town for good: its agents are stopped, and all that waits ends."""
    plane = connect()
    path = {"id": town_of(plane, town)}
    if not yes:
        name = plane.call("towns.get", path=path).name
        typer.confirm(f"Close {name}? It cannot be opened again", abort=True, err=True)
    found = taken(plane.call("towns.close", path=path, body=Empty()), as_json=as_json)
    if not as_json:
        say(f"{found.name} is closed.")


def _stands(agent: TownAgentView) -> str:
    return f"away: its instance is {agent.away}" if agent.away else agent.status


@app.command()
def status(town: TownName = "", as_json: bool = JSON_OPTION) -> None:
    """Show what a town's agents do, what waits and why, and what is wrong."""
    plane = connect()
    found: TownStatus = plane.call("towns.status", path={"id": town_of(plane, town)})
    taken(found, as_json=as_json)
    if as_json:
        return
    agents, beads = found.agents, found.beads
    show(f"{found.town.name}: {state_of(found.town)}", style="bold")
    show_facts(
        [
            ("agents", f"{agents.working} working, {agents.idle} idle, {agents.total} in all"),
            ("stalled", str(agents.stalled or "")),
            (
                "beads",
                f"{beads.open} open, {beads.in_progress} in progress, {beads.in_review} in review",
            ),
            ("ended", f"{beads.closed} closed, {beads.failed} failed in 7 days"),
            ("held", str(beads.held or "")),
            ("escalations", str(beads.escalations or "")),
            ("spent today", f"{found.spent / 1_000_000:.2f} USD" if found.spent else ""),
            ("events waiting", str(found.events_waiting or "")),
            ("next look", ago(found.next_tick_at) if found.next_tick_at else "nothing is due"),
        ]
    )
    for violation in found.violations:
        say(violation, style="red")
    rows = [(str(one.count), one.rule, one.reason) for one in found.waiting]
    if rows:
        show("")
        show_table(_WAITING, rows, empty="")


@app.command()
def drain(
    action: Annotated[str, typer.Argument(help="start, end, or nothing to look.")] = "",
    town: Town = "",
    minutes: Annotated[int, typer.Option(min=1, max=60, help="Given up after this time.")] = 7,
    nonce: Annotated[str, typer.Option(help="Which drain, where there may be several.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Hand nothing out because the agents' host goes away; end that; or look."""
    if action not in {"", "start", "end"}:
        fail(f"{action!r}: want start or end", code=EXIT_USAGE)
    plane = connect()
    path = {"id": town_of(plane, town)}
    if action == "start":
        body = DrainStart(nonce=nonce, minutes=minutes)
        found: DrainView = taken(
            plane.call("towns.start-drain", path=path, body=body), as_json=as_json
        )
    elif action == "end":
        end = DrainEnd(nonce=nonce)
        found = taken(plane.call("towns.end-drain", path=path, body=end), as_json=as_json)
    else:
        found = taken(plane.call("towns.drain", path=path), as_json=as_json)
    if not as_json:
        until = ago(found.until) if found.until else ""
        facts = [("draining", "yes" if found.draining else "no"), ("nonce", found.nonce)]
        show_facts([*facts, ("ends", until)])


# -- agents, mail and nudges


@app.command()
def agents(town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """List the agents of a town."""
    plane = connect()
    found: TownAgentList = plane.every("towns.agents", path={"id": town_of(plane, town)})
    short = short_ids(one.hook for one in found.items if one.hook)
    rows = (
        (
            one.name, one.role, one.rig, _stands(one), short.get(one.hook, ""), str(one.attempts),
            ago(one.dispatched_at),
        )
        for one in found.items
    )  # fmt: skip
    empty = "No agents. They are made when work needs them."
    show_list(found, _AGENTS, rows, empty=empty, as_json=as_json)


@app.command("add-agent")
def add_agent(
    role: Annotated[str, typer.Argument(help="mayor, polecat or refinery.")],
    town: Town = "",
    rig: Annotated[str, typer.Option(help="Its rig; a mayor has none.")] = "",
    name: Annotated[str, typer.Option(help="Its name.")] = "",
    host: Annotated[str, typer.Option(help="An instance to run on, by id or name.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Add an agent; those that work needs are made by themselves."""
    given = {"role": role, "rig": rig, "host": host} | ({"name": name} if name else {})
    try:
        body = msgspec.convert(given, TownAgentAdd)
    except msgspec.ValidationError as error:
        fail(in_words(str(error)), code=EXIT_USAGE)
    plane = connect()
    answer = plane.call("towns.agent", path={"id": town_of(plane, town)}, body=body)
    made = taken(answer, as_json=as_json)
    if not as_json:
        say(f"{made.name} is there, a {made.role}.")


@app.command("remove-agent")
def remove_agent(agent: Agent, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Remove an agent that does not work."""
    plane = connect()
    path = {"id": town_of(plane, town), "agent": agent}
    gone = taken(plane.call("towns.remove-agent", path=path), as_json=as_json)
    if not as_json:
        say(f"{gone.name} is removed.")


@app.command()
def mail(
    agent: Agent,
    title: Annotated[str, typer.Argument(help="What it is about.")],
    body: Annotated[str, typer.Option("--body", "-b", help="The text.")] = "",
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Send an agent a message, which it gets while it works."""
    plane = connect()
    order = MailSend(to=agent, title=title, body=body)
    taken(plane.call("towns.mail", path={"id": town_of(plane, town)}, body=order), as_json=as_json)
    if not as_json:
        say("It waits until the agent works.")


@app.command()
def nudge(
    agent: Agent,
    message: Annotated[str, typer.Argument(help="A word to the agent.")],
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Poke an agent that works."""
    plane = connect()
    path = {"id": town_of(plane, town), "agent": agent}
    taken(plane.call("towns.nudge", path=path, body=NudgeSend(message=message)), as_json=as_json)


# -- what somebody is needed for


@app.command()
def escalations(
    town: Town = "",
    every: Annotated[bool, typer.Option("--all", help="Those that were taken on too.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """List what somebody is needed for."""
    plane = connect()
    found: EscalationList = plane.every("towns.escalations", path={"id": town_of(plane, town)})
    kept = [one for one in found.items if every or one.bead.status == "open"]
    short = short_ids(one.bead.id for one in kept)
    rows = (
        (
            short[one.bead.id], one.facts.severity, one.bead.status, one.facts.category,
            one.facts.about, one.bead.title or one.body,
        )
        for one in kept
    )  # fmt: skip
    show_list(found, _ESCALATIONS, rows, empty="Nobody is needed.", as_json=as_json)


@app.command()
def acknowledge(escalation: Bead, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Take an escalation on."""
    plane = connect()
    path = {"id": town_of(plane, town), "bead": escalation}
    taken(plane.call("towns.acknowledge", path=path, body=Empty()), as_json=as_json)
    if not as_json:
        say("It is yours.")


@app.command()
def notices(town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """List what the town's owner was told last."""
    plane = connect()
    found: NoticeList = plane.call("towns.notices", path={"id": town_of(plane, town)})
    rows = ((ago(one.at), one.severity, one.code, one.about) for one in found.items)
    show_list(found, _NOTICES, rows, empty="Nothing was told.", as_json=as_json)


def _show(found: TownView, *, as_json: bool) -> None:
    if as_json:
        return
    show_facts(
        [
            ("name", found.name),
            ("id", found.id),
            ("account", found.account),
            ("made", ago(found.created_at)),
            ("state", state_of(found)),
        ]
    )
    show("")
    settings = msgspec.structs.asdict(found.settings)
    shown = {name: msgspec.json.encode(value).decode() for name, value in settings.items()}
    show_facts([(name, value.strip('"')) for name, value in shown.items()])
