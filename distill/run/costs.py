"""`distill plan`: a pilot, some trials, and what is left of a job will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from distill.core.cascades import CascadeCost
from distill.core.costs import CostPlan
from distill.core.errors import ContractError, DistillError
from distill.core.results import Evaluation, MethodResult
from distill.core.schema import unseal
from distill.engine.select import EngineChoice
from distill.job.job import Job
from distill.plan.costs.cascades import cascade_costs
from distill.plan.costs.estimate import estimate_costs
from distill.plan.costs.labelling import draw_pilot
from distill.plan.costs.ledger import read_spent
from distill.plan.costs.setting import Setting
from distill.plan.costs.stored import keep_costs, newest_costs
from distill.plan.costs.training import training_trials
from distill.plan.costs.trials import Tried, reading_trials
from distill.plan.plan import Plan
from distill.plan.workspace import Workspace
from distill.run.driver import Driver
from distill.run.lines import trained_line
from distill.spec.labels import Fitted
from distill.stages.trials import Trials
from distill.storage.open import open_storage

PILOT_FRAGMENTS = 16
"""Of each label set, at the most: `distill.plan.costs.ranges` says what ranges come of so many."""
Say = Callable[[str], None]


def plan_costs(
    job: Job,
    say: Say = lambda _line: None,
    *,
    pilot: bool = True,
    workers: Sequence[int] = (),
    engine: EngineChoice = "ray",
) -> CostPlan:
    """Return what is left of a job and what it will take: rows, hours, GPU-hours, money, bytes,
    requests, memory, as ranges.

    With a `pilot`, some fragments of each label set are labelled first, and short trials of
    networks are made; what was labelled, and fits that labelers need, stay as of a run. Without, all
    is said by what is stored: no file of a pool that was listed before is opened. Hours are said for
    `workers`, or else for the fewest and most of the job. `say` gets a line for each thing that was
    done. Raises DistillError; BudgetError where the budget is spent by the pilot.
    """
    driver = Driver(job, engine)
    if pilot:
        driver.prepare(job.labels)
    else:
        driver.plan.workspace.take_as_stored()
    setting = Setting(
        driver.plan.workspace,
        runs=(),
        tried=Tried(),
        evaluated=_evaluated(driver.plan),
        pilot_fragments=PILOT_FRAGMENTS,
        workers=tuple(workers),
    )
    labelled = 0
    if pilot:
        labelled = sum(
            _pilot(driver, setting, name, say) for name in driver.plan.in_order("labels")
        )
        setting = replace(setting, tried=_try(driver, setting))
    # read last, so that the pilot is in it
    setting = replace(setting, runs=read_spent(driver.plan.workspace.root))
    plan = estimate_costs(setting, labelled)
    former = newest_costs(driver.plan.workspace.root, job.name)
    if former is not None:
        plan = plan.beside_former(former)
    # a plan of a finished job estimates nothing, and the report would show it for the newest one
    if any(step.rows_left for step in plan.steps):
        keep_costs(driver.plan.workspace.root, plan)
    return plan


def plan_cascades(job: Job) -> list[CascadeCost]:
    """Return what each cascade of a job takes beside its teacher alone, over each pool that it was
    applied to, by what the runs of its root have spent. Opens no pool."""
    return cascade_costs(Workspace(job))


def _pilot(driver: Driver, setting: Setting, name: str, say: Say) -> int:
    """Label some fragments of a label set, where that can be done now; return how many."""
    labels = driver.job.labels[name]
    fits = [each.fit for _, each in labels.members(name) if isinstance(each, Fitted)]
    try:
        for fitted in driver.fit(fits) if fits else ():
            say(trained_line(fitted))
        chosen = draw_pilot(setting, name)
        if {each.pool for each in chosen} != set(labels.over):
            say(f"labels.{name}: no pilot before the rows that it is over are chosen")
            return 0
        labelled = driver.pilot(name, chosen)
    except ContractError as error:
        # all else is a failure of the pilot itself: a labeler that raises, a budget that is spent
        if not _waits_for_others(driver, name):
            raise
        say(f"labels.{name}: no pilot before what it needs is there: {error}")
        return 0
    wanted = sum(len(each.codes) for each in chosen)
    say(f"labels.{name}: pilot of {wanted} fragments, {labelled} of them labelled now")
    return labelled


def _waits_for_others(driver: Driver, name: str) -> bool:
    """Whether a label set needs a structure, or the values of another label set."""
    tables = driver.plan.tables
    if tables.values_of(name) is not None:
        return True
    members = tables.labels[name].members(name)
    return any(each.kind == "structure" for _, each in members)


def _try(driver: Driver, setting: Setting) -> Tried:
    networks = list(training_trials(setting))
    tables = setting.workspace.tables
    seen = {pool for variant in tables.job.variants for pool in variant.spec.taught_on}
    seen |= {fit.on for fit in tables.fit.values()}
    listed = [pool for pool in setting.workspace.listed_pools if pool in seen]
    trials = Trials(networks, list(reading_trials(setting.workspace, listed)))
    return driver.engine.call(trials)


def _evaluated(plan: Plan) -> Sequence[MethodResult]:
    """The methods as they were judged, where all of the job is."""
    if plan.tables.evaluate is None:
        return ()
    try:
        folder = open_storage(plan.evaluation().folder)
        stored = folder.read_or_none("evaluation.json")
        if stored is None:
            return ()
        plain = unseal(stored, folder.url("evaluation.json"))
    except DistillError:  # something of it is not made yet
        return ()
    return Evaluation.from_plain(plain).methods
