"""What a network cannot be trained for, found at an epoch's end, or before a checkpoint within one,
from sums over the whole team: every rank raises the same at the same point, so that a team may give
this training up and go on with its next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from distill.core.errors import UnlearnableError
from distill.models.trainable import clipped
from distill.plan.training import TermPlan
from distill.spec.students import Agreement, Confidence


def require_rows(terms: Sequence[TermPlan], weights: Sequence[float]) -> None:
    """Refuse terms to which the rows of an epoch together weigh nothing. Raises UnlearnableError."""
    for term, weight in zip(terms, weights, strict=True):
        if weight:
            continue
        remedy = _row_weight_remedy(term)
        trouble = "counts" if remedy else "is known to it"
        row_weight = f", or {remedy}, by which every row may weigh 0" if remedy else ""
        raise UnlearnableError(
            f"{term.text}: not one row {trouble}, so nothing can be learned. Compare the target's"
            " values with the pool's classes, or look at the label set's rejects"
            f"{row_weight}."
        )


def require_numbers(
    terms: Sequence[TermPlan],
    when: str,
    losses: Sequence[float],
    weights: Iterable[tuple[str, Tensor]],
) -> None:
    """Refuse losses or weights of the network, by name, that are no numbers; `losses` has the
    terms', and may have the total last. Raises UnlearnableError."""
    # not strict: the total is no term's
    pairs = zip(terms, losses, strict=False)
    wrong = [term.text for term, loss in pairs if not math.isfinite(loss)]
    overflowed: list[str] = []
    trouble = "weights are no numbers"
    if wrong:
        trouble = f"the loss is no number by {wrong}"
    elif all(math.isfinite(loss) for loss in losses):
        # with every loss a number, it is a gradient that was none
        overflowed = [name for name, each in weights if not bool(each.isfinite().all())]
        if not overflowed:
            return
    where = f" Gradients overflowed in {clipped(overflowed)}." if overflowed else ""
    message = f"{when} {trouble}. Lower training.learning_rate, or look at the labels.{where}"
    raise UnlearnableError(message)


def _row_weight_remedy(term: TermPlan) -> str:
    """What to change of row weights that can all be 0."""
    # float32 holds nothing below 1e-45, as a power or an exponential may be; a balance never is
    if isinstance(term.row_weight, Confidence):
        return f"lower row_weight.power = {term.row_weight.power:g}"
    if isinstance(term.row_weight, Agreement):
        return f"raise row_weight.scale = {term.row_weight.scale:g}"
    return ""
