"""Which team of workers teaches which lessons: the longest first, each to the team that has the
least, the same on every worker."""

from __future__ import annotations

from collections.abc import Sequence

from distill.models.network import build_network, parameter_count
from distill.plan.training import TrainingPlan


def deal(lessons: Sequence[TrainingPlan], teams: int) -> list[list[TrainingPlan]]:
    """Each team's lessons. One team has all, in their order."""
    if teams == 1:
        return [list(lessons)]
    dealt: list[list[TrainingPlan]] = [[] for _ in range(teams)]
    loads = [0] * teams
    costs = _costs(lessons)
    for number in sorted(range(len(lessons)), key=lambda number: -costs[number]):
        least = loads.index(min(loads))
        dealt[least].append(lessons[number])
        loads[least] += costs[number]
    return dealt


def _costs(lessons: Sequence[TrainingPlan]) -> list[int]:
    """Rows × parameters of each: no measure of time, but enough to know the long ones by. A sweep's
    trials share few networks, so few are built."""
    parameters: dict[str, int] = {}
    for lesson in lessons:
        network = str(lesson.plan)
        if network not in parameters:
            parameters[network] = parameter_count(build_network(lesson.plan))
    rows = [lesson.training.epochs * lesson.sources[0].rows for lesson in lessons]
    return [each * parameters[str(lesson.plan)] for each, lesson in zip(rows, lessons, strict=True)]
