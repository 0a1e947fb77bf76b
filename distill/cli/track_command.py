"""The command `track`: finished evaluations in TensorBoard and MLflow."""

from __future__ import annotations

from typing import Annotated

import typer

from distill.cli.process import process_edge
from distill.cli.terminal import say

commands = typer.Typer()


@commands.command()
def track(
    results: Annotated[
        list[str],
        typer.Argument(metavar="RESULT…", help="An evaluation.json, its folder, or a job file."),
    ],
    tensorboard: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where TensorBoard's event files go.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="MLflow's tracking server or store.")
    ] = None,
) -> None:
    """Training curves and measures of finished jobs in TensorBoard and MLflow."""
    with process_edge(None):
        from distill.run.track import track_results

        for line in track_results(results, tensorboard=tensorboard, mlflow=mlflow):
            say(line)
