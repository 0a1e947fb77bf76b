"""The commands that do what a job says: all of it, or one stage.

Each loads the job, calls one function of `distill.run`, and shows what it returns. Nothing heavy is
imported before a command needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.options import DespiteGate, JobFile, Name, Onnx, PartOption, Work, part_of, working
from distill.cli.terminal import print_comparison, refuse_by_gate, say
from distill.core.errors import JobError, LimitError

commands = typer.Typer()


@commands.command()
@working
def run(file: JobFile, part: PartOption = None, *, work: Work) -> None:
    """All stages, in order, doing only what is unfinished."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import run_job

        finished = run_job(loaded, say, engine=process.engine, part=part_of(part))
        if finished.evaluation:
            print_comparison(finished.evaluation)
        if not process.display.begun:
            say("Nothing was left to do: no Ray was started, nothing was labelled or trained.")
        if finished.report:
            say(f"Report: {finished.report}")
        if finished.beyond:
            raise LimitError("\n".join(finished.beyond))


@commands.command()
@working
def fit(file: JobFile, name: Name = None, *, work: Work) -> None:
    """Train labelers before they label."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import fit_labelers, trained_line

        names = [name] if name else None
        for trained in fit_labelers(loaded, names, engine=process.engine):
            say(trained_line(trained))


@commands.command()
@working
def structure(file: JobFile, name: Name = None, *, work: Work) -> None:
    """Find structures in rows without labels: components, clusters, maps."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import fit_structures, trained_line

        for fitted in fit_structures(loaded, name, engine=process.engine):
            say(trained_line(fitted))


@commands.command()
@working
def select(file: JobFile, name: Name = None, *, work: Work) -> None:
    """Choose which rows of a pool are labelled."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import select_pool_rows, selection_line

        for selected in select_pool_rows(loaded, name, engine=process.engine):
            say(selection_line(selected))


@commands.command()
@working
def label(
    file: JobFile,
    name: Name = None,
    *,
    mend: Annotated[
        bool,
        typer.Option(
            "--mend", help="Read all that is stored first, and label what is damaged anew."
        ),
    ] = False,
    part: PartOption = None,
    work: Work,
) -> None:
    """Write label sets over their pools, exactly once."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import label_pools, labels_line

        mine = part_of(part)
        summaries = label_pools(loaded, name, mend=mend, engine=process.engine, part=mine)
        for summary in summaries:
            say(labels_line(summary))


@commands.command()
@working
def train(file: JobFile, name: Name = None, *, work: Work) -> None:
    """Teach students from stored labels."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import train_students, trained_line

        names = [name] if name else None
        for trained in train_students(loaded, names, engine=process.engine):
            say(trained_line(trained))


@commands.command()
@working
def evaluate(file: JobFile, *, work: Work) -> None:
    """Judge students against teacher, truth and each other."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import evaluate_students

        evaluation = evaluate_students(loaded, engine=process.engine)
        print_comparison(evaluation)
        refuse_by_gate(evaluation)


@commands.command()
@working
def report(
    files: Annotated[
        list[str], typer.Argument(metavar="JOB", help="A job file; with --compare several results.")
    ],
    *,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="One page over several results, as `distill compare`."),
    ] = False,
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the page of --compare goes.")
    ] = "comparison",
    work: Work,
) -> None:
    """Write the evaluation as one HTML file."""
    with work.begin() as process:
        if compare:
            from distill.cli.compare_command import show_study
            from distill.run.compare import compare_results

            show_study(compare_results(files), out)
            return
        loaded = work.load(_only(files))
        from distill.run import write_report

        say(f"Report: {write_report(loaded, engine=process.engine)}")


@commands.command()
@working
def export(
    file: JobFile,
    name: Name = None,
    *,
    onnx: Onnx = False,
    despite_gate: DespiteGate = False,
    work: Work,
) -> None:
    """Students as files that need nothing of distill's: safetensors, a Python file, a model card."""
    with work.begin() as process:
        loaded = work.load(file)
        from distill.run import export_students

        names = [name] if name else None
        exported = export_students(
            loaded, names, onnx=onnx, despite_gate=despite_gate, engine=process.engine
        )
        for each in exported:
            say(f"students.{each.name}: {each.uri}")


def _only(jobs: list[str]) -> Path:
    """Return the one job file that a report is of. Raises JobError."""
    if len(jobs) > 1:
        raise JobError("A report is of one job. To hold several against each other say --compare.")
    return Path(jobs[0])
