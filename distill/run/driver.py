"""The work of one command: a plan, an engine, and maybe a part of what several drivers do together."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from distill.core.errors import JobError
from distill.core.results import Evaluation
from distill.engine.local import LocalEngine
from distill.engine.select import EngineChoice, engine_of
from distill.job.job import Job
from distill.labels.lease import go_first_or_wait, wait_while_busy
from distill.labels.parts import Part
from distill.labels.roll_up import roll_up
from distill.models.record import Trained
from distill.plan.costs.cascades import cascade_costs
from distill.plan.costs.ledger import price_of
from distill.plan.costs.sampling import Drawn
from distill.plan.costs.stored import estimate_beside_actual
from distill.plan.plan import Plan
from distill.plan.privacy import promises
from distill.plan.steps import TrainStep
from distill.plan.timelines import read_records
from distill.plan.votes import votes_statement
from distill.run.lines import labels_line, selection_line, trained_line
from distill.run.meter import Meter, Terms
from distill.run.recording import Recorder
from distill.spec.base import Gpus
from distill.stages.evaluate.audit_gate import with_audit
from distill.stages.evaluate.evaluate_students import evaluate_students, is_evaluated
from distill.stages.fit import fit_labeler
from distill.stages.inventory import file_stats_reader
from distill.stages.label.label_pool import LabelSummary, label_pool
from distill.stages.make_models import make_model
from distill.stages.report.write_report import write_report
from distill.stages.train.train_students import train_networks
from distill.storage.base import Storage
from distill.storage.open import open_storage

if TYPE_CHECKING:
    from distill.core.structure_results import StructureResult
    from distill.stages.select.select_rows import Selected

log = logging.getLogger(__name__)


class Driver:
    """One command on one job."""

    def __init__(
        self,
        job: Job,
        engine: EngineChoice,
        part: Part | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.job = job
        self.engine = engine_of(engine)
        self.part = part
        self.plan = Plan(job)
        price = price_of(job.prices)
        self.recorder = recorder or Recorder(self._root, job.name, part, price)
        """Of the run that this is a round of."""
        terms = Terms(job.path, job.budget, job.prices, self.plan.left)
        self.meter = Meter(terms, self._root(), self.recorder, shares=part is not None)

    @property
    def trains(self) -> bool:
        """Whether what needs whole label sets is this driver's."""
        return self.part is None or self.part.is_first

    def refuse_rounds_in_parts(self) -> None:
        """Refuse rounds of a selection where several drivers work. Raises JobError."""
        for name, selection in self.job.select.items():
            if self.part is not None and selection.rounds > 1:
                raise JobError(
                    f"{self.job.path}: select.{name}.rounds = {selection.rounds}: each round is"
                    " labelled after students were trained, and the drivers of other parts have"
                    " left by then. Run it without --part."
                )

    def prepare(self, labels: Iterable[str] = ()) -> None:
        """Make the pools that the job makes itself, list all, refuse what cannot be read or trained,
        and make the models of those label sets. Raises DistillError."""
        names = list(labels)
        if self.part is None:
            self._prepare(names)
            return
        # else each part reads the footers of all files
        lease = self.plan.workspace.root.folder("making", "inputs")
        go_first_or_wait(lease, "listing the pools", lambda: self._prepare(names))

    def make(self, kind: str, names: Sequence[str]) -> Iterator[str]:
        """Make things of one kind, the first part of their keys; yield a line for each."""
        if kind == "fit":  # together: networks share one group of workers
            yield from map(trained_line, self.fit(names))
            return
        for name in names:
            if kind == "structure":
                yield trained_line(self.structure(name))
            elif kind == "select":
                yield selection_line(self.select(name))
            else:
                yield from map(labels_line, self.label(name, trains=self.trains))

    def fit(self, names: Sequence[str] | None) -> list[Trained]:
        """Fit labelers: networks by gradients, in one worker group; the others by passes."""

        def train() -> list[Trained]:
            steps = self.plan.trained_fits(names)
            trained = self.train_steps(steps)
            both = zip(steps, trained, strict=True)
            # teachers are one model together, which is told where they are gathered
            return [each for step, each in both if step.teacher_of is None]

        for split in self.plan.splits(names):
            from distill.stages.teachers.split_rows import split_rows

            with self.meter.step(f"fit.{split.name}") as begin:
                if split.done is None:
                    begin()
                split_rows(split, self.engine)
        fitted = train() if self.part is None else wait_while_busy(train)
        for gather in self.plan.gathers(names):
            from distill.stages.teachers.gather_teachers import gather_teachers

            fitted.append(gather_teachers(gather))
        for step in self.plan.fits(names):
            with self.meter.step(f"fit.{step.name}") as begin:
                if step.record is None:
                    begin()
                fitted.append(fit_labeler(step, self.engine))
        return fitted

    def structure(self, name: str) -> Trained:
        """Fit a structure."""
        from distill.stages.structure.fit_structure import fit_structure

        step = self.plan.structure(name)
        with self.meter.step(f"structure.{name}") as begin:
            if step.record is None:
                begin()
            return fit_structure(step, self.engine)

    def select(self, name: str) -> Selected:
        """Choose rows."""
        from distill.stages.select.select_rows import select_rows

        step = self.plan.selection(name)
        with self.meter.step(f"select.{name}") as begin:
            if step.inputs is not None:
                begin()
            selected = select_rows(step, self.engine)
        self.plan.know_selection(name)
        return selected

    def label(self, name: str, *, mend: bool = False, trains: bool = False) -> list[LabelSummary]:
        """Label what is missing; where the same command `trains` on it, not before it is sure that
        the engine can."""
        with self.meter.step(f"labels.{name}") as begin_step:
            self._calibrate(name, begin_step)
            if self.part is not None:
                self._roll_up(name)
            step = self.plan.labels(name, mending=mend)

            def begin(pools: Collection[str]) -> None:
                if trains:
                    for needs in self.plan.later_trainings(name, pools):
                        self.engine.require(needs)
                begin_step()

            summaries = label_pool(
                step,
                self.engine,
                mend=mend,
                begin=begin,
                part=self.part,
                companions=lambda: self.plan.companions(name),
            )
        for summary in summaries:
            self.plan.know_labels(summary.pool, summary.labels)
        statement = votes_statement(self.plan.workspace, name)
        if statement is not None:
            log.info(
                "labels.%s: %s By the votes themselves ε is %.3g, which is not to be published",
                name,
                statement.sentence,
                statement.data_dependent_epsilon,
            )
        return summaries

    def pilot(self, name: str, chosen: Sequence[Drawn]) -> int:
        """Label some fragments of a label set, which stay; return how many were labelled now."""
        from distill.stages.label.pilot import label_pilot

        with self.meter.step(f"labels.{name}") as begin:
            self._calibrate(name, begin)
            step = self.plan.labels(name)
            return label_pilot(step, self.engine, chosen, begin)

    def train(self, names: Sequence[str] | None = None) -> list[Trained]:
        """Train students: those named, all by default."""
        return self.train_steps(self.plan.students(names))

    def evaluate(self) -> tuple[Evaluation, Storage]:
        """Judge label sets and students, and look at structures; return where the report goes."""
        step = self.plan.evaluation()
        for hint in self.plan.new_hints():
            log.info("%s: a width of its own makes a head a hint, which is not judged", hint)
        with self.meter.step("evaluate") as begin:
            if not is_evaluated(step):
                begin()
            evaluation = evaluate_students(step, self.engine)
            structures = tuple(self._looks())
        costs = estimate_beside_actual(self.plan.workspace)
        audit = self.plan.stored_audit()
        gate = with_audit(evaluation.gate, self.job.gate, audit)
        evaluation = replace(evaluation, structures=structures, costs=costs, audit=audit, gate=gate)
        evaluation = replace(evaluation, privacy=promises(self.plan.workspace))
        return evaluation, open_storage(step.folder)

    def report(self, evaluation: Evaluation, folder: Storage) -> str:
        """Write the evaluation as a page, with the job's runs so far; return its URL."""
        workspace = self.plan.workspace
        runs = read_records(workspace.root, self.job.name)
        return write_report(folder, evaluation, runs, cascade_costs(workspace))

    def _looks(self) -> Iterator[StructureResult]:
        for look in self.plan.looks():
            from distill.stages.structure.look import look_at

            yield look_at(look, self.engine)

    def _root(self) -> Storage:
        return self.plan.workspace.root

    def _prepare(self, labels: Iterable[str]) -> None:
        for pool in self.plan.pools_to_make():
            from distill.stages.make_pools import make_pool

            make_pool(pool)
        read = file_stats_reader(self.engine)
        for split in self.plan.hold_outs(read):
            from distill.stages.audit.write import divide_pool

            divide_pool(split)
        self.plan.list_pools(read)
        # before the checks, which hold networks against their models
        for model in self.plan.networks_to_make():
            make_model(model)
        self.plan.check_inputs()
        for model in self.plan.models_to_make(labels):
            make_model(model)

    def _calibrate(self, name: str, begin: Callable[[], None]) -> None:
        """Find what is found once before the first label; `begin` is called before any work."""
        annotators = self.plan.annotators(name)
        if annotators is not None and annotators.found is None:
            from distill.stages.label.fit_annotators import fit_annotators

            begin()
            fit_annotators(annotators, self.engine)
        pooled = self.plan.pooled(name)
        if pooled is not None and pooled.found is None:
            from distill.stages.label.fit_pooled import fit_pooled

            begin()
            fit_pooled(pooled, self.engine)
        calibration = self.plan.calibration(name)
        if calibration is not None and calibration.found is None:
            from distill.stages.label.calibrate import calibrate

            begin()
            calibrate(calibration, self.engine)

    def train_steps(self, steps: Sequence[TrainStep]) -> list[Trained]:
        """Train networks, together within what the budget leaves."""
        plans = [step.plan for step in steps if step.plan is not None]
        name = plans[0].key if len({plan.key for plan in plans}) == 1 else "training"
        with self.meter.step(name) as begin:
            if not plans:
                return train_networks(steps, self.engine)
            begin()
            gpus = max(self._gpus(plan.training.gpus) for plan in plans)
            trained = train_networks(steps, self.engine, self.meter.allowance(gpus))
            self.recorder.account.divide(_shares(steps, trained))
            return trained

    def _gpus(self, gpus: Gpus) -> float:
        """GPUs of a training worker, as far as that is known before it begins."""
        if gpus != "auto":
            return float(gpus)
        prices = self.job.prices
        may_have = prices is None or any(each.gpus for each in prices.instances)
        return 0.0 if self._is_local or not may_have else 1.0

    @property
    def _is_local(self) -> bool:
        return isinstance(self.engine, LocalEngine)

    def _roll_up(self, name: str) -> None:
        """Have one driver read the commits that no manifest has, before all read what is stored."""
        for stored in self.plan.stored_labels(name):
            folder = open_storage(stored.folder)
            inventory = self.plan.workspace.inventory(stored.pool)
            what = f"labels.{name} over {stored.pool}"
            roll_up(folder, name, stored.version, inventory, what=what)


def _shares(steps: Sequence[TrainStep], trained: Sequence[Trained]) -> Mapping[str, float]:
    """Return the time that workers took of each training that was trained now; of all teachers of a
    fit together."""
    shares: Counter[str] = Counter()
    for step, each in zip(steps, trained, strict=True):
        if each.now:
            details = each.record.details
            name = step.teacher_of or step.name
            shares[name] += details["seconds"] * details["workers"]
    return shares
