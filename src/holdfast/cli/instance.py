"""`holdfast instance`: create, list, show and control instances."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer
from msgspec import structs

from holdfast.cli import maintenance
from holdfast.cli.arguments import parse_pairs, read_secrets
from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import resolve
from holdfast.cli.output import (
    EXIT_PENDING,
    JSON_OPTION,
    ago,
    fail,
    plain,
    progress,
    say,
    short_ids,
    show_facts,
    show_json,
    show_list,
    show_table,
)
from holdfast.cli.output import show as show_line
from holdfast.cli.secrets_commands import channels, secrets
from holdfast.cli.tables import Column
from holdfast.wire.api.instances import (
    Climb,
    InstanceCreate,
    InstanceDestroy,
    InstanceOrder,
    InstancePatch,
    InstanceRotation,
    InstanceView,
    LogLine,
    RecoveryView,
)
from holdfast.wire.api.operations import Pending
from holdfast.wire.confinement import CONFINEMENT_WORDS
from holdfast.wire.limits import ROTATION_OVERLAP_S

app = typer.Typer(no_args_is_help=True, help="Make, list, look at and order instances about.")
ladder = typer.Typer(no_args_is_help=True, help="The recovery of an agent that will not stay up.")
app.add_typer(ladder, name="ladder")
app.add_typer(maintenance.config_app, name="config")
app.add_typer(maintenance.files_app, name="files")
app.command()(maintenance.doctor)
app.command()(maintenance.retry)

Name = Annotated[str, typer.Argument(help="Its id, its name, or how its id begins.")]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", help="Wait until it is done, at most so long.")
]
Reason = Annotated[str, typer.Option(help="Why, for the log of decisions.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the name as confirmation.")]

app.command()(channels)
app.command()(secrets)

_COLUMNS: Final = (
    Column("id"),
    Column("name"),
    Column("agent", drop=4),
    Column("desired", drop=5),
    Column("status"),
    Column("restarts", drop=3),
    Column("contact", drop=2),
    Column("attention", drop=1, least=16),
)
_TIMELINE: Final = (
    Column("when"),
    Column("kind"),
    Column("what"),
    Column("outcome", drop=4),
    Column("rule", drop=3),
    Column("id", drop=1),
    Column("reason", drop=2, least=20),
)
_POLL_S: Final = 0.2
_FOLLOW_S: Final = 1.0


@app.command("list")
def list_(
    status: Annotated[str, typer.Option(help="Only these statuses, comma-separated.")] = "",
    agent: Annotated[str, typer.Option(help="Only this agent.")] = "",
    text: Annotated[str, typer.Option(help="Only where name or id contains this.")] = "",
    sort: Annotated[str, typer.Option(help="name, status, restarts, contact, load …")] = "name",
    as_json: bool = JSON_OPTION,
) -> None:
    """List instances."""
    plane = connect()
    query = {"status": status, "agent": agent, "text": text, "sort": sort, "limit": "500"}
    items: list[InstanceView] = []
    after = ""
    while True:
        page = plane.call("instance.list", query={**query, "after": after})
        items += page.items
        after = page.next
        if not after:
            break
    if as_json:
        show_json(items)
        return
    short = short_ids(item.id for item in items)
    rows = (
        (
            short[item.id],
            item.name,
            item.agent,
            item.desired,
            item.status,
            str(item.restarts),
            ago(item.last_contact_at),
            item.attention or item.error or item.budget,
        )
        for item in items
    )
    show_table(_COLUMNS, rows, empty="No instances. Make one: holdfast instance create NAME")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, unique in the account.")],
    agent: Annotated[str, typer.Option(help="What it runs; see holdfast agents list.")] = "demo",
    env: Annotated[
        list[str] | None, typer.Option("--env", help="NAME=VALUE, a plain variable; repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="NAME=- reads a secret from standard input; NAME=@FILE from a file."),
    ] = None,
    account: Annotated[str, typer.Option(help="The owning account; operators only.")] = "",
    stopped: Annotated[bool, typer.Option("--stopped", help="Do not start it yet.")] = False,
    wait: Wait = 0,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make an instance, and start it."""
    body = InstanceCreate(
        name=name,
        agent=agent,
        desired="stopped" if stopped else "running",
        account=account,
        env=parse_pairs(env or (), option="--env"),
        secrets=read_secrets(secret or ()),
    )
    plane = connect()
    answer = plane.call("instance.create", body=body)
    _report(plane, answer, wait_s=wait, until="running" if not stopped else "", as_json=as_json)


