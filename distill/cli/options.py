"""The options that commands share.

A command that works on a job takes those of work as one `Work`, and is `working`.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.process import LogFormat, Process, process_edge

if TYPE_CHECKING:
    from distill.job.job import Job
    from distill.labels.parts import Part

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="A job file (TOML).")]
Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="One of the job's; all without it.")
]
Root = Annotated[
    str | None,
    typer.Option(
        "--root",
        help="Keep everything here instead of the job's root: a folder or s3://bucket/prefix.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="HOST:PORT",
        help="Join the Ray that runs there, from one of its nodes. Without it one is started here.",
    ),
]
Local = Annotated[
    bool,
    typer.Option(
        "--local", help="Work in this process alone, without Ray: one worker, breakpoints work."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show what Ray and the libraries say.")]
Format = Annotated[
    LogFormat,
    typer.Option(
        "--log-format", help="json: what happens, on standard error, an object a line as well."
    ),
]
Onnx = Annotated[
    bool,
    typer.Option("--onnx", help="Also as an ONNX file, held against torch by ONNX Runtime first."),
]
DespiteGate = Annotated[
    bool,
    typer.Option(
        "--despite-gate",
        help="Export students that the job's gate does not let pass; their cards say so.",
    ),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="N/COUNT",
        help=(
            "Be one of COUNT drivers that share nothing but the root, N from 0; `auto` where Slurm,"
            " Kubernetes or SkyPilot numbers them."
        ),
    ),
]


@dataclass(frozen=True)
class Work:
    """How a command works, as its person says."""

    root: Root = None
    ray: Ray = None
    local: Local = False
    verbose: Verbose = False
    log_format: Format = LogFormat.text

    def begin(self) -> AbstractContextManager[Process]:
        """Give what is around the command's body (`process_edge`)."""
        return process_edge(
            self.ray, local=self.local, verbose=self.verbose, log_format=self.log_format
        )

    def load(self, file: Path) -> Job:
        """Read the job that the command is given. Raises JobError."""
        return load(file, self.root)


def working(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, after its own options, those of `Work`, which it takes as `work`."""
    # typer reads options off a function's signature
    own = inspect.signature(command, eval_str=True)
    mine = [each for name, each in own.parameters.items() if name != "work"]
    shared = inspect.signature(Work, eval_str=True).parameters.values()
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in shared]

    @wraps(command)
    def with_options(**given: Any) -> None:
        how = {each.name: given.pop(each.name) for each in named}
        command(**given, work=Work(**how))

    signature = own.replace(parameters=[*mine, *named])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    return with_options


def load(file: Path, root: str | None) -> Job:
    """Read the job that a command is given. Raises JobError."""
    # as until the process edge: most of a short command is what is imported here
    gc.disable()
    try:
        from distill.core.events import name_job
        from distill.plan.load import load_job

        name_job(file.stem)
        return load_job(file, root=root)
    finally:
        gc.enable()


def part_of(text: str | None) -> Part | None:
    """Return the part that `--part` means. Raises JobError."""
    from distill.labels.parts import parse_part

    return None if text is None else parse_part(text)
