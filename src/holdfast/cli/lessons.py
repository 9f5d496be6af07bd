"""`holdfast lesson`: what brains learned, and what people say about it."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import pick
from holdfast.cli.output import JSON_OPTION, ago, say, short_ids, show_json, show_list
from holdfast.cli.tables import Column
from holdfast.wire.api.endpoint import Empty

_WHOLE_ID: Final = 32
"""Length from which a text is taken for a whole id."""
_LESSONS: Final = (
    Column("lesson"),
    Column("state"),
    Column("decision"),
    Column("brain", drop=1),
    Column("changed", drop=2),
    Column("text", least=24),
)

app = typer.Typer(no_args_is_help=True, help="What brains learned: list, approve, reject.")

LessonId = Annotated[str, typer.Argument(help="The lesson's id, or how it begins.")]


@app.command("list")
def list_(
    brain: Annotated[str, typer.Option(help="Only this brain's, by its id.")] = "",
    state: Annotated[str, typer.Option(help="Only lessons in this state.")] = "",
    decision: Annotated[str, typer.Option(help="none, approved or rejected.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List lessons, those changed last first."""
    query = {"brain": brain, "state": state, "decision": decision}
    answer = connect().every("lesson.list", query={k: v for k, v in query.items() if v})
    short = short_ids(one.id for one in answer.items)
    rows = (
        (
            short[one.id], one.state, one.decision or "none", one.brain_name or one.brain,
            ago(one.updated_at), one.text,
        )
        for one in answer.items
    )  # fmt: skip
    show_list(answer, _LESSONS, rows, empty="No lessons yet.", as_json=as_json)


@app.command()
def approve(lesson: LessonId, as_json: bool = JSON_OPTION) -> None:
    """Approve a lesson; its brain learns of it."""
    _decide("lesson.approve", lesson, as_json=as_json)


@app.command()
def reject(lesson: LessonId, as_json: bool = JSON_OPTION) -> None:
    """Reject a lesson; its brain learns of it."""
    _decide("lesson.reject", lesson, as_json=as_json)


def _decide(endpoint: str, lesson: str, *, as_json: bool) -> None:
    plane = connect()
    if len(lesson) < _WHOLE_ID:
        listed = [one.id for one in plane.every("lesson.list").items]
        lesson = pick(lesson, listed, what="lesson", where="holdfast lesson list")
    answer = plane.call(endpoint, path={"id": lesson}, body=Empty())
    if as_json:
        show_json(answer)
    else:
        say(f"{answer.decision}: {answer.text}")
