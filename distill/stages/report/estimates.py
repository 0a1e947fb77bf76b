"""What a plan of costs said beside what was spent, as the report shows it."""

from __future__ import annotations

from dataclasses import dataclass

from distill.core.amounts import amount, duration, money, size
from distill.core.costs import Range, StepActual
from distill.core.results import Evaluation


@dataclass(frozen=True)
class CostLine:
    """One step: planned, spent, and whether that lies within."""

    step: str
    hours: str
    spent_hours: str
    held: str  # `within`, `above`, `below`, or nothing where there was no range
    bytes: str
    stored: str
    gpu_hours: str  # spent; "" where no worker had a GPU
    dollars: str  # spent; "" without prices


def cost_lines(evaluation: Evaluation) -> list[CostLine]:
    """Return a line a step; none where no plan was made."""
    return [_line(each) for each in evaluation.costs]


def _line(each: StepActual) -> CostLine:
    has_bytes = each.bytes is not None
    return CostLine(
        each.step,
        amount(each.worker_hours, duration),
        duration(each.spent_worker_hours),
        _held(each.worker_hours, each.spent_worker_hours),
        amount(each.bytes, size) if has_bytes else "",
        size(each.spent_bytes) if has_bytes else "",
        duration(each.spent_gpu_hours) if each.spent_gpu_hours else "",
        "" if each.spent_dollars is None else money(each.spent_dollars),
    )


def _held(planned: Range | None, spent: float) -> str:
    if planned is None or planned.high is None or not spent:
        return ""
    if planned.holds(spent):
        return "within"
    is_above = spent > planned.high
    return "above" if is_above else "below"
