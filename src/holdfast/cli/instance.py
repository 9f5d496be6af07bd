"""`holdfast instance`: create, list, show and control instances."""

from __future__ import annotations

import time
from typing import Annotated, Final, get_args

import typer
from msgspec import structs

from holdfast.cli import history, maintenance
from holdfast.cli.arguments import parse_pairs, read_secrets
from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import Name, resolve
from holdfast.cli.output import (
    EXIT_FAILED,
    EXIT_PENDING,
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    progress,
    say,
    short_ids,
    show_facts,
    show_json,
    show_table,
)
from holdfast.cli.output import show as show_line
from holdfast.cli.secrets_commands import channels, secrets
from holdfast.cli.tables import Column
from holdfast.wire.api.instances import (
    Climb,
    InstanceCreate,
    InstanceDestroy,
    InstanceList,
    InstanceOrder,
    InstancePatch,
    InstanceRotation,
    InstanceView,
    RecoveryView,
    Status,
)
from holdfast.wire.api.operations import Pending
from holdfast.wire.api.upgrades import NOT_KEPT, InstanceUpgrade, UpgradePreview
from holdfast.wire.confinement import CONFINEMENT_WORDS
from holdfast.wire.health import HEALTHS, WORKING, Health, HealthCode
from holdfast.wire.limits import MEMORY_MB_MIN, ROTATION_OVERLAP_S

app = typer.Typer(no_args_is_help=True, help="Make, list, look at and order instances about.")
ladder = typer.Typer(no_args_is_help=True, help="The recovery of an agent that will not stay up.")
app.add_typer(ladder, name="ladder")
app.add_typer(maintenance.config_app, name="config")
app.add_typer(maintenance.files_app, name="files")
app.command()(maintenance.doctor)
app.command()(maintenance.retry)
app.command()(history.incidents)
app.command()(history.logs)
app.command()(history.timeline)

Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", help="Wait until it is done, at most so long.")
]
Reason = Annotated[str, typer.Option(help="Why, for the log of decisions.")]
Cpus = Annotated[
    int | None, typer.Option(min=1, help="CPUs of its machine, where its cloud has sizes.")
]
Memory = Annotated[
    int | None,
    typer.Option(
        min=MEMORY_MB_MIN, metavar="MIB", help="Memory of its machine, where its cloud has sizes."
    ),
]
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
_HOPELESS: Final[frozenset[HealthCode]] = frozenset({"parked", "blocked", "damaged"})
"""Statuses that end by no waiting."""

_POLL_S: Final = 0.2


@app.command("list")
def list_(
    status: Annotated[
        str, typer.Option(help="Only these statuses, comma-separated: crashing, parked, ready …")
    ] = "",
    agent: Annotated[str, typer.Option(help="Only this agent.")] = "",
    text: Annotated[str, typer.Option(help="Only where name or id contains this.")] = "",
    sort: Annotated[
        str, typer.Option(help="health (what hurts first), name, restarts, contact, load …")
    ] = "health",
    as_json: bool = JSON_OPTION,
) -> None:
    """List instances."""
    plane = connect()
    query = {**_status_query(status), "agent": agent, "text": text, "sort": sort}
    found: InstanceList = plane.every("instance.list", query=query)
    items = found.items
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
            item.health.code,
            str(item.restarts),
            ago(item.last_contact_at),
            health_words(item) or item.attention or item.error or item.budget,
        )
        for item in items
    )
    show_table(_COLUMNS, rows, empty=_nothing(found))
    if items:
        counted = ((many, code) for code, many in found.health_counts.items() if many)
        say("; ".join(f"{many} {code}" for many, code in counted))


def _status_query(given: str) -> dict[str, str]:
    """Return the filter for words of `--status`: the one status, or the machine's where it fits."""
    words = [word for word in given.split(",") if word]
    is_machine = any(word not in HEALTHS for word in words) and all(
        word in get_args(Status) for word in words
    )
    known = HEALTHS.keys() | set(get_args(Status))
    if unknown := [word for word in words if word not in known]:
        fix = f"use {', '.join(HEALTHS)}"
        fail(f"--status: there is no {unknown[0]!r}", fix=fix, code=EXIT_USAGE)
    return {"status" if is_machine else "health": ",".join(words)}


