"""The stage `train`: which networks are not trained yet, and one worker group for all of them that
may share it, in which as many are trained side by side as there is room for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby

from distill.core.errors import JobError, UnlearnableError
from distill.core.progress import track
from distill.engine.ray.train import train_workers
from distill.job.job import Job
from distill.models.record import ModelRecord, Trained
from distill.plan.training import TrainingPlan, plan_fit, plan_student

log = logging.getLogger(__name__)


def train_fits(job: Job, names: Sequence[str]) -> list[Trained]:
    """Train the networks among `[fit.*]` that are not trained yet. Returns all of them, in order."""
    return _train({f"fit.{name}": partial(plan_fit, job, name) for name in names})


def train_students(job: Job, names: Sequence[str] | None = None) -> list[Trained]:
    """Train the students that are not trained yet: those named, all by default, every variant of a
    sweep.

    Raises JobError for a name that the job lacks, ContractError for labels that are missing or mean
    something else, TrainingError; UnlearnableError, when all others are trained, for those that
    cannot be.
    """
    return _train(
        {
            f"students.{variant.name}": partial(plan_student, job, variant)
            for variant in job.chosen_variants(names)
        }
    )


def _train(wanted: Mapping[str, Callable[[], TrainingPlan | ModelRecord]]) -> list[Trained]:
    """Ask for each whether it is done, teach what is not, and ask again."""
    found = {name: look() for name, look in wanted.items()}
    lessons = [lesson for lesson in found.values() if isinstance(lesson, TrainingPlan)]
    _teach(lessons)
    return [
        Trained(
            name,
            _record(look() if isinstance(found[name], TrainingPlan) else found[name], name),
            isinstance(found[name], TrainingPlan),
        )
        for name, look in wanted.items()
    ]


def train_student(job: Job, name: str) -> list[Trained]:
    """`train_students` for one student."""
    return train_students(job, [name])


def _teach(lessons: Sequence[TrainingPlan]) -> None:
    def group(lesson: TrainingPlan) -> tuple[tuple[int, int], str]:
        return lesson.training.worker_range, str(lesson.training.gpus)

    given_up = []
    for _, together in groupby(sorted(lessons, key=group), key=group):
        mine = list(together)
        title = f"train {mine[0].name}" if len(mine) == 1 else f"train {len(mine)} networks"
        with track(title, sum(_rows(lesson) for lesson in mine)) as bar:
            from distill.stages.train.loop import run_trainings

            training = mine[0].training
            try:
                train_workers(
                    run_trainings,
                    mine,
                    workers=training.worker_range,
                    teams=len(mine),
                    gpus=training.gpus,
                    bar=bar,
                )
            except UnlearnableError as error:
                given_up.append(str(error))
    if given_up:
        others = (
            "\nWhatever else was due is trained; the same command tries only this again."
            if len(lessons) > 1
            else ""
        )
        raise UnlearnableError("\n".join(given_up) + others)


def _rows(lesson: TrainingPlan) -> int:
    """Rows of batches that all steps together see, padding included; fewer where training stops
    early, which its last word says."""
    return lesson.training.epochs * lesson.order(0).steps_per_epoch * lesson.training.batch_rows


def _record(found: TrainingPlan | ModelRecord, what: str) -> ModelRecord:
    if isinstance(found, TrainingPlan):
        raise JobError(
            f"{what}: what it learns from changed while it was trained. Run the same command again."
        )
    return found
