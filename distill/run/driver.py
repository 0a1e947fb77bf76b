"""The work of one command: a plan, an engine, and maybe a part of what several drivers do together."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from distill.core.results import Evaluation
from distill.engine.select import EngineChoice, engine_of
from distill.job.job import Job
from distill.labels.lease import go_first_or_wait, wait_while_busy
from distill.labels.parts import Part
from distill.labels.roll_up import roll_up
from distill.models.record import Trained
from distill.plan.plan import Plan
from distill.run.lines import labels_line, selection_line, trained_line
from distill.stages.evaluate.evaluate_students import evaluate_students
from distill.stages.fit import fit_labeler
from distill.stages.inventory import file_stats_reader
from distill.stages.label.calibrate import calibrate
from distill.stages.label.label_pool import LabelSummary, label_pool
from distill.stages.make_models import make_model
from distill.stages.make_pools import make_pool
from distill.stages.select.select_rows import Selected, select_rows
from distill.stages.structure.fit_structure import fit_structure
from distill.stages.structure.look import look_at
from distill.stages.train.train_students import train_networks
from distill.storage.base import Storage
from distill.storage.open import open_storage

log = logging.getLogger(__name__)


class Driver:
    """One command on one job."""

    def __init__(self, job: Job, engine: EngineChoice, part: Part | None = None) -> None:
        self.job = job
        self.engine = engine_of(engine)
        self.part = part
        self.plan = Plan(job)

    @property
    def trains(self) -> bool:
        """Whether what needs whole label sets is this driver's."""
        return self.part is None or self.part.is_first

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
            return train_networks(self.plan.trained_fits(names), self.engine)

        networks = train() if self.part is None else wait_while_busy(train)
        return networks + [fit_labeler(step, self.engine) for step in self.plan.fits(names)]

    def structure(self, name: str) -> Trained:
        """Fit a structure."""
        return fit_structure(self.plan.structure(name), self.engine)

    def select(self, name: str) -> Selected:
        """Choose rows."""
        selected = select_rows(self.plan.selection(name), self.engine)
        self.plan.know_selection(name)
        return selected

    def label(self, name: str, *, mend: bool = False, trains: bool = False) -> list[LabelSummary]:
        """Label what is missing; where the same command `trains` on it, not before it is sure that
        the engine can."""
        calibration = self.plan.calibration(name)
        if calibration is not None:
            calibrate(calibration, self.engine)

        def require_trainings(pools: Collection[str]) -> None:
            for needs in self.plan.later_trainings(name, pools):
                self.engine.require(needs)

        begin = require_trainings if trains else None
        if self.part is not None:
            self._roll_up(name)
        step = self.plan.labels(name, mending=mend)
        summaries = label_pool(step, self.engine, mend=mend, begin=begin, part=self.part)
        for summary in summaries:
            self.plan.know_labels(summary.pool, summary.labels)
        return summaries

    def train(self, names: Sequence[str] | None = None) -> list[Trained]:
        """Train students: those named, all by default."""
        return train_networks(self.plan.students(names), self.engine)

    def evaluate(self) -> tuple[Evaluation, Storage]:
        """Judge label sets and students, and look at structures; return where the report goes."""
        step = self.plan.evaluation()
        for hint in self.plan.new_hints():
            log.info("%s: a width of its own makes a head a hint, which is not judged", hint)
        evaluation = evaluate_students(step, self.engine)
        structures = tuple(look_at(look, self.engine) for look in self.plan.looks())
        return replace(evaluation, structures=structures), open_storage(step.folder)

    def _prepare(self, labels: Iterable[str]) -> None:
        for pool in self.plan.pools_to_make():
            make_pool(pool)
        self.plan.list_pools(file_stats_reader(self.engine))
        # before the checks, which hold networks against their models
        for model in self.plan.networks_to_make():
            make_model(model)
        self.plan.check_inputs()
        for model in self.plan.models_to_make(labels):
            make_model(model)

    def _roll_up(self, name: str) -> None:
        """Have one driver read the commits that no manifest has, before all read what is stored."""
        for stored in self.plan.stored_labels(name):
            folder = open_storage(stored.folder)
            inventory = self.plan.workspace.inventory(stored.pool)
            what = f"labels.{name} over {stored.pool}"
            roll_up(folder, name, stored.version, inventory, what=what)
