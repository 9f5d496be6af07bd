"""The command line: one module for each noun, gathered here.

Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no plane answers, 4 no such
thing, 5 accepted but not done when the waiting ended, 130 interrupted.
"""

from __future__ import annotations

import typer

from holdfast.cli import agents, doctor, instance, quarantine, rehearse, tokens
from holdfast.cli.up import down, link, serve, up

app = typer.Typer(
    name="holdfast",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Holdfast runs fleets of always-on agents: one machine each, supervised, explained.",
    pretty_exceptions_show_locals=False,
)
app.command("up")(up)
app.command("down")(down)
app.command("serve")(serve)
app.command("link")(link)
app.command("doctor")(doctor.doctor)
app.command("version")(doctor.version)
app.add_typer(instance.app, name="instance")
app.add_typer(agents.app, name="agents")
app.add_typer(rehearse.app, name="rehearse")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(quarantine.operations, name="operation")
app.add_typer(tokens.app, name="token")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
