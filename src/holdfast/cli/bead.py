"""`holdfast bead` and `holdfast sling`: issues and requests of a town, and why they wait."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.cli.connection import connect
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
from holdfast.cli.town_option import Bead, Town, complete_rig, taken, town_of
from holdfast.kernel.failure import reason
from holdfast.wire.api.endpoint import Empty
from holdfast.wire.api.town_work import (
    BeadCancel,
    BeadDetail,
    BeadList,
    BeadSling,
    BeadView,
    BeadWaive,
    BeadWhy,
    ReviewView,
)

app = typer.Typer(no_args_is_help=True, help="What a town works on, and why it waits.")

_BEADS: Final = (
    Column("id"),
    Column("status"),
    Column("type", drop=3),
    Column("rig", drop=2),
    Column("waits for", drop=1),
    Column("title", least=20),
)
_RULES: Final = (Column(""), Column("rule"), Column("why", least=20))
_ID_SHOWN: Final = 5
"""Characters before the part of an id that tells beads apart: `bead-`."""


def sling(
    rig: Annotated[str, typer.Argument(autocompletion=complete_rig, help="The rig's name.")],
    title: Annotated[str, typer.Argument(help="What is to be done, in a line.")],
    body: Annotated[
        str, typer.Option("--body", "-b", help="The whole of it: a text, @FILE, or - for stdin.")
    ] = "",
    priority: Annotated[int, typer.Option("--priority", "-p", min=0, max=3, help="0: now.")] = 2,
    after: Annotated[
        list[str] | None, typer.Option(help="A bead that it waits for; repeatable.")
    ] = None,
    held: Annotated[bool, typer.Option("--held", help="Wait until it is released.")] = False,
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a town an issue to do."""
    plane = connect()
    order = BeadSling(
        rig=rig, title=title, body=text_of(body), priority=priority,
        blocked_by=tuple(after or ()), held=held,
    )  # fmt: skip
    answer = plane.call("towns.sling", path={"id": town_of(plane, town)}, body=order)
    made: BeadView = taken(answer, as_json=as_json)
    if not as_json:
        show(made.id)
        say(f"Look how it goes: holdfast bead why {made.id[:13]}")


def text_of(given: str) -> str:
    """Return a text that was given as it is, as @FILE, or on standard input."""
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return fail(f"--body {given}: {reason(error)}", code=EXIT_USAGE)


@app.command("list")
def list_beads(
    town: Town = "",
    status: Annotated[
        str, typer.Option(help="open, in_progress, in_review, closed, failed, or live.")
    ] = "live",
    of_type: Annotated[
        str, typer.Option("--type", help="issue, merge_request, convoy, escalation, message.")
    ] = "",
    rig: Annotated[str, typer.Option(autocompletion=complete_rig, help="Only this rig's.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """List beads, those that have not ended first of all."""
    plane = connect()
    query = {"status": "" if every else status, "type": of_type, "rig": rig}
    found: BeadList = plane.every("towns.beads", path={"id": town_of(plane, town)}, query=query)
    shown = sorted(found.items, key=lambda one: (one.priority, one.created_at, one.id))
    short = short_beads(one.id for one in shown)
    rows = (
        (
            short[one.id], one.status, one.type, one.rig, str(one.blockers or ""),
            f"{one.title}{' (held)' if one.held else ''}",
        )
        for one in shown
    )  # fmt: skip
    empty = "Nothing to do. Give it something: holdfast sling RIG TITLE"
    show_list(found, _BEADS, rows, empty=empty, as_json=as_json)


def short_beads(ids: Any) -> dict[str, str]:
    """Return ids as short as tells them apart; one without digits behind a hyphen stays whole."""
    full = list(ids)
    bare = {one: one.partition("-")[2] or one for one in full}
    short = short_ids(bare.values())
    return {one: one[: len(one) - len(bare[one])] + short[bare[one]] for one in full}


def _sent_back(review: ReviewView | None) -> str:
    """Return how often a merge request was sent back and why last; empty for never."""
    if review is None or not review.reworks:
        return ""
    times = "once" if review.reworks == 1 else f"{review.reworks} times"
    return f"{times}, last: {review.why}" if review.why else times


@app.command("show")
def show_bead(bead: Bead, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Show a bead with its text and what it waits for."""
    plane = connect()
    path = {"id": town_of(plane, town), "bead": bead}
    found: BeadDetail = taken(plane.call("towns.bead", path=path), as_json=as_json)
    if as_json:
        return
    show(found.title or found.id, style="bold")
    review = found.review
    show_facts(
        [
            ("id", found.id),
            ("type", found.type if found.purpose == "work" else found.purpose),
            ("status", found.status + (", held" if found.held else "")),
            ("why", found.failure),
            ("rig", found.rig),
            ("agent", found.assignee),
            ("attempts", f"{found.attempts}, {found.charged} failed" if found.attempts else ""),
            ("cost", f"{found.cost / 1_000_000:.2f} USD" if found.cost else ""),
            ("branch", f"{review.branch} into {review.target}" if review else ""),
            ("stage", review.stage if review else ""),
            ("sent back", _sent_back(review)),
            ("pull request", review.pr_url if review else ""),
            ("made", ago(found.created_at)),
            ("changed", ago(found.updated_at)),
        ]
    )
    for one in found.dependencies:
        verb = "waits for" if one.type == "blocks" else "belongs to"
        show_facts([(verb, f"{one.id} ({one.status or 'gone'}) {one.title}")])
    if found.body:
        show("")
        show(found.body)
    if review is not None and review.said:
        show("")
        show(review.said)


@app.command()
def why(bead: Bead, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Say why a bead waits, and what the next tick does with it."""
    plane = connect()
    path = {"id": town_of(plane, town), "bead": bead}
    found: BeadWhy = taken(plane.call("towns.why", path=path), as_json=as_json)
    if as_json:
        return
    show(f"{found.id} is {found.status.replace('_', ' ')}", style="bold")
    rows = [("waits", one.rule, one.reason) for one in found.waits]
    rows += [("next", one.rule, one.reason) for one in found.next]
    rows += [("wrong", "", text) for text in found.violations]
    show_table(_RULES, rows, empty="No rule holds it back, and none does anything with it now.")
    if found.next_tick_at:
        say(f"The town looks again {ago(found.next_tick_at)}.")


@app.command()
def cancel(
    bead: Bead,
    town: Town = "",
    done: Annotated[bool, typer.Option("--done", help="As if it were done.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """End a bead, and what hangs on it."""
    body = BeadCancel(status="closed" if done else "failed")
    _order("towns.cancel", bead, town, body, as_json=as_json)


@app.command()
def hold(bead: Bead, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Keep an issue from being handed out."""
    _order("towns.hold", bead, town, Empty(), as_json=as_json)


@app.command()
def release(bead: Bead, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Let a held issue go."""
    _order("towns.release", bead, town, Empty(), as_json=as_json)


@app.command()
def waive(
    bead: Bead,
    blocker: Annotated[str, typer.Argument(help="The bead that it need not wait for.")],
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Let a bead go on without one that it waits for."""
    _order("towns.waive", bead, town, BeadWaive(blocker=blocker), as_json=as_json)


def _order(endpoint: str, bead: str, town: str, body: Any, *, as_json: bool) -> None:
    plane = connect()
    path = {"id": town_of(plane, town), "bead": bead}
    found: BeadView = taken(plane.call(endpoint, path=path, body=body), as_json=as_json)
    if not as_json:
        held = ", held" if found.held else ""
        say(f"{found.id} is {found.status.replace('_', ' ')}{held}.")
