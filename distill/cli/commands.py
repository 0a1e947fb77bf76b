"""The commands. Each loads the job, calls one function of `distill.run`, and shows what it returns.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.process import LogFormat, process_edge
from distill.cli.terminal import print_comparison, print_table, say
from distill.core.errors import LimitError

if TYPE_CHECKING:
    from distill.job.job import Job
    from distill.labels.parts import Part
    from distill.stages.verify import Verified

app = typer.Typer(
    name="distill",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Label once, teach many.",
)

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

_SHOWN_KEYS = 20


def _load(file: Path, root: str | None) -> Job:
    from distill.core.events import name_job
    from distill.plan.load import load_job

    name_job(file.stem)
    return load_job(file, root=root)


def _part(text: str | None) -> Part | None:
    from distill.labels.parts import parse_part

    return None if text is None else parse_part(text)


@app.command()
def run(
    job: JobFile,
    part: PartOption = None,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """All stages, in order, doing only what is unfinished."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import run_job

        finished = run_job(loaded, say, engine=process.engine, part=_part(part))
        if finished.evaluation:
            print_comparison(finished.evaluation)
        if not process.display.begun:
            say("Nothing was left to do: no Ray was started, nothing was labelled or trained.")
        if finished.report:
            say(f"Report: {finished.report}")
        if finished.beyond:
            raise LimitError("\n".join(finished.beyond))


@app.command()
def fit(
    job: JobFile,
    name: Name = None,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Train labelers before they label."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import fit_labelers, trained_line

        names = [name] if name else None
        for trained in fit_labelers(loaded, names, engine=process.engine):
            say(trained_line(trained))


@app.command()
def structure(
    job: JobFile,
    name: Name = None,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Find structures in rows without labels: components, clusters, maps."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import fit_structures, trained_line

        for fitted in fit_structures(loaded, name, engine=process.engine):
            say(trained_line(fitted))


@app.command()
def select(
    job: JobFile,
    name: Name = None,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Choose which rows of a pool are labelled."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import select_pool_rows, selection_line

        for selected in select_pool_rows(loaded, name, engine=process.engine):
            say(selection_line(selected))


@app.command()
def label(
    job: JobFile,
    name: Name = None,
    *,
    mend: Annotated[
        bool,
        typer.Option(
            "--mend", help="Read all that is stored first, and label what is damaged anew."
        ),
    ] = False,
    part: PartOption = None,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Write label sets over their pools, exactly once."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import label_pools, labels_line

        mine = _part(part)
        summaries = label_pools(loaded, name, mend=mend, engine=process.engine, part=mine)
        for summary in summaries:
            say(labels_line(summary))


@app.command()
def train(
    job: JobFile,
    name: Name = None,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Teach students from stored labels."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import train_students, trained_line

        names = [name] if name else None
        for trained in train_students(loaded, names, engine=process.engine):
            say(trained_line(trained))


@app.command()
def evaluate(
    job: JobFile,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Judge students against teacher, truth and each other."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import evaluate_students

        print_comparison(evaluate_students(loaded, engine=process.engine))


@app.command()
def report(
    job: JobFile,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Write the evaluation as one HTML file."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import write_report

        say(f"Report: {write_report(loaded, engine=process.engine)}")


@app.command()
def export(
    job: JobFile,
    name: Name = None,
    *,
    onnx: Onnx = False,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Students as files that need nothing of distill's: safetensors, a Python file, a model card."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = _load(job, root)
        from distill.run import export_students

        names = [name] if name else None
        for each in export_students(loaded, names, onnx=onnx, engine=process.engine):
            say(f"students.{each.name}: {each.uri}")


@app.command()
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


@app.command()
def show(
    job: JobFile,
    name: Annotated[str, typer.Argument(help="A label set of the job.")],
    rows: Annotated[int, typer.Option(min=1, max=50)] = 5,
    root: Root = None,
) -> None:
    """A few rows and what the labeler says of them, in this process, before paying."""
    with process_edge(None) as process:
        loaded = _load(job, root)
        from distill.cli.preview import print_preview
        from distill.run import preview_labels

        print_preview(loaded, name, preview_labels(loaded, name, rows, engine=process.engine))


@app.command()
def status(job: JobFile, root: Root = None) -> None:
    """What is done and what is left."""
    with process_edge(None):
        loaded = _load(job, root)
        from distill.run import status as job_status

        rows = [
            [line.name, f"{line.done:,} of {line.total:,} {line.unit}", f"{line.left:,}", line.note]
            for line in job_status(loaded)
        ]
        print_table("", ["", "done", "left", ""], rows)


@app.command()
def verify(
    job: JobFile,
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
        loaded = _load(job, root)
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


@app.command()
def gc(
    job: JobFile,
    name: Name = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; without this it is only told.")
    ] = False,
    root: Root = None,
) -> None:
    """What may go of label sets: attempts that lost, and manifest segments that others stand for."""
    with process_edge(None):
        loaded = _load(job, root)
        from distill.run import garbage

        verb = "deleted" if delete else "may go"
        for each in garbage(loaded, name, delete=delete):
            say(
                f"labels.{each.name} over {each.pool}: {len(each.keys):,} objects,"
                f" {each.bytes:,} bytes {verb}"
            )
            shown = () if delete else each.keys[:_SHOWN_KEYS]
            for key in shown:
                say(f"  {each.folder.url(key)}")


@app.command()
def schema() -> None:
    """The JSON Schema of a job file."""
    import json

    from distill.job.job import Job

    typer.echo(json.dumps(Job.model_json_schema(), indent=1, ensure_ascii=False))


@app.command()
def init(
    pool: Annotated[
        str,
        typer.Argument(
            metavar="POOL", help="A folder, file or s3:// URI of Parquet, Arrow, JSON lines or CSV."
        ),
    ],
) -> None:
    """A commented job for a pool, on standard output."""
    with process_edge(None):
        from distill.stages.init import job_template

        template = job_template(pool)
        typer.echo(template, nl=False)
