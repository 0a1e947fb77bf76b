"""Results of several jobs held against each other: a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.core.study import Study
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.spec.uris import resolve_uri
from distill.stages.report.compare import Judged, make_study
from distill.stages.report.write_study import read_result, write_study
from distill.storage.open import open_storage

_JOB_FILE = ".toml"


def compare_results(results: Sequence[str], measure: str | None = None) -> Study:
    """Read finished evaluations, and return what they say together. Each result is an
    `evaluation.json`, its folder, or a job file; nothing is computed anew.

    Raises JobError for fewer than two, for what holds no evaluation, and for a measure that one of
    them does not have.
    """
    return make_study([_read(result) for result in results], measure)


def write_comparison(study: Study, folder: str) -> str:
    """Write the study's page and JSON into a folder; return the page's URL. Raises
    MissingExtraError where the extra `report` is not installed."""
    return write_study(open_storage(resolve_uri(folder, Path.cwd())), study)


def _read(result: str) -> Judged:
    if result.endswith(_JOB_FILE):
        plan = Plan(load_job(Path(result)))
        return read_result(plan.evaluation().folder)
    return read_result(resolve_uri(result, Path.cwd()))