def _nothing(found: InstanceList) -> str:
    """Return why a list is empty."""
    everything = sum(found.health_counts.values())
    if everything:
        return f"None of {everything} matches."
    return "No instances. Make one: holdfast instance create NAME"


def health_words(view: InstanceView) -> str:
    """Return what is so in a line; nothing for one that is as it should be."""
    found = view.health
    if found.code in {"ready", "stopped"}:
        return ""
    text = f"{found.text} ({found.phase})" if found.phase else found.text
    return f"{text}; next try {ago(found.next_try)}" if found.next_try else text


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, unique in the account.")],
    agent: Annotated[str, typer.Option(help="What it runs; see holdfast agents list.")] = "demo",
    version: Annotated[
        str, typer.Option(help="The version of its agent that it keeps; else the default one.")
    ] = "",
    env: Annotated[
        list[str] | None, typer.Option("--env", help="NAME=VALUE, a plain variable; repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="NAME=- reads a secret from standard input; NAME=@FILE from a file."),
    ] = None,
    cloud: Annotated[str, typer.Option(help="Where it runs; else where new ones do.")] = "",
    region: Annotated[str, typer.Option(help="The region of that cloud.")] = "",
    cpus: Cpus = None,
    memory: Memory = None,
    account: Annotated[str, typer.Option(help="The owning account; operators only.")] = "",
    stopped: Annotated[bool, typer.Option("--stopped", help="Do not start it yet.")] = False,
    wait: Wait = 0,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make an instance, and start it."""
    body = InstanceCreate(
        name=name,
        agent=agent,
        version=version,
        cloud=cloud,
        region=region,
        cpus=cpus,
        memory_mb=memory,
        desired="stopped" if stopped else "running",
        account=account,
        env=parse_pairs(env or (), option="--env"),
        secrets=read_secrets(secret or ()),
    )
    plane = connect()
    answer = plane.call("instance.create", body=body)
    _report(plane, answer, wait_s=wait, until="ready" if not stopped else None, as_json=as_json)


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
    _order("instance.start", name, wait_s=wait, until="ready", as_json=as_json)


@app.command()
def stop(name: Name, wait: Wait = 0, as_json: bool = JSON_OPTION) -> None:
    """Stop an instance; its data stay."""
    _order("instance.stop", name, wait_s=wait, until="stopped", as_json=as_json)


@app.command()
def restart(name: Name, wait: Wait = 0, as_json: bool = JSON_OPTION) -> None:
    """Restart its machine, applying changed variables."""
    _order("instance.restart", name, wait_s=wait, until="ready", as_json=as_json)


@app.command()
def upgrade(
    name: Name,
    version: Annotated[
        str, typer.Option(help="Which one, as holdfast agents list shows it; else the default one.")
    ] = "",
    restore: Annotated[
        bool,
        typer.Option(
            "--restore",
            help="To an older one, with its own state; the present is set aside.",
        ),
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Say what it would change, and change nothing.")
    ] = False,
    reason: Reason = "",
    wait: Wait = 0,
    as_json: bool = JSON_OPTION,
) -> None:
    """Change the version of its agent; what fails goes back to version and state of before."""
    plane = connect()
    if preview:
        query = {"version": version} if version else {}
        path = {"id": resolve(plane, name)}
        found = plane.call("instance.upgrade-preview", path=path, query=query)
        _show_preview(found, as_json=as_json)
        return
    body = InstanceUpgrade(version=version, restore=restore, reason=reason)
    answer = plane.call("instance.upgrade", path={"id": resolve(plane, name)}, body=body)
    _report(plane, answer, wait_s=wait, until="ready", as_json=as_json)


def _show_preview(found: UpgradePreview, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    if found.outcome == "changes":
        show_line(f"from {found.before} to {found.after}, and nothing is changed yet:")
        for number, step in enumerate(found.steps, start=1):
            show_line(f"  {number}. {step}")
        show_line(f"{found.back}." + (" It wants --restore." if found.restore else ""))
    else:
        show_line(f"nothing would change: {found.reason}")
    if found.versions:
        show_line(f"versions it could have: {', '.join(found.versions)}")


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
    _report(plane, answer, wait_s=0, until="ready", as_json=as_json)


@ladder.command("stop")
def stop_ladder(name: Name, reason: Reason = "", as_json: bool = JSON_OPTION) -> None:
    """Stop the recovery of its agent where it is; restarts go on."""
    _order("instance.ladder-stop", name, wait_s=0, until=None, as_json=as_json, reason=reason)


@ladder.command("retry")
def retry_ladder(name: Name, reason: Reason = "", as_json: bool = JSON_OPTION) -> None:
    """Let the recovery of its agent begin anew, at once."""
    _order("instance.ladder-retry", name, wait_s=0, until=None, as_json=as_json, reason=reason)


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
    version: Annotated[
        str, typer.Option(help="Another version of its agent; see holdfast agents list.")
    ] = "",
    cpus: Cpus = None,
    memory: Memory = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Change its variables, secrets, version or size; they apply with its next start."""
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
        version=version,
        cpus=cpus,
        memory_mb=memory,
    )
    answer = plane.call("instance.patch", path={"id": detail.instance.id}, body=body)
    _report(plane, answer, wait_s=0, until=None, as_json=as_json)


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
    endpoint: str,
    name: str,
    *,
    wait_s: float,
    until: HealthCode | None,
    as_json: bool,
    reason: str = "",
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
    until: HealthCode | None,
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
    if wait_s and until and not is_there(view, until):
        is_over = view.health.code in _HOPELESS
        text = f"it is {view.health.code}, and will not be {until} by itself: {view.health.text}"
        if not is_over:
            text = f"still {view.health.code} after {wait_s:g} s: {view.health.text}"
        fail(text, fix=f"holdfast instance why {view.name}",
             code=EXIT_FAILED if is_over else EXIT_PENDING)  # fmt: skip
    if wait_s and view.upgrade is not None and view.upgrade.step in NOT_KEPT:
        fail(f"it is {until}, and was not changed to {view.upgrade.after}: {view.upgrade.reason}")


