"""What the person who waits reads of a training while it runs."""

from __future__ import annotations

import time

from distill.stages.train.checkpoint import Position
from distill.stages.train.early_stopping import best_epoch
from distill.stages.train.training_setup import TrainingSetup

# on Ray a report is a call to another process
_EVERY_SECONDS = 0.5


class Reporter:
    """Reports how far one training is: a step that is done again is not counted twice."""

    def __init__(self, setup: TrainingSetup) -> None:
        self.setup = setup
        self._reported = time.monotonic()

    def report(self, steps: int, note: str = "") -> None:
        """Report so many steps, with a note."""
        plan = self.setup.plan
        rows = steps * plan.training.batch_rows
        text = f"{plan.name}: {note}" if note else plan.name
        self.setup.context.say(plan.name, rows, text)

    def report_step(self, steps: int) -> None:
        """Report so many steps now and then, and the last one."""
        setup = self.setup
        is_due = time.monotonic() - self._reported >= _EVERY_SECONDS
        if is_due or steps == setup.total_steps:
            epoch = (steps - 1) // setup.steps_per_epoch + 1
            self.report(steps, f"epoch {epoch} of {setup.plan.training.epochs}")
            self._reported = time.monotonic()

    def report_end(self, steps: int, position: Position) -> None:
        """Report how the training ended, as so many steps."""
        epochs = len(position.history)
        note = f"ended after epoch {epochs} of {self.setup.plan.training.epochs}"
        best = best_epoch(position.history)
        if best:
            note += f", epoch {best} is best"
        self.report(steps, note)
