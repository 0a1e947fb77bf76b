"""The stage `train`: one worker group for all networks that are not trained yet and may share it, in
which as many are trained side by side as there is room for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby

from distill.core.errors import UnlearnableError
from distill.core.progress import track
from distill.engine.protocol import Engine
from distill.labels.lease import hold_lease
from distill.models.record import ModelRecord, Trained, read_record
from distill.plan.costs.limits import Allowance
from distill.plan.needs import training_needs
from distill.plan.short import trainings_are_short
from distill.plan.steps import TrainStep
from distill.plan.training import TrainingPlan
from distill.storage.open import open_storage


def train_networks(
    steps: Sequence[TrainStep], engine: Engine, allowance: Allowance | None = None
) -> list[Trained]:
    """Train the networks that are not trained yet; return all of them, in order.

    Raises TrainingError; UnlearnableError, when all others are trained, for those that cannot be,
    or for which the `allowance` is too small."""
    plans = [step.plan for step in steps if step.plan is not None]
    now = _train(plans, engine, allowance)
    return [_trained(step, now) for step in steps]


def _trained(step: TrainStep, now: Collection[str]) -> Trained:
    if step.plan is None:
        assert step.record is not None
        return Trained(step.name, step.record, now=False)
    record = _stored(step.plan)
    assert record is not None  # rank 0 wrote it, or training raised
    return Trained(step.name, record, now=step.plan.folder in now)


def _stored(plan: TrainingPlan) -> ModelRecord | None:
    folder = open_storage(plan.folder)
    return read_record(folder)


def _train(
    plans: Sequence[TrainingPlan], engine: Engine, allowance: Allowance | None
) -> Collection[str]:
    """Train them all, and return the folders of those that no other driver had trained meanwhile."""
    given_up = []
    now = set()
    for _, together in groupby(sorted(plans, key=_group), key=_group):
        mine = list(together)
        try:
            now.update(_train_together(mine, engine, allowance))
        except UnlearnableError as error:
            given_up.append(str(error))
    if not given_up:
        return now
    if len(plans) > 1:
        given_up.append("Whatever else was due is trained; the same command tries only this again.")
    raise UnlearnableError("\n".join(given_up))


def _group(plan: TrainingPlan) -> tuple[str, str]:
    """What networks must have in common to be trained by one worker group."""
    # as text, since numbers, ranges and None have no order to be sorted in
    return str(plan.training.workers), str(plan.training.gpus)


def _train_together(
    planned: Sequence[TrainingPlan], engine: Engine, allowance: Allowance | None
) -> list[str]:
    with ExitStack() as held:
        # before the engine is asked for anything: a second driver is refused at once
        leases = {plan.lease or plan.folder: plan for plan in planned}
        for folder, plan in leases.items():
            what = plan.key if plan.lease else plan.name
            held.enter_context(hold_lease(open_storage(folder), f"training {what}"))
        # the lease's holder before may have ended one since this was planned
        plans = [plan for plan in planned if _stored(plan) is None]
        if not plans:
            return []
        if trainings_are_short(plans):
            engine = engine.for_short_work()
        first = plans[0]
        title = f"train {first.name}" if len(plans) == 1 else f"train {len(plans)} networks"
        # hundreds of teachers ask for the same
        asked = [training_needs(plan.key, plan.plan, plan.training) for plan in plans]
        for needs in dict.fromkeys(asked):
            engine.require(needs)
        # fewer where training stops early, which its last word says
        rows = sum(plan.rows_seen for plan in plans)
        bar = held.enter_context(track(title, rows))
        # torch is loaded here, where something is trained
        from distill.stages.train.loop import run_trainings

        # without a budget the function itself travels
        work = partial(run_trainings, allowance=allowance) if allowance else run_trainings
        workers = first.training.workers
        engine.train(
            work, plans, workers=workers, teams=len(plans), gpus=first.training.gpus, bar=bar
        )
        return [plan.folder for plan in plans]
