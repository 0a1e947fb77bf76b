"""Which team of workers trains which networks: the longest training first, each to the team that
has the least, the same on every worker."""

from __future__ import annotations

from collections.abc import Sequence

from distill.models.network import build_network, parameter_count
from distill.plan.training import TrainingPlan


def assign_to_teams(plans: Sequence[TrainingPlan], teams: int) -> list[list[TrainingPlan]]:
    """Return each team's trainings. One team has all, in their order."""
    if teams == 1:
        return [list(plans)]
    assigned: list[list[TrainingPlan]] = [[] for _ in range(teams)]
    loads = [0] * teams
    costs = _costs(plans)
    # the short ones then fill the gaps: a long one that came last would leave the other teams idle
    longest_first = sorted(range(len(plans)), key=lambda number: -costs[number])
    for number in longest_first:
        least = min(loads)
        team = loads.index(least)
        assigned[team].append(plans[number])
        loads[team] += costs[number]
    return assigned


def _costs(plans: Sequence[TrainingPlan]) -> list[int]:
    """Rows × parameters of each."""
    # no measure of time, but enough to know the long ones by
    # a sweep's variants share few networks, so few are built
    parameters = {}
    costs = []
    for plan in plans:
        network = str(plan.plan)
        if network not in parameters:
            built = build_network(plan.plan)
            parameters[network] = parameter_count(built)
        rows = plan.training.epochs * plan.sources[0].rows
        costs.append(rows * parameters[network])
    return costs
