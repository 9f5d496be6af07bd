"""`holdfast brain`: the folders in which agents keep their corrections.

Every command but the installing ones works on a folder of this machine, without a plane, with no
program using the folder, or beside any number that do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli import brain_hooks
from holdfast.cli.brain_folder import BrainFolder, brain_folder
from holdfast.cli.output import (
    EXIT_MISSING,
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    say,
    show,
    show_json,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.sdk import Brain, Event, Lesson, UnavailableError
from holdfast.sdk import doctor as looking
from holdfast.wire.times import time_text

POLL_S: Final = 0.5
"""Polling interval of `tail --follow`: faster than a person reads."""
CLOSE_S: Final = 2.0
"""How long a command waits for its rows to be sent; otherwise the next program sends them."""
_DEAD: Final = (
    Column("row"),
    Column("when", drop=2),
    Column("kind", drop=1),
    Column("status"),
    Column("why", least=24),
)
_RULES: Final = (
    Column("lesson"),
    Column("state"),
    Column("confidence", drop=1),
    Column("seen", drop=2),
    Column("shown", drop=3),
    Column("rule", least=30),
)

app = typer.Typer(
    no_args_is_help=True,
    help="Corrections of agents: how a folder stands, what was learned, hooks that record.",
)
dead_letters = typer.Typer(no_args_is_help=True, help="What the plane refused for good.")
rules = typer.Typer(no_args_is_help=True, help="What was learned from corrections.")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(rules, name="rules")
app.command()(brain_hooks.install)
app.command()(brain_hooks.uninstall)

Rows = Annotated[list[int] | None, typer.Argument(help="Row numbers; all where none is named.")]
LessonId = Annotated[str, typer.Argument(help="The lesson's id, or how it begins.")]


@app.command()
def doctor(
    brain: BrainFolder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be; deletes and sends nothing.")
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Print the state of a brain. Exits 0 healthy, 1 degraded, 2 broken."""
    folder = brain_folder(brain)
    if repair:
        try:
            for done in looking.repair(folder):
                say(done)
        except (OSError, UnavailableError, ValueError) as error:
            fail(f"{folder} could not be repaired: {error}")
    report = looking.examine(folder, more=brain_hooks.checks(folder))
    if as_json:
        show_json(report.as_json())
    else:
        for line in report.lines():
            show(line)
        say(f"The brain is {report.status}.")
    raise typer.Exit(report.exit_code)


@app.command()
def sync(
    brain: BrainFolder = None,
    full: Annotated[
        bool, typer.Option("--full", help="Send the whole record again; nothing is doubled.")
    ] = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Send what another program recorded here before.")
    ] = False,
    deadline_s: Annotated[
        float | None, typer.Option("--deadline", help="Seconds to go on for; no end by default.")
    ] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Send what waits, here and now, also while a kill switch is set.

    Exits 0 all delivered, 1 rows wait, 2 there are dead letters, 3 no address or key, 4 the folder
    cannot be used.
    """
    with _opened(brain) as opened:
        done = opened.sync(full=full, backfill=backfill, deadline_s=deadline_s)
    if as_json:
        show_json(done._asdict())
    else:
        show(f"{done.delivered} delivered, {done.pending} wait, {done.dead} dead letters")
        if done.queued_again:
            say(f"{done.queued_again} of the record were put into the queue.")
        if done.reason:
            say(f"They wait because: {done.reason}.")
    raise typer.Exit(done.exit_code)


@app.command()
def tail(
    brain: BrainFolder = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=1000)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show the last events of a brain."""
    with _opened(brain, sends=False) as opened:
        last = 0
        for event in opened.tail(most=lines) if lines else ():
            _show_event(event, as_json=as_json)
            last = event.id
        if not lines:
            last = max((event.id for event in opened.tail(most=1)), default=0)
        while follow:
            for event in opened.tail(after=last):
                _show_event(event, as_json=as_json)
                last = event.id
            time.sleep(POLL_S)


@dead_letters.command("list")
def list_dead(brain: BrainFolder = None, as_json: bool = JSON_OPTION) -> None:
    """List dead letters, with the plane's reason for each."""
    with _opened(brain, sends=False) as opened:
        letters = opened.dead_letters(most=1000)
    if as_json:
        show_json([letter._asdict() for letter in letters])
        return
    listed = (
        (str(d.row), ago(time_text(d.dead_ms)), d.kind, str(d.status), d.detail) for d in letters
    )
    show_table(_DEAD, listed, empty="No dead letters.")


