"""Candidates drawn around some centres."""

from __future__ import annotations

import numpy as np

from distill.stages.select.candidates import Candidates


def drawn(rows: int, clusters: int = 4, width: int = 3, former: int = 0, seed: int = 0):
    """Rows around `clusters` centres, each in its centre's cluster; the first `former` of a
    shuffled order are in a former selection."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(clusters, width)) * 6
    cluster = draw.integers(clusters, size=rows)
    values = centres[cluster] + draw.normal(size=(rows, width))
    is_former = np.zeros(rows, bool)
    is_former[draw.permutation(rows)[:former]] = True
    number = np.sort(draw.choice(10 * rows, rows, replace=False))
    priority = draw.random(rows)
    values = values.astype(np.float32)
    return Candidates(number, cluster.astype(np.int64), values, is_former, priority)
