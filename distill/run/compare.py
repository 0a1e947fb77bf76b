"""Results of several jobs held against each other: a study."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from distill.core.study import Study
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.spec.uris import resolve_uri
from distill.stages.report.compare import Judged, make_study
from distill.stages.report.write_study import read_result, write_study
from distill.storage.open import open_storage

_JOB_FILE = ".toml"


def compare_results(
    results: Sequence[str], measure: str | None = None, beside: Collection[str] = ()
) -> Study:
    """Read finished evaluations, and return what they say together. Each result is an
    `evaluation.json`, its folder, or a job file; nothing is computed anew. Students `beside` are
    shown and do not compete.

    Raises JobError for fewer than two, for what holds no evaluation, and for a measure or a student
    that is not there.
    """
    return make_study([read_evaluation(result) for result in results], measure, beside)


def write_comparison(study: Study, folder: str) -> str:
    """Write the study's page and JSON into a folder; return the page's URL. Raises
    MissingExtraError where the extra `report` is not installed."""
    return write_study(open_storage(resolve_uri(folder, Path.cwd())), study)


def read_evaluation(result: str) -> Judged:
    """Read a finished evaluation: `evaluation.json`, its folder, or a job file's. Raises JobError
    where there is none."""
    if result.endswith(_JOB_FILE):
        plan = Plan(load_job(Path(result)))
        return read_result(plan.evaluation().folder)
    return read_result(resolve_uri(result, Path.cwd()))
