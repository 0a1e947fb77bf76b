"""The command `compare`: one page, and one table, over the results of several jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.process import process_edge
from distill.cli.terminal import print_table, say

if TYPE_CHECKING:
    from distill.core.study import Study

commands = typer.Typer()

Results = Annotated[
    list[str],
    typer.Argument(
        metavar="RESULT…", help="An evaluation.json, its folder, or a job file; two at least."
    ),
]
Measure = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What all go by. Default: each its own main measure."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A student that is shown and does not compete, as one that learned the truth.",
    ),
]
Out = Annotated[str, typer.Option(metavar="FOLDER", help="Where the page and its JSON go.")]


@commands.command()
def compare(
    results: Results,
    measure: Measure = None,
    beside: Beside = None,
    out: Out = "comparison",
    json: Annotated[
        bool, typer.Option("--json", help="Print the study as JSON, and write nothing.")
    ] = False,
) -> None:
    """One page for a study over data sets: methods, wins, ties, losses and ranks."""
    with process_edge(None):
        from distill.run.compare import compare_results

        study = compare_results(results, measure, beside or ())
        if json:
            from distill.stages.report.write_study import study_json

            typer.echo(study_json(study))
            return
        show_study(study, out)


def show_study(study: Study, out: str) -> None:
    """Print a study as a table, and write its page."""
    from distill.run.compare import write_comparison
    from distill.stages.report.compare_page import StudyPage

    page = StudyPage(study)
    heads = ["method", *page.heads, "rank", "w–t–l"]
    rows = [
        [
            _name(line.method.name, line.method.role),
            *(each.text for each in line.cells),
            line.rank,
            line.tally,
        ]
        for line in page.lines
    ]
    print_table("", heads, rows)
    say(f"{page.headline} {page.lead}")
    say(f"Comparison: {write_comparison(study, out)}")


def _name(name: str, role: str) -> str:
    return name if role == "student" else f"{name} ({role})"
