"""From a job and what is stored to concrete steps: the only place that makes them.

A step can be resolved when what it builds on is there: a label set's contract needs its fit's
weights, a student's digest needs its labels' hashes. So a `Plan` resolves each step when it is
asked for, against what is stored then, and whoever runs a job asks for them in order:

    inputs ► checks ► models ► fits, structures, selections, (calibration ► labels) ►
    students ► evaluation ► another round of a selection, where one is due

Fits, structures and label sets come each after what it needs (`distill.plan.order`).
`run`, `status`, `verify`, `gc` and the Python functions all go over these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from distill.core.audit_results import AuditResult
from distill.core.errors import PoolError
from distill.engine.protocol import TrainingNeeds
from distill.job.job import Job
from distill.labels.label_set import LabelSet
from distill.models.record import ModelRecord
from distill.plan.annotators import annotators_step
from distill.plan.audit.audit_plan import stored_audit
from distill.plan.audit.hold_out import hold_out_step
from distill.plan.audit.steps import HoldOutStep
from distill.plan.candidates import hints
from distill.plan.checks.stored import check_inputs
from distill.plan.evaluation import evaluate_step
from distill.plan.exports import export_step
from distill.plan.fits import fit_step
from distill.plan.label_steps import (
    calibrate_step,
    label_step,
    preview_step,
    stored_labels,
    verify_steps,
)
from distill.plan.making import models_to_make, networks_to_make, pools_to_make
from distill.plan.needs import later_trainings
from distill.plan.order import Batch, working_order
from distill.plan.pooled_step import pooled_step
from distill.plan.review import ReviewStep, review_step
from distill.plan.selection_steps import MeasureStep, SelectStep
from distill.plan.selections import measure_steps, round_due, select_step
from distill.plan.shared_pass import companions_of
from distill.plan.status import job_status
from distill.plan.steps import (
    AnnotatorsStep,
    CalibrateStep,
    EvaluateStep,
    ExportStep,
    FitStep,
    LabelStep,
    MakeModelStep,
    MakePoolStep,
    PooledStep,
    PreviewStep,
    StoredLabelsStep,
    TrainStep,
    VerifyStep,
)
from distill.plan.structure_steps import DriftStep, LookStep, StructureStep
from distill.plan.structures import drift_steps, look_step, structure_step
from distill.plan.teachers import GatherStep, SplitStep, gather_step, split_step, teacher_steps
from distill.plan.training import TrainingPlan, plan_fit, plan_student
from distill.plan.workspace import Workspace
from distill.pools.file_stats import ReadFileStats
from distill.spec.models import Eszsl
from distill.spec.selections import SELECT


class Plan:
    """The steps of one job, for one command."""

    def __init__(self, job: Job) -> None:
        self.workspace = Workspace(job)
        self.tables = self.workspace.tables
        self._hints: list[str] | None = None

    def pools_to_make(self) -> list[MakePoolStep]:
        """Return the pools that the job makes itself."""
        return pools_to_make(self.tables)

    def left(self) -> list[str]:
        """Return what is not done, a phrase each."""
        return [
            f"{line.name}, {line.left:,} of {line.total:,} {line.unit}"
            for line in job_status(self.workspace)
            if line.left or not line.total
        ]

    def hold_outs(self, read: ReadFileStats) -> list[HoldOutStep]:
        """Return the pool of which a share is held out for an audit. Raises PoolError."""
        audit = self.tables.audit
        if audit is None or audit.share is None:
            return []
        return [hold_out_step(self.workspace, self.workspace.pool(audit.whole, read=read))]

    def list_pools(self, read: ReadFileStats) -> None:
        """Take the inventories of all pools; `read` reads new files. Raises PoolError."""
        problems: dict[str, None] = {}  # a pool's are its selections' too
        for name in self.workspace.listed_pools:
            try:
                self.workspace.pool(name, read=read)
            except PoolError as error:
                problems[f"{self.tables.path}: {error}"] = None
        if problems:
            raise PoolError("\n".join(problems))

    def check_inputs(self) -> None:
        """Refuse what cannot be read or trained, before any work. Raises InputError."""
        check_inputs(self.workspace)

    def models_to_make(self, labels: Iterable[str]) -> list[MakeModelStep]:
        """Return the models of those label sets that the job makes itself."""
        return models_to_make(self.tables, labels)

    def networks_to_make(self) -> list[MakeModelStep]:
        """Return the models that networks of fits and students begin as and the job makes
        itself, each place once."""
        return networks_to_make(self.tables)

    def working_order(self) -> list[Batch]:
        """Return what the job makes before its students, each after what it needs."""
        return working_order(self.tables)

    def in_order(self, kind: str) -> list[str]:
        """Return the names of one kind, each after those that it needs."""
        batches = self.working_order()
        return [name for batch in batches if batch.kind == kind for name in batch.names]

    def fits(self, names: Sequence[str] | None = None) -> Iterator[FitStep]:
        """Yield the fits by passes among those named, all by default. Raises JobError."""
        for name in self.tables.chosen_fits(names):
            model = self.tables.fit[name].model
            if isinstance(model, Eszsl):
                yield fit_step(self.workspace, name, model)

    def trained_fits(self, names: Sequence[str] | None = None) -> list[TrainStep]:
        """Return the fits by gradients among those named, all by default. Raises JobError."""
        steps = []
        for name in self.tables.chosen_fits(names):
            if self.tables.fit[name].teachers is not None:
                steps += teacher_steps(self.workspace, name)
            elif not isinstance(self.tables.fit[name].model, Eszsl):
                steps.append(_train_step(f"fit.{name}", plan_fit(self.workspace, name)))
        return steps

    def splits(self, names: Sequence[str] | None = None) -> Iterator[SplitStep]:
        """Yield how pools are split for those fits with `teachers`, all by default, that are not
        done. Raises JobError, PoolError."""
        for name in self.tables.chosen_fits(names):
            step = split_step(self.workspace, name)
            if step is not None:
                yield step

    def gathers(self, names: Sequence[str] | None = None) -> Iterator[GatherStep]:
        """Yield how the teachers of those fits, or of all, become one model. Raises JobError."""
        for name in self.tables.chosen_fits(names):
            if self.tables.fit[name].teachers is not None:
                yield gather_step(self.workspace, name)

    def structure(self, name: str) -> StructureStep:
        """Return the fit of `structure.<name>`. Raises ContractError if its rows are missing."""
        return structure_step(self.workspace, name)

    def looks(self) -> list[LookStep]:
        """Return looks at all structures. Raises ContractError where one is not fitted."""
        return [look_step(self.workspace, name) for name in self.tables.structure]

    def selection(self, name: str) -> SelectStep:
        """Return the choice of `select.<name>`. Raises ContractError, PoolError."""
        self.workspace.forget_selection(name)
        return select_step(self.workspace, name)

    def rounds_to_measure(self) -> list[MeasureStep]:
        """Return the rounds of selections that were labelled and learned from, but not measured."""
        return measure_steps(self.workspace)

    def has_round_due(self) -> bool:
        """Whether any selection is to have another round."""
        return any(round_due(self.workspace, name) for name in self.tables.select)

    def know_selection(self, name: str) -> None:
        """List the rows of `select.<name>` from now on: they were just chosen. Raises PoolError."""
        self.workspace.forget_selection(name)
        self.workspace.pool(f"{SELECT}{name}")

    def drifts(self) -> list[DriftStep]:
        """Return how all structures hold the pools that they watch against their own rows. Raises
        ContractError where one is not fitted."""
        names = self.tables.structure
        return [step for name in names for step in drift_steps(self.workspace, name)]

    def calibration(self, name: str) -> CalibrateStep | None:
        """Return how `labels.<name>` is calibrated; None where the job asks for none."""
        return calibrate_step(self.workspace, name)

    def annotators(self, name: str) -> AnnotatorsStep | None:
        """Return how the parties of the merge `labels.<name>` are known; None where nobody asks."""
        return annotators_step(self.workspace, name)

    def pooled(self, name: str) -> PooledStep | None:
        """Return what finds the mean votes of `labels.<name>`'s groups; None where it pools none."""
        return pooled_step(self.workspace, name)

    def labels(self, name: str, *, mending: bool = False) -> LabelStep:
        """Return the labelling `labels.<name>`, calibrated, what is stored of it read anew.

        With `mending`, damaged commits are no error. Raises ContractError, PoolError."""
        label_tables = self.tables.labels
        over = label_tables[name].over
        step = label_step(self.workspace, name, over, mending=mending)
        self.workspace.forget_labels(name)  # the step is about to change them
        return step

    def companions(self, name: str) -> list[LabelStep]:
        """Return the labellings that the pass of `labels.<name>` answers too. Raises as `labels`."""
        return [self.labels(other) for other in companions_of(self.tables, name)]

    def later_trainings(self, name: str, pools: Collection[str]) -> Iterator[TrainingNeeds]:
        """Yield what the students ask for that learn from `labels.<name>` over those pools."""
        return later_trainings(self.workspace, name, pools)

    def know_labels(self, pool: str, labels: LabelSet) -> None:
        """Take a label set over a pool for what is stored: whoever wrote it knows."""
        self.workspace.know_labels(pool, labels)

    def preview(self, name: str) -> PreviewStep:
        """Return a look at `labels.<name>` over its first pool, before any calibration."""
        return preview_step(self.workspace, name)

    def whole_labels(self, name: str, pool: str) -> LabelStep:
        """Return `labels.<name>` over one pool, all of it labelled. Raises ContractError else."""
        step = label_step(self.workspace, name, (pool,))
        (part,) = step.parts
        self.workspace.whole_labels(name, part.pool, step.contract)
        return step

    def stored_labels(self, name: str) -> list[StoredLabelsStep]:
        """Return the label sets of `labels.<name>` as they lie; reads nothing."""
        return stored_labels(self.workspace, name)

    def verifications(self, name: str) -> list[VerifyStep]:
        """Return what proves the label sets of `labels.<name>`; opens none and lists no pool."""
        return verify_steps(self.workspace, name)

    def students(self, names: Sequence[str] | None = None) -> list[TrainStep]:
        """Return the trainings of students: all, or those named. Raises JobError for a name that
        the job lacks, ContractError for labels that are missing or mean something else."""
        return [
            _train_step(f"students.{variant.name}", plan_student(self.workspace, variant))
            for variant in self.tables.job.chosen_variants(names)
        ]

    def evaluation(self) -> EvaluateStep:
        """Return the evaluation. Raises JobError without `[evaluate]`, ContractError where a
        student or a label set is not there."""
        return evaluate_step(self.workspace)

    def stored_audit(self) -> AuditResult | None:
        """Return what the audit found; None where the job has none, or it is not done."""
        return stored_audit(self.workspace)

    def review(self) -> ReviewStep:
        """Return the choice of rows that people should see. Raises JobError without `[review]`,
        ContractError where labels that it goes by are not there."""
        return review_step(self.workspace)

    def new_hints(self) -> list[str]:
        """Name the heads that nobody judges; nothing when asked again."""
        named = hints(self.workspace) if self._hints is None else []
        self._hints = named
        return named

    def exports(self, names: Sequence[str] | None = None) -> list[ExportStep]:
        """Return the exports of students: all, or those named. Raises JobError for a name that the
        job lacks, ContractError where a student is not trained."""
        job = self.tables.job
        chosen = job.chosen_variants(names)
        return [export_step(self.workspace, variant) for variant in chosen]


def _train_step(name: str, found: TrainingPlan | ModelRecord) -> TrainStep:
    if isinstance(found, ModelRecord):
        return TrainStep(name, found, None)
    return TrainStep(name, None, found)
