"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.process import LogFormat

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


def load(file: Path, root: str | None) -> Job:
    """Read the job that a command is given. Raises JobError."""
    from distill.core.events import name_job
    from distill.plan.load import load_job

    name_job(file.stem)
    return load_job(file, root=root)


def part_of(text: str | None) -> Part | None:
    """Return the part that `--part` means. Raises JobError."""
    from distill.labels.parts import parse_part

    return None if text is None else parse_part(text)
