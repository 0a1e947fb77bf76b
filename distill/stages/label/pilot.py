"""A pilot: some fragments of a label set, labelled by the real labeler before the others are paid
for. They are commits as all others, so a run afterwards has them already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from distill.engine.protocol import Engine
from distill.labels.takeover import pending_codes
from distill.plan.costs.sampling import Drawn
from distill.plan.steps import LabelStep
from distill.stages.label.label_pool import begin_labels, label_left
from distill.stages.label.labelling import PoolLabels


def label_pilot(
    step: LabelStep, engine: Engine, chosen: Sequence[Drawn], begin: Callable[[], None]
) -> int:
    """Label those of the chosen fragments that have no labels; return how many. `begin` is called
    before any work. Raises as `label_pool` does."""
    codes = {drawn.pool: drawn.codes for drawn in chosen}
    pools = [begin_labels(step, part) for part in step.parts]
    for pool in pools:
        _keep(pool, codes[pool.pool.name])
    fragments = sum(len(pool.left) for pool in pools)
    if fragments:
        begin()
        label_left(step, pools, engine)
    return fragments


def _keep(pool: PoolLabels, codes: np.ndarray) -> None:
    """Leave only those fragments to be labelled."""
    is_chosen = np.isin(pending_codes(pool.left), codes)
    pool.left = replace(pool.left, positions=pool.left.positions[is_chosen])
