"""Evaluations in MLflow: an experiment a job, a run a method.

Runs carry what they are of as tags, so that a method is never tracked twice; one whose writing was
cut off is deleted and written anew. No global state of MLflow's is used or changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from distill.core.errors import MissingExtraError
from distill.core.results import Evaluation
from distill.stages.track.series import Point, Series, evaluation_digest, series_of

_EVALUATION = "distill.evaluation"
_KEY = "distill.key"
_FINISHED = "FINISHED"
_AT_ONCE = 1_000
"""Metrics of a request: MLflow's own limit."""
_VALUE_CHARACTERS = 6_000
"""Of a parameter: MLflow's own limit."""


def require_mlflow() -> None:
    """Raises MissingExtraError where it is not installed."""
    if find_spec("mlflow") is None:
        raise MissingExtraError("mlflow", "mlflow", "tracking by MLflow")


def track_in_mlflow(evaluation: Evaluation, uri: str) -> tuple[str, int]:
    """Write an evaluation's methods; return the experiment's name, and how many were written now.
    Raises MissingExtraError."""
    require_mlflow()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = _experiment(client, evaluation.job)
    name = evaluation_digest(evaluation)
    there = _runs(client, experiment, name)
    written = 0
    for series in series_of(evaluation):
        run = there.get(series.key)
        if run is not None and run.info.status == _FINISHED:
            continue
        if run is not None:
            client.delete_run(run.info.run_id)
        _write(client, experiment, name, series)
        written += 1
    return evaluation.job, written


def _experiment(client: Any, job: str) -> str:
    found = client.get_experiment_by_name(job)
    return str(client.create_experiment(job) if found is None else found.experiment_id)


def _runs(client: Any, experiment: str, evaluation: str) -> dict[str, Any]:
    """The runs of an evaluation by the method's key."""
    runs: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment], f"tags.`{_EVALUATION}` = '{evaluation}'", page_token=token
        )
        runs |= {run.data.tags[_KEY]: run for run in page}
        token = page.token
        if not token:
            return runs


def _write(client: Any, experiment: str, evaluation: str, series: Series) -> None:
    from mlflow.entities import Metric, Param

    tags = {_EVALUATION: evaluation, _KEY: series.key}
    run = client.create_run(experiment, run_name=series.name, tags=tags).info.run_id
    parameters = [
        Param(name, value[:_VALUE_CHARACTERS]) for name, value in series.parameters.items() if value
    ]
    client.log_batch(run, params=parameters)
    now = int(time.time() * 1000)
    for points in _batches(series.points):
        metrics = [Metric(point.name, point.value, now, point.step) for point in points]
        client.log_batch(run, metrics=metrics)
    client.set_terminated(run, _FINISHED)


def _batches(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    for start in range(0, len(points), _AT_ONCE):
        yield points[start : start + _AT_ONCE]
