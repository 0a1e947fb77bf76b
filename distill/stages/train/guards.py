"""What a lesson cannot be learned for, found at an epoch's end, or before a checkpoint within one,
from sums over the whole team: every rank raises the same at the same point, so that a team may
leave this lesson and go on with its next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from distill.core.errors import UnlearnableError
from distill.plan.training import TermPlan
from distill.spec.students import Agreement, Confidence


def require_rows(terms: Sequence[TermPlan], weights: Sequence[float]) -> None:
    """Raises UnlearnableError where the rows of an epoch together weigh nothing to one of the
    terms."""
    for term, weight in zip(terms, weights, strict=True):
        if not weight:
            key = _emptied_by(term)
            raise UnlearnableError(
                f"{term.said}: not one row {'counts' if key else 'is known to it'}, so nothing can"
                " be learned. Compare the target's values with the pool's classes, or look at the"
                " label set's"
                f" rejects{f', or {key}, by which every row may weigh 0' if key else ''}."
            )


def require_numbers(
    terms: Sequence[TermPlan], when: str, losses: Sequence[float], weights: Iterable[Tensor]
) -> None:
    """Raises UnlearnableError where a loss or the network's weights are no numbers; `losses` has
    the terms', and may have the total last."""
    if all(map(math.isfinite, losses)) and all(bool(each.isfinite().all()) for each in weights):
        return
    wrong = [
        term.said for term, loss in zip(terms, losses, strict=False) if not math.isfinite(loss)
    ]
    raise UnlearnableError(
        f"{when} {f'the loss is no number by {wrong}' if wrong else 'weights are no numbers'}. "
        "Lower training.learning_rate, or look at the labels."
    )


def _emptied_by(term: TermPlan) -> str:
    """What to change of row weights that can all be 0, since float32 holds nothing below 1e-45; a
    balance of classes cannot."""
    if isinstance(term.row_weight, Confidence):
        return f"lower row_weight.power = {term.row_weight.power:g}"
    return (
        f"raise row_weight.scale = {term.row_weight.scale:g}"
        if isinstance(term.row_weight, Agreement)
        else ""
    )
