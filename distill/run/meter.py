"""What one command spends, counted while it works: kept under the root about once a minute, and
held against the budget of the job.

The meter watches the run's events (`distill.core.events`), so no stage knows of it. Where a limit
is passed it asks the engine to stop as Ctrl-C does: no other fragment is handed out, and what is in
work is committed. A training is told at its start what it may spend (`Allowance`), and leaves
between two checkpoints. Passes over a pool (structures, selections, evaluation) are short beside
both and are not stopped within; none is begun when the budget is spent.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from distill.core.errors import BudgetError, BusyError, StorageError, UnlearnableError
from distill.core.events import Event, forget, observe
from distill.engine.stop import finish_and_stop
from distill.job.job import Job
from distill.models.record import Trained
from distill.plan.costs.ledger import RunSpent, Spent, StepSpent, read_spent, sum_spent, write_spent
from distill.plan.costs.limits import SPENT, Allowance, allowance, passed_limits
from distill.plan.costs.money import WorkerKind, gpus_held
from distill.plan.status import job_status
from distill.plan.steps import TrainStep
from distill.plan.workspace import Workspace
from distill.spec.base import Gpus
from distill.storage.base import Storage

_LOOK_SECONDS = 1.0
_WRITE_SECONDS = 60.0
_MOST_NAMED = 6


class Meter:
    """Of one command on one job; `shares` says that other drivers spend from the same budget."""

    def __init__(self, job: Job, root: Storage, *, shares: bool = False) -> None:
        self.job = job
        self.root = root
        self.shares = shares
        self.passed: tuple[str, ...] = ()
        """The limits that were passed while something was in work."""
        self._run: RunSpent | None = None
        self._former: Sequence[RunSpent] = ()
        """Other runs of this root; read only where there is a budget."""
        self._name = ""
        """Of the step in work."""
        self._group: _Group | None = None
        self._lock = threading.Lock()
        self._written = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[], None]]:
        """Meter one step. The block calls what it is given before it begins any work.

        Raises BudgetError, there or where a limit is passed before the step is done.
        """
        with ExitStack() as watch:
            begun: list[float] = []

            def begin() -> None:
                if not begun:
                    self._require_left()
                    begun.append(time.time())
                    self._name = name
                    watch.enter_context(self._watched())

            try:
                yield begin
            except BusyError:  # nothing was done; who waits comes again
                begun.clear()
                raise
            except KeyboardInterrupt:
                if self.passed:
                    raise self._stopped(self.passed) from None
                raise
            except UnlearnableError as error:
                if SPENT in str(error):
                    raise self._stopped(self._passed()) from error
                raise
            finally:
                watch.close()
                if begun:
                    self._end_step(time.time() - begun[0])
                self._group = None

    def __call__(self, event: Event) -> None:
        """Count a commit of the step in work."""
        if event.name != "committed" or event.step != self._name:
            return
        compute = self.job.labels[event.step.removeprefix("labels.")].compute
        figures = event.figures
        spent = StepSpent(
            compute.cpus,
            gpus_held(compute.gpus, str(figures["device"])),
            worker_seconds=float(figures["worker_seconds"]),
            rows=int(figures["rows"]),
            fragments=1,
            bytes=int(figures["bytes"]),
        )
        self._count(event.step, spent)
        self._look()

    def training(self, workers: int, gpus: float) -> None:
        """A group of training workers begins: it counts by the clock until each of its trainings
        says what it took, or else to the end of the step."""
        self._group = _Group(time.time(), workers, gpus)

    def trained(self, trainings: Sequence[tuple[TrainStep, Trained]]) -> None:
        """Count the trainings of the group in work, which are over."""
        self._group = None
        for step, trained in trainings:
            if step.plan is not None:
                self._count(step.name, _training_spent(trained, step.plan.training.gpus))

    def allowance(self, gpus: float) -> Allowance | None:
        """Return what a training may still spend; None without a budget."""
        budget = self.job.budget
        if budget is None:
            return None
        spent = self.spent()
        return allowance(budget, spent, self.job.prices, WorkerKind(1.0, gpus))

    def spent(self) -> Spent:
        """Return what this run and, under a budget, those before it spent until now."""
        own = [] if self._run is None else [self._until_now()]
        return sum_spent([*self._former, *own], self.job.prices)

    def _until_now(self) -> RunSpent:
        """This run, with what a group of training workers has spent so far."""
        assert self._run is not None
        now = time.time()
        with self._lock:
            run = replace(self._run, ended=now)
        group = self._group
        return run if group is None else run.with_step(self._name, group.spent(now))

    def _require_left(self) -> None:
        """Begin to count, unless the budget is spent. Raises BudgetError."""
        if self.job.budget is not None:
            self._read_former()
        passed = self._passed()
        if passed:
            raise self._stopped(passed)
        if self._run is None:
            now = time.time()
            # in the order of time where somebody lists them
            run = f"{int(now):011d}-{uuid.uuid4().hex[:8]}"
            self._run = RunSpent(run, self.job.name, now, now)
            self._written = now

    def _end_step(self, wall_seconds: float) -> None:
        """Keep what a step took, well or not."""
        group = self._group
        self._group = None
        if group is not None:
            self._count(self._name, group.spent(time.time()))
        self._count(self._name, StepSpent(wall_seconds=wall_seconds))
        self._name = ""
        self._write()

    def _read_former(self) -> None:
        own = None if self._run is None else self._run.run
        self._former = [run for run in read_spent(self.root) if run.run != own]

    def _passed(self) -> tuple[str, ...]:
        if self.job.budget is None:
            return ()
        return tuple(passed_limits(self.job.budget, self.spent()))

    def _count(self, name: str, spent: StepSpent) -> None:
        with self._lock:
            assert self._run is not None
            self._run = self._run.with_step(name, spent)

    def _look(self) -> None:
        """Ask for a stop where a limit is passed."""
        passed = self._passed()
        if passed and finish_and_stop():
            self.passed = passed

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """While the block runs, count events, see hours pass, and keep what was spent."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_SECONDS):
                self._look()
                if time.time() - self._written >= _WRITE_SECONDS:
                    self._keep_meanwhile()

        thread = threading.Thread(target=watch, daemon=True)
        observe(self)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            forget(self)

    def _keep_meanwhile(self) -> None:
        try:
            self._write()
            if self.shares and self.job.budget is not None:
                self._read_former()
        except StorageError:  # told where the step ends, if it lasts
            self._written = time.time()

    def _write(self) -> None:
        write_spent(self.root, self._until_now())
        self._written = time.time()

    def _stopped(self, passed: Sequence[str]) -> BudgetError:
        """Say what was spent, what is left, and how to go on."""
        left = list(_left(self.job))
        more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        rest = "; ".join(left[:_MOST_NAMED]) or "evaluation and report"
        limits = "; ".join(passed) or "what it allows a training"
        return BudgetError(
            f"{self.job.path}: the budget is spent ({limits}; all runs of this root count). What"
            f" was done is stored. Left: {rest}{more}. Raise it in [budget] and run the same"
            " command again: it goes on there."
        )


@dataclass(frozen=True)
class _Group:
    """Training workers at work."""

    began: float
    workers: int
    gpus: float
    """Of one worker."""

    def spent(self, now: float) -> StepSpent:
        """What they spent until now."""
        return StepSpent(1.0, self.gpus, worker_seconds=(now - self.began) * self.workers)


def _training_spent(trained: Trained, gpus: Gpus) -> StepSpent:
    details = trained.record.details
    worker_seconds = details["seconds"] * details["workers"]
    held = gpus_held(gpus, details["device"])
    return StepSpent(1.0, held, worker_seconds, rows=sum(details["rows"]))


def _left(job: Job) -> Iterator[str]:
    for line in job_status(Workspace(job)):
        if line.left or not line.total:
            yield f"{line.name}, {line.left:,} of {line.total:,} {line.unit}"
