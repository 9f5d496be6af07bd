"""`holdfast instance incidents | logs | timeline`: what happened to an instance."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import Name, resolve
from holdfast.cli.output import (
    JSON_OPTION,
    ago,
    plain,
    say,
    short_ids,
    show_json,
    show_list,
    show_table,
    write,
)
from holdfast.cli.tables import Column
from holdfast.wire.api.instances import LogLine

_HAPPENED: Final = (Column("when"), Column("what happened", least=24), Column("id"))
_TIMELINE: Final = (
    Column("when"),
    Column("kind"),
    Column("what"),
    Column("outcome", drop=4),
    Column("rule", drop=3),
    Column("id", drop=1),
    Column("reason", drop=2, least=20),
)
_INCIDENTS: Final = (
    Column("nr"),
    Column("noticed"),
    Column("state"),
    Column("down for"),
    Column("worst"),
    Column("tried", drop=2),
    Column("what", drop=1, least=20),
)

_ENTRIES: Final = 500
"""Entries of a timeline that are asked for at most: a page of the API."""
_FOLLOW_S: Final = 1.0


def incidents(name: Name, as_json: bool = JSON_OPTION) -> None:
    """List its outages, the latest first: noticed, tried, back, how long."""
    plane = connect()
    detail = plane.call("instance.get", path={"id": resolve(plane, name)})
    if as_json:
        show_json(detail.incidents)
        return
    rows = (
        (
            str(one.number),
            ago(one.noticed_at),
            one.state,
            f"{one.down_s} s",
            one.worst,
            one.tried,
            one.text,
        )
        for one in detail.incidents
    )
    show_table(_INCIDENTS, rows, empty="No incidents.")
    if detail.recovery_s is not None:
        say(f"Usually back after {detail.recovery_s} s.")


def logs(
    name: Name,
    lines: Annotated[int, typer.Option(min=1, max=1000, help="How many lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Print the last lines of its agent and controller."""
    plane = connect()
    path = {"id": resolve(plane, name)}
    seen: list[LogLine] = []
    while True:
        tail = plane.call("instance.logs", path=path, query={"lines": str(lines)})
        new = fresh_lines(seen, tail.lines)
        seen = list(tail.lines)
        if as_json and not follow:
            show_json(tail)
        for line in new if follow or not as_json else ():
            text = msgspec.json.encode(line).decode() if as_json else plain(line.text)
            write(text + "\n")
        sys.stdout.flush()
        if not follow:
            if tail.note and not as_json:
                say(tail.note)
            return
        time.sleep(_FOLLOW_S)


def fresh_lines(seen: Sequence[LogLine], now: Sequence[LogLine]) -> Sequence[LogLine]:
    """Return the lines of a tail that are new since the one before: those after their overlap."""
    for overlap in range(min(len(seen), len(now)), 0, -1):
        if list(seen[-overlap:]) == list(now[:overlap]):
            return now[overlap:]
    return now


def timeline(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=_ENTRIES, help="How many entries.")] = 40,
    everything: Annotated[
        bool, typer.Option("--all", help="Each event, decision and outcome, under its own name.")
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what happened, a line each, newest first."""
    plane = connect()
    path = {"id": resolve(plane, name)}
    many = limit if everything or as_json else _ENTRIES
    answer = plane.call("instance.timeline", path=path, query={"limit": str(many)})
    short = short_ids(e.id for e in answer.entries)
    if not everything and not as_json:
        told = [(ago(e.at), e.text, short[e.id]) for e in answer.entries if e.text]
        show_table(_HAPPENED, told[:limit], empty="Nothing yet.")
        return
    rows = (
        (ago(e.at), e.kind, e.name, e.outcome, e.rule, short[e.id], e.reason)
        for e in answer.entries
    )
    show_list(answer, _TIMELINE, rows, empty="Nothing yet.", as_json=as_json)
