"""What a lesson cannot be learned for, found at an epoch's end from sums over the whole team: every rank raises the same at the same point, so that a
team may leave this lesson and go on with its next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from distill.errors import TrainingError
from distill.job.students import Agreement, Confidence
from distill.train.lesson import Lesson, TermPlan


def require_rows(lesson: Lesson, weights: Sequence[float]) -> None:
    """Raises TrainingError where the rows of an epoch together weigh nothing to one of the terms."""
    for term, weight in zip(lesson.terms, weights, strict=True):
        if not weight:
            key = _emptied_by(term)
            raise TrainingError(
                f"{lesson.name}: {term.said}: not one row {'counts' if key else 'is known to it'}, so nothing can be learned. "
                f"Compare the target's values with the pool's classes, or look at the label set's rejects"
                f"{f', or {key}, by which every row may weigh 0' if key else ''}."
            )


def require_numbers(lesson: Lesson, epoch: int, losses: Sequence[float], weights: Iterable[Tensor]) -> None:
    """Raises TrainingError where a term's mean loss or the network's weights are no numbers; `losses` has the terms', and the total last."""
    if all(map(math.isfinite, losses)) and all(bool(each.isfinite().all()) for each in weights):
        return
    terms = [term.said for term, loss in zip(lesson.terms, losses, strict=False) if not math.isfinite(loss)]
    raise TrainingError(
        f"{lesson.name}: after epoch {epoch} {f'the loss is no number by {terms}' if terms else 'weights are no numbers'}. "
        f"Lower training.learning_rate, or look at the labels."
    )


def _emptied_by(term: TermPlan) -> str:
    """What to change of row weights that can all be 0, since float32 holds nothing below 1e-45; a balance of classes cannot."""
    if isinstance(term.row_weight, Confidence):
        return f"lower row_weight.power = {term.row_weight.power:g}"
    return f"raise row_weight.scale = {term.row_weight.scale:g}" if isinstance(term.row_weight, Agreement) else ""