def wait_for(
    plane: Connection, view: InstanceView, *, until: HealthCode, wait_s: float
) -> InstanceView:
    """Return the instance once it has this status, or as it is at the timeout.

    An agent that is `recovering` is ready too. What needs a person is not waited for.
    """
    ends = time.monotonic() + wait_s
    with progress(_waiting(view, until)) as line:
        while not is_there(view, until) and view.health.code not in _HOPELESS:
            if time.monotonic() >= ends:
                break
            time.sleep(_POLL_S)
            if (found := _look(plane, view.id)) is None:
                gone = Health(code="destroyed", text=HEALTHS["destroyed"].text)
                return structs.replace(view, desired="destroyed", status="destroyed", health=gone)
            if found.health != view.health:
                line.update(_waiting(found, until))
            view = found
    return view


def _waiting(view: InstanceView, until: HealthCode) -> str:
    """Return the line shown during a wait: the status, with its phase."""
    now = f"{view.health.code}: {health_words(view)}".removesuffix(": ")
    return f"{view.name} is {now}; waiting for {until}"


def is_there(view: InstanceView, until: HealthCode) -> bool:
    """Return whether an instance has the status that is waited for."""
    code = view.health.code
    return code == until or (until == "ready" and code in WORKING)


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
            ("status", view.health.code),
            ("that is", health_words(view) or HEALTHS[view.health.code].text),
            ("since", ago(view.health.since) if view.health.since else ""),
            ("to do", view.health.fix),
            ("machine is", view.status),
            ("restarts", str(view.restarts)),
            ("last contact", ago(view.last_contact_at)),
            ("machine", view.machine_id),
            ("confinement", _confinement(view)),
            ("attention", "" if view.health.text in view.attention else view.attention),
            ("version", _upgrade_words(view)),
            ("budget", view.budget),
            ("error", view.error),
            *_recovery_facts(view.recovery),
        ]
    )


def _upgrade_words(view: InstanceView) -> str:
    """Return what became of the last order for another version of its agent."""
    last = view.upgrade
    if last is None:
        return ""
    step = last.step.replace("_", " ") or "with its next start"
    reason = f" ({last.reason})" if last.reason else ""
    return f"from {last.before} to {last.after}: {step}{reason}"


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
