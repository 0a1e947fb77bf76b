"""The command `distill`."""

from __future__ import annotations

import typer

from distill.cli import (
    apply_command,
    audit_command,
    compare_command,
    look_commands,
    plan_command,
    review_command,
    submit_commands,
    track_command,
    work_commands,
)

app = typer.Typer(
    name="distill",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Label once, teach many.",
)
app.add_typer(work_commands.commands)
app.add_typer(apply_command.commands)
app.add_typer(plan_command.commands)
app.add_typer(audit_command.commands)
app.add_typer(look_commands.commands)
app.add_typer(compare_command.commands)
app.add_typer(review_command.commands)
app.add_typer(track_command.commands)
app.add_typer(submit_commands.commands)
