"""The budget of a job, held against what its runs cost (`distill.core.account`) while one works;
what a run costs is kept under the root about once a minute.

Where a limit is passed, the engine is asked to stop as by Ctrl-C: no other fragment is handed out,
and what is in work is committed. A training is told at its start what it may spend (`Allowance`),
and leaves between two checkpoints. Passes over a pool (structures, selections, evaluation) are
short beside both and are not stopped within; none is begun when the budget is spent. None of them
waits for nodes beyond the budget.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distill.core import events
from distill.core.account import RunSpent
from distill.core.errors import BudgetError, BusyError, StorageError, UnlearnableError
from distill.core.events import Event, forget, observe, tell
from distill.engine.stop import finish_and_stop, wait_no_longer
from distill.plan.costs.ledger import Spent, SpentBook, sum_spent, write_spent
from distill.plan.costs.limits import SPENT, Allowance, allowance, passed_limits
from distill.plan.costs.money import WorkerKind
from distill.run.recording import Recorder
from distill.spec.budget import Budget
from distill.spec.prices import Prices
from distill.storage.base import Storage

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_TELL_SECONDS = 5.0
_WRITE_SECONDS = 60.0
_FIRST_WRITE_SECONDS = 5.0
"""A driver that is killed again and again at its start has spent something too."""
_MOST_NAMED = 6


@dataclass(frozen=True)
class Terms:
    """What a job says of money, and what a stopped run says."""

    job_file: Path
    budget: Budget | None
    prices: Prices | None
    left: Callable[[], Sequence[str]]
    """What is left of the job, a phrase each."""


class Meter:
    """Of one command on one job; `shares` says that other drivers spend from the same budget."""

    def __init__(
        self, terms: Terms, root: Storage, recorder: Recorder, *, shares: bool = False
    ) -> None:
        self.terms = terms
        self.root = root
        self.recorder = recorder
        self.account = recorder.account
        self.shares = shares
        self.passed: tuple[str, ...] = ()
        """The limits that were passed while something was in work."""
        self._book = SpentBook(root)
        self._former: Sequence[RunSpent] = ()
        """Other runs of this root; read only where there is a budget."""
        self._writes = threading.Lock()
        self._due = 0.0
        self._told = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[], None]]:
        """Meter one step. The block calls what it is given before it begins any work.

        Raises BudgetError, there or where a limit is passed before the step is done.
        """
        with ExitStack() as work:
            begun: list[str] = []

            def begin() -> None:
                if not begun:
                    self._require_left()
                    begun.append(name)
                    work.enter_context(self.recorder.recording())
                    work.enter_context(self._counted(name))

            try:
                yield begin
            except KeyboardInterrupt:
                if self.passed:
                    raise self._stopped(self.passed) from None
                raise
            except UnlearnableError as error:
                if SPENT in str(error):
                    raise self._stopped(self._passed()) from error
                raise

    def allowance(self, gpus: float) -> Allowance | None:
        """Return what a training may still spend; None without a budget."""
        budget = self.terms.budget
        if budget is None:
            return None
        return allowance(budget, self.spent(), self.terms.prices, WorkerKind(1.0, gpus))

    def spent(self) -> Spent:
        """Return what this run and, under a budget, those before it spent until now."""
        own = [self.account.spent()] if self.account.has_begun else []
        return sum_spent([*self._former, *own], self.terms.prices)

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        """Count what the block costs, and keep it, well or not."""
        self.account.begin(name)
        self._due = events.now() + _FIRST_WRITE_SECONDS
        try:
            with self._watched():
                yield
        except BusyError:  # nothing was done; who waits comes again
            self.account.end()
            raise
        except BaseException:
            self.account.end()
            self._keep_despite_error()
            raise
        self.account.end()
        self._write()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """While the block runs, count events, see hours pass, and keep what was spent."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_SECONDS):
                self._look()
                if events.now() >= self._due:
                    self._keep_meanwhile()

        thread = threading.Thread(target=watch, daemon=True)
        observe(self.account)
        observe(self)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            forget(self)
            forget(self.account)

    def __call__(self, event: Event) -> None:
        """Look what is spent where something was done."""
        if event.name == "committed":
            self._look()

    def _look(self) -> None:
        """Ask for a stop where a limit is passed; tell what the run cost every few seconds."""
        now = events.now()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            self._tell()
        passed = self._passed()
        if passed and (finish_and_stop() or wait_no_longer()):
            self.passed = passed

    def _tell(self) -> None:
        cost = self.account.totals()
        dollars = "" if cost.dollars is None else cost.dollars
        tell("cost", worker_hours=cost.worker_hours, gpu_hours=cost.gpu_hours, dollars=dollars)

    def _require_left(self) -> None:
        """Refuse to begin where the budget is spent. Raises BudgetError."""
        if self.terms.budget is not None:
            self._read_former()
        passed = self._passed()
        if passed:
            raise self._stopped(passed)

    def _read_former(self) -> None:
        own = self.account.spent().run
        self._former = [run for run in self._book.runs() if run.run != own]

    def _passed(self) -> tuple[str, ...]:
        budget = self.terms.budget
        return () if budget is None else tuple(passed_limits(budget, self.spent()))

    def _keep_meanwhile(self) -> None:
        try:
            self._write()
            if self.shares and self.terms.budget is not None:
                self._read_former()
        except StorageError:  # told where the step ends, if it lasts
            self._due = events.now() + _WRITE_SECONDS

    def _keep_despite_error(self) -> None:
        """Keep what was spent; that it cannot be kept hides no other error."""
        try:
            self._write()
        except StorageError as error:
            log.warning("what this run spent is not kept: %s", error)

    def _write(self) -> None:
        # one after the other: the thread's must not come last
        with self._writes:
            write_spent(self.root, self.account.spent())
            self._due = events.now() + _WRITE_SECONDS
        self._tell()

    def _stopped(self, passed: Sequence[str]) -> BudgetError:
        """Say what was spent, what is left, and how to go on."""
        left = self.terms.left()
        more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        rest = "; ".join(left[:_MOST_NAMED]) or "evaluation and report"
        limits = "; ".join(passed) or "what it allows a training"
        return BudgetError(
            f"{self.terms.job_file}: the budget is spent ({limits}; all runs of this root count)."
            f" What was done is stored. Left: {rest}{more}. Raise it in [budget] and run the same"
            " command again: it goes on there."
        )