@dead_letters.command()
def redrive(rows_: Rows = None, brain: BrainFolder = None) -> None:
    """Send dead letters once more."""
    with _opened(brain) as opened:
        count = opened.redrive(rows_)
        done = opened.flush()
    show(f"{count} sent again; {done.pending} wait")
    if done.pending:
        say(f"They wait because: {done.reason}.")


@dead_letters.command()
def drop(
    rows_: Rows = None,
    brain: BrainFolder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Drop dead letters for good; they stay counted."""
    if rows_ is None and not yes:
        typer.confirm("Drop every dead letter?", abort=True)
    with _opened(brain, sends=False) as opened:
        show(f"{opened.discard(rows_)} dropped")


@rules.command("list")
def list_rules(brain: BrainFolder = None, as_json: bool = JSON_OPTION) -> None:
    """List lessons, the surest first."""
    with _opened(brain, sends=False) as opened:
        lessons = opened.lessons()
    if as_json:
        show_json([lesson._asdict() for lesson in lessons])
        return
    listed = (
        (
            le.lesson_id,
            le.state,
            f"{le.confidence:.2f}",
            str(le.corrections),
            str(le.fires),
            le.text,
        )
        for le in lessons
    )
    show_table(_RULES, listed, empty="Nothing was learned yet.")


@rules.command("for")
def rules_for(
    task: Annotated[str, typer.Argument(help="What is to be done, in a sentence.")] = "",
    brain: BrainFolder = None,
) -> None:
    """Print the lessons that fit a task, as lines for a prompt."""
    with _opened(brain, sends=False) as opened:
        text = opened.rules_for(task)
    if text:
        show(text)
    else:
        say("Nothing that fits was learned yet.")


@rules.command()
def approve(lesson: LessonId, brain: BrainFolder = None) -> None:
    """Make a lesson a rule."""
    _judge(lesson, brain, approves=True)


@rules.command()
def reject(lesson: LessonId, brain: BrainFolder = None) -> None:
    """Never show a lesson again, however often it comes."""
    _judge(lesson, brain, approves=False)


def _judge(begins: str, brain: Path | None, *, approves: bool) -> None:
    with _opened(brain) as opened:
        lesson = _pick(opened.lessons(), begins)
        judge = opened.approve if approves else opened.reject
        judged = judge(lesson.lesson_id)
    show(f"{judged.lesson_id} is {judged.state}: {judged.text}")


def _pick(lessons: Iterable[Lesson], begins: str) -> Lesson:
    found = [lesson for lesson in lessons if lesson.lesson_id.startswith(begins)]
    if not found:
        fail(
            f"no lesson begins with {begins!r}", fix="holdfast brain rules list", code=EXIT_MISSING
        )
    if len(found) > 1:
        fail(f"{len(found)} lessons begin with {begins!r}: name more of it", code=EXIT_USAGE)
    return found[0]


@contextmanager
def _opened(brain: Path | None, *, sends: bool = True) -> Iterator[Brain]:
    """Open an existing folder; without `sends` nothing is sent meanwhile."""
    folder = brain_folder(brain)
    if not folder.is_dir():
        fail(f"{folder} is not there", fix="--brain FOLDER, or BRAIN_DIR", code=EXIT_MISSING)
    gate = (lambda: "") if sends else (lambda: "only looked at")
    opened = Brain(folder, gate=gate, notice=lambda text: say(text, style="yellow"))
    try:
        yield opened
    except UnavailableError as error:
        fail(f"{folder} cannot be used: {error}", fix="holdfast brain doctor")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        opened.close(CLOSE_S if sends else 0.0)


def _show_event(event: Event, *, as_json: bool) -> None:
    if as_json:
        kept = {**event._asdict(), "data": json.loads(event.data), "tags": json.loads(event.tags)}
        show(json.dumps(kept, ensure_ascii=False))
        return
    data = json.loads(event.data)
    about = data.get("summary") or data.get("text") or ""
    severity = f" {data['severity']} {data['category']}" if "severity" in data else ""
    show(f"{time_text(event.at_ms)}  {event.type}{severity}  {about}".rstrip())