@app.command()
def show(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show one instance."""
    plane = connect()
    detail = plane.call("instance.get", path={"id": resolve(plane, name)})
    if as_json:
        show_json(detail)
        return
    _show(detail.instance)
    show_facts(("tried", _tried(climb)) for climb in detail.climbs)
    show_facts(
        [(key, value) for key, value in sorted(detail.env.items())]
        + [(key, "(secret)") for key in detail.secret_names]
        + [(item.name, item.value) for item in detail.details]
    )


@app.command()
def start(name: Name, wait: Wait = 0, as_json: bool = JSON_OPTION) -> None:
    """Start an instance."""
    _order("instance.start", name, wait_s=wait, until="running", as_json=as_json)


@app.command()
def stop(name: Name, wait: Wait = 0, as_json: bool = JSON_OPTION) -> None:
    """Stop an instance; its data stay."""
    _order("instance.stop", name, wait_s=wait, until="stopped", as_json=as_json)


@app.command()
def restart(name: Name, wait: Wait = 0, as_json: bool = JSON_OPTION) -> None:
    """Restart its machine, applying changed variables."""
    _order("instance.restart", name, wait_s=wait, until="running", as_json=as_json)


@app.command("rotate-secrets")
def rotate_secrets(
    name: Name,
    overlap_s: Annotated[
        int, typer.Option("--overlap", help="Seconds that those before stay good.")
    ] = ROTATION_OVERLAP_S,
    key: Annotated[bool, typer.Option(help="Replace its API key as well.")] = True,
    as_json: bool = JSON_OPTION,
) -> None:
    """Replace its tokens and its API key, while it runs."""
    plane = connect()
    answer = plane.call(
        "instance.rotate-secrets",
        path={"id": resolve(plane, name)},
        body=InstanceRotation(overlap_s=overlap_s, key=key),
    )
    _report(plane, answer, wait_s=0, until="running", as_json=as_json)


@ladder.command("stop")
def stop_ladder(name: Name, reason: Reason = "", as_json: bool = JSON_OPTION) -> None:
    """Stop the recovery of its agent where it is; restarts go on."""
    _order("instance.ladder-stop", name, wait_s=0, until="", as_json=as_json, reason=reason)


@ladder.command("retry")
def retry_ladder(name: Name, reason: Reason = "", as_json: bool = JSON_OPTION) -> None:
    """Let the recovery of its agent begin anew, at once."""
    _order("instance.ladder-retry", name, wait_s=0, until="", as_json=as_json, reason=reason)


@app.command()
def destroy(name: Name, yes: Yes = False, wait: Wait = 0, as_json: bool = JSON_OPTION) -> None:
    """Destroy it and its data, for good."""
    plane = connect()
    instance_id = resolve(plane, name)
    view = plane.call("instance.get", path={"id": instance_id}).instance
    if not yes:
        typed = typer.prompt(f"This destroys {view.name} and its data. Type its name", err=True)
        if typed != view.name:
            fail(f"{typed!r} is not its name, so nothing was done")
    answer = plane.call(
        "instance.destroy", path={"id": instance_id}, body=InstanceDestroy(confirm=view.name)
    )
    _report(plane, answer, wait_s=wait, until="destroyed", as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    env: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE")] = None,
    secret: Annotated[list[str] | None, typer.Option(help="NAME=- or NAME=@FILE")] = None,
    unset: Annotated[list[str] | None, typer.Option(help="NAME, to be removed")] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Change its variables and secrets; they reach the agent with its next start."""
    gone = dict.fromkeys(unset or ())
    plane = connect()
    detail = plane.call("instance.get", path={"id": resolve(plane, name)})
    secret_names = set(detail.secret_names)
    body = InstancePatch(
        env={
            **parse_pairs(env or (), option="--env"),
            **{key: None for key in gone if key not in secret_names},
        },
        secrets={
            **read_secrets(secret or ()),
            **{key: None for key in gone if key in secret_names},
        },
    )
    answer = plane.call("instance.patch", path={"id": detail.instance.id}, body=body)
    _report(plane, answer, wait_s=0, until="", as_json=as_json)


@app.command()
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
            sys.stdout.write(text + "\n")
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


@app.command()
def timeline(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many entries.")] = 40,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what happened, what was decided and the outcomes, newest first."""
    plane = connect()
    path = {"id": resolve(plane, name)}
    answer = plane.call("instance.timeline", path=path, query={"limit": str(limit)})
    short = short_ids(e.id for e in answer.entries)
    rows = (
        (ago(e.at), e.kind, e.name, e.outcome, e.rule, short[e.id], e.reason)
        for e in answer.entries
    )
    show_list(answer, _TIMELINE, rows, empty="Nothing yet.", as_json=as_json)


@app.command("why")
def why(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Explain why it is not running (or that it is), and what comes next."""
    plane = connect()
    answer = plane.call("instance.explain", path={"id": resolve(plane, name)})
    if as_json:
        show_json(answer)
        return
    show_line(answer.summary, style="bold")
    show_facts((fact.code, fact.text) for fact in answer.facts)
    show_facts(
        [
            ("waiting for", answer.waiting_for),
            ("next look", ago(answer.next_at) if answer.next_at else ""),
            ("to do", answer.fix),
        ]
    )


def _order(
    endpoint: str, name: str, *, wait_s: float, until: str, as_json: bool, reason: str = ""
) -> None:
    """Send one order and report its outcome."""
    plane = connect()
    body = InstanceOrder(reason=reason)
    answer = plane.call(endpoint, path={"id": resolve(plane, name)}, body=body)
    _report(plane, answer, wait_s=wait_s, until=until, as_json=as_json)


def _report(
    plane: Connection,
    answer: InstanceView | Pending,
    *,
    wait_s: float,
    until: str,
    as_json: bool,
) -> None:
    """Print the instance, after waiting until it has the requested status."""
    if isinstance(answer, Pending):
        if as_json:
            show_json(answer)
        else:
            say(f"Accepted, not taken yet: holdfast operation show {answer.operation}")
        raise typer.Exit(EXIT_PENDING)
    view = wait_for(plane, answer, until=until, wait_s=wait_s) if wait_s and until else answer
    if as_json:
        show_json(view)
    else:
        _show(view)
    if wait_s and until and view.status != until:
        fail(f"still {view.status} after {wait_s:g} s", fix=f"holdfast instance why {view.name}",
             code=EXIT_PENDING)  # fmt: skip


def wait_for(plane: Connection, view: InstanceView, *, until: str, wait_s: float) -> InstanceView:
    """Return the instance once it has a status, or as it is at the timeout."""
    ends = time.monotonic() + wait_s
    with progress(f"{view.name}: {view.status}, waiting for {until}") as line:
        while view.status != until and time.monotonic() < ends:
            time.sleep(_POLL_S)
            if (found := _look(plane, view.id)) is None:
                return structs.replace(view, desired="destroyed", status="destroyed")
            view = found
            line.update(f"{view.name}: {view.status}, waiting for {until}")
    return view


def _look(plane: Connection, instance_id: str) -> InstanceView | None:
    """Return an instance, or None if it no longer exists."""
    page = plane.call("instance.list", query={"text": instance_id})
    return next((item for item in page.items if item.id == instance_id), None)


def _show(view: InstanceView) -> None:
    """Print one instance's facts."""
    show_facts(
        [
            ("id", view.id),
            ("name", view.name),
            ("account", view.account),
            ("agent", f"{view.agent} {view.agent_version}".strip()),
            ("desired", view.desired),
            ("status", view.status),
            ("restarts", str(view.restarts)),
            ("last contact", ago(view.last_contact_at)),
            ("machine", view.machine_id),
            ("confinement", _confinement(view)),
            ("attention", view.attention),
            ("budget", view.budget),
            ("error", view.error),
            *_recovery_facts(view.recovery),
        ]
    )


def _confinement(view: InstanceView) -> str:
    """Return how the running agent is confined."""
    return CONFINEMENT_WORDS[view.confinement] if view.status == "running" else ""


def _tried(climb: Climb) -> str:
    """Return one rung of the recovery as a line: what, when, why, and the outcome."""
    came = {None: "under way", True: "done", False: "skipped"}[climb.done]
    detail = f" ({climb.detail})" if climb.detail else ""
    return f"{climb.rung.replace('_', ' ')} {ago(climb.at)}, {climb.reason}: {came}{detail}"


def _recovery_facts(view: RecoveryView | None) -> list[tuple[str, str]]:
    """Return facts about the recovery of a failing agent, or of a bad configuration."""
    if view is None:
        return []
    rung = view.rung.replace("_", " ")
    held = " (stopped by somebody)" if view.held else ""
    reason = f": {view.reason}" if view.reason else ""
    config = view.config.replace("_", " ")
    return [
        ("recovery", f"{rung}{held}{reason}"),
        ("port", view.blocked),
        ("work cut", str(view.work_cuts) if view.work_cuts else ""),
        ("configuration", f"{config}: {view.config_reason}" if view.config_reason else config),
    ]
