"""Which work is short (`Engine.for_short_work`): some seconds of one core, by its sizes alone, and
none of the user's code in it.

Students are none of it: on Ray they are taught by Ray Train, by as many workers as the job says,
whatever their size, so that what a small pool shows holds for a large one. Who joins a cluster has
all work done there.

A use is a number multiplied by a weight for one row. Of a network they are told from above, as if
each weight saw each number of a row, which those of a convolution nearly do.
"""

from __future__ import annotations

from collections.abc import Sequence

from distill.labelers.recipe import Recipe
from distill.models.record import NetworkPlan
from distill.plan.steps import EvaluateStep, FitInputs
from distill.plan.training import TrainingPlan
from distill.spec.models import Training
from distill.spec.pools import TextFeatures

# 5 s forward on a core of 20 GFLOP/s, three times that with the gradients
_MOST_USES = 5e10
# 2 ms each, of a network that is small: 12 s
_MOST_STEPS = 6_000
_MOST_ROWS = 20_000
_TOKENS = 256
_FORMS = frozenset({"network", "eszsl", "structure", "merge", "pooled"})
# held-out splits and constants, each of which is solved for
_SOLUTIONS = 112
_TIMED_ROWS = 5_000  # that each method is asked about for its pace


def trainings_are_short(plans: Sequence[TrainingPlan]) -> bool:
    """Whether all of them together are, of fits for which nobody asked for workers or GPUs."""
    # first, since steps are counted by cutting all rows of a pool, and students' may be billions
    if not all(map(_may_be_here, plans)):
        return False
    uses = sum(training_uses(plan.plan, plan.rows_seen) for plan in plans)
    return steps_are_few(uses, sum(plan.steps for plan in plans))


def steps_are_few(uses: int, steps: int) -> bool:
    """Whether so many steps, of so many uses in all, are short."""
    return uses <= _MOST_USES and steps <= _MOST_STEPS


def training_uses(network: NetworkPlan, rows: int) -> int:
    """Return the uses of a training in which all steps together see so many rows."""
    numbers = _numbers(network.in_features, is_text=network.model.reads_text)
    return rows * network.weights * numbers


def is_usual(training: Training) -> bool:
    """Whether nobody asked for workers or GPUs."""
    return training.workers is None and training.gpus in ("auto", 0)


def fit_is_short(inputs: FitInputs) -> bool:
    """Whether a fit by sums over rows is."""
    rows = inputs.dataset.rows
    width = inputs.dataset.width
    side = width + len(inputs.classes)
    uses = rows * width**2 + _SOLUTIONS * side**3
    return uses <= _MOST_USES and rows <= _MOST_ROWS


def evaluation_is_short(step: EvaluateStep) -> bool:
    """Whether judging and timing all methods is."""
    rows = step.pool.inventory.rows
    is_text = isinstance(step.pool.spec.features, TextFeatures)
    a_row = 0
    for each in step.candidates:
        record = each.recipe.record
        width = record.in_features if record else step.pool.width
        a_row += (each.parameters or 0) * _numbers(width, is_text=is_text)
    if step.powered is not None:
        rows += step.powered.pool.inventory.rows
    uses = (rows + _TIMED_ROWS) * a_row
    own = all(_is_ours(part) for each in step.candidates for part in each.recipe.parts())
    return own and uses <= _MOST_USES and rows * len(step.candidates) <= _MOST_ROWS


def _numbers(width: int, *, is_text: bool) -> int:
    """Numbers in a row, of a text its tokens."""
    return max(width, _TOKENS) if is_text else width


def _may_be_here(plan: TrainingPlan) -> bool:
    terms = [*plan.terms, *([plan.held_out.term] if plan.held_out else [])]
    own = plan.plan.code or any(term.own for term in terms)
    return plan.is_of_fit and not own and is_usual(plan.training)


def _is_ours(recipe: Recipe) -> bool:
    return recipe.form in _FORMS and recipe.ready is None and not recipe.code
