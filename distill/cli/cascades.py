"""What a person sees of cascades in a plan: who answers how much, and what that costs beside the
teacher alone."""

from __future__ import annotations

from collections.abc import Sequence

from distill.cli.terminal import print_table, say
from distill.core.cascades import CascadeCost


def print_cascades(names: Sequence[str], costs: Sequence[CascadeCost]) -> None:
    """Print the cascades of a job that were applied, and name those that were not."""
    # imported here, since few jobs have any
    from distill.stages.report.cascade import cascade_lines

    if costs:
        rows = [
            [f"{line.name} ({line.lead})", line.rows, line.sent, line.to, line.promised, line.cost]
            for line in cascade_lines(costs)
        ]
        heads = ["", "rows", "sent on", "to", "promised", "beside the teacher alone"]
        print_table("Cascades", heads, rows)
    known = {cost.result.name for cost in costs}
    for name in names:
        if name not in known:
            say(
                f"cascade.{name}: `distill apply` finds what share of a pool is sent on, from labels"
                " by the student, before its teacher is asked."
            )
