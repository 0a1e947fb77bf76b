"""`distill apply`: a student over a whole pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.options import JobFile, PartOption, Work, part_of, working
from distill.cli.terminal import say

if TYPE_CHECKING:
    from distill.run.apply import Application

commands = typer.Typer()


@commands.command()
@working
def apply(
    job: JobFile,
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="A cascade or a student of the job, or the folder of an exported one.",
        ),
    ],
    pool: Annotated[str, typer.Argument(metavar="POOL", help="A pool of the job.")],
    part: PartOption = None,
    *,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read all that was written again; exit 1 where it is wrong."),
    ] = False,
    work: Work,
) -> None:
    """A student, or a cascade, over a whole pool, exactly once, as Parquet."""
    with work.begin() as process:
        loaded = work.load(job)
        from distill.run import apply_student

        mine = part_of(part)
        found = apply_student(
            loaded, student, pool, say, verify=verify, engine=process.engine, part=mine
        )
        _tell(found, str(part))
    if found.problems:
        raise typer.Exit(1)


def _tell(found: Application, part: str) -> None:
    applied = found.applied
    if applied is None:
        say(f"Part {part} is done: what was answered is written by part 0.")
        return
    now = f"{applied.written_now:,} written now" if applied.written_now else "done before"
    say(
        f"{applied.name} over {applied.pool}: {applied.rows:,} rows in {len(applied.files):,} files"
        f" ({now}): {applied.uri}"
    )
    for problem in found.problems:
        say(f"  {problem}")
