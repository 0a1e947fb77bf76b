"""The command `distill`. A command's module is imported when it is typed, or all are listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

_COMMANDS = {
    "work_commands": (
        "run",
        "fit",
        "structure",
        "select",
        "label",
        "train",
        "evaluate",
        "report",
        "export",
    ),
    "apply_command": ("apply",),
    "plan_command": ("plan",),
    "audit_command": ("audit",),
    "look_commands": ("predict", "show", "status", "verify", "gc", "schema", "init"),
    "compare_command": ("compare",),
    "review_command": ("review",),
    "track_command": ("track",),
    "submit_commands": ("submit", "jobs", "logs", "stop"),
}
"""By their modules, as `distill --help` lists them."""
_MODULES = {name: module for module, names in _COMMANDS.items() for name in names}


class _Commands(Mapping[str, Any]):
    """Commands of click's, each made of its module when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        return _commands_of(_MODULES[name])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


@cache
def _commands_of(module_name: str) -> Mapping[str, Any]:
    module = import_module(f"distill.cli.{module_name}")
    # a group's help is plain where the one above it is: without, each command's would be in boxes
    plain = typer.Typer(rich_markup_mode=None, add_completion=False)
    plain.add_typer(module.commands)
    return get_group(plain).commands


class _Group(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = _Commands()


app = typer.Typer(
    cls=_Group,
    # an app without commands that typer knows is a group by this
    callback=lambda: None,
    name="distill",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Label once, teach many.",
)
