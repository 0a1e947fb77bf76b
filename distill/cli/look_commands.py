"""The commands that look at pools, jobs and what is stored, or use a student that left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.options import (
    JobFile,
    Name,
    Root,
    load,
)
from distill.cli.process import process_edge
from distill.cli.terminal import print_table, say

if TYPE_CHECKING:
    from distill.stages.verify import Verified

_SHOWN_KEYS = 20

commands = typer.Typer()


@commands.command()
def predict(
    export: Annotated[
        str, typer.Argument(metavar="EXPORT", help="The folder that `distill export` named.")
    ],
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="A file, a folder or a URI, in any format of a pool."),
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="A folder or a URI, for a Parquet file each.")
    ],
    own: Annotated[
        list[Path] | None,
        typer.Option(
            "--source",
            exists=True,
            dir_okay=False,
            help=(
                "Your copy of the code of a student's own network; what lies in EXPORT is never"
                " run."
            ),
        ),
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help=(
                "How CSV is written, as a pool says it: '{ delimiter = \";\" }'."
                " Default: as where the student was taught."
            ),
        ),
    ] = None,
) -> None:
    """Label files with an exported student."""
    with process_edge(None):
        from distill.job.load import read_dialect
        from distill.stages.predict import predict_files

        dialect = None if csv is None else read_dialect(csv, "--csv")
        for each in predict_files(export, source, target, own or (), csv=dialect):
            labelled = each.rows - each.rejected
            say(
                f"{each.url}: {each.rows:,} rows in = {labelled:,} labelled +"
                f" {each.rejected:,} rejected"
            )


@commands.command()
def show(
    file: JobFile,
    name: Annotated[str, typer.Argument(help="A label set of the job.")],
    rows: Annotated[int, typer.Option(min=1, max=50)] = 5,
    root: Root = None,
) -> None:
    """A few rows and what the labeler says of them, in this process, before paying."""
    with process_edge(None) as process:
        loaded = load(file, root)
        from distill.cli.preview import print_preview
        from distill.run import preview_labels

        preview = preview_labels(loaded, name, rows, engine=process.engine)
        networks = [
            *(fit.model for fit in loaded.fit.values()),
            *(student.model for student in loaded.students.values()),
        ]
        print_preview(networks, name, preview)


@commands.command()
def status(
    file: JobFile,
    timeline: Annotated[
        bool,
        typer.Option("--timeline", help="The last run's workers, rows and losses over time too."),
    ] = False,
    root: Root = None,
) -> None:
    """What is done and what is left; what the last run took, and what it lost."""
    with process_edge(None):
        loaded = load(file, root)
        from distill.cli.runs import last_run_line, print_timeline
        from distill.run import last_runs
        from distill.run import status as job_status

        rows = [
            [line.name, f"{line.done:,} of {line.total:,} {line.unit}", f"{line.left:,}", line.note]
            for line in job_status(loaded)
        ]
        print_table("", ["", "done", "left", ""], rows)
        runs = last_runs(loaded)
        if runs:
            say(last_run_line(runs[-1]))
            if timeline:
                print_timeline(runs[-1])


@commands.command()
def verify(
    file: JobFile,
    name: Name = None,
    canaries: Annotated[
        int,
        typer.Option(
            min=0, help="Ask the live labeler again about so many fragments of each label set."
        ),
    ] = 2,
    root: Root = None,
) -> None:
    """Prove the invariants on what is stored; exit 1 where one is broken."""
    with process_edge(None):
        loaded = load(file, root)
        from distill.run import verify_labels

        found = verify_labels(loaded, name, canaries)
        for each in found:
            say(_verified_line(each))
            for problem in each.problems:
                say(f"  {problem}")
    if any(each.problems for each in found):
        raise typer.Exit(1)


def _verified_line(verified: Verified) -> str:
    state = "broken" if verified.problems else "whole"
    return (
        f"labels.{verified.name} over {verified.pool}: {verified.rows:,} rows ="
        f" {verified.labelled:,} labelled + {verified.rejected:,} rejected,"
        f" {verified.fragments} fragments: {state}"
    )


@commands.command()
def gc(
    file: JobFile,
    name: Name = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; without this it is only told.")
    ] = False,
    root: Root = None,
) -> None:
    """What may go of label sets: attempts that lost, and manifest segments that others stand for;
    of structures the passes of finished fits, of inventories what a killed scan had read, and what
    newer records of runs, their costs and their spending stand for."""
    with process_edge(None):
        loaded = load(file, root)
        from distill.run import garbage

        verb = "deleted" if delete else "may go"
        for each in garbage(loaded, name, delete=delete):
            say(f"{each.what}: {len(each.keys):,} objects, {each.bytes:,} bytes {verb}")
            shown = () if delete else each.keys[:_SHOWN_KEYS]
            for key in shown:
                say(f"  {each.folder.url(key)}")


@commands.command()
def schema() -> None:
    """The JSON Schema of a job file."""
    import json

    from distill.job.job import Job

    typer.echo(json.dumps(Job.model_json_schema(), indent=1, ensure_ascii=False))


@commands.command()
def init(
    pool: Annotated[
        str,
        typer.Argument(
            metavar="POOL", help="A folder, file or s3:// URI of Parquet, Arrow, JSON lines or CSV."
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the files, where neither ending nor content tells."),
    ] = None,
) -> None:
    """A commented job for a pool, on standard output."""
    with process_edge(None):
        from distill.stages.init import job_template

        template = job_template(pool, format)
        typer.echo(template, nl=False)
