"""Drives a fit by passes in this process, over chunks that are cut as a test says."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np

from distill.engine.threads import worker_threads
from distill.labelers.structure.kind import fit_of

KEY = "structure.groups"


def fitted(model, x, ends=(), seed=0):
    """What comes of all passes over the rows of `x`, whose chunks end at `ends`."""
    fit = fit_of(model, seed, KEY)
    state = fit.begin(x.shape[1], len(x))
    # as an engine does
    with worker_threads(1):
        while not state.done:
            state = next_state(fit, state, x, ends)
        return fit.finish(state)


def next_state(fit, state, x, ends=()):
    """The state one pass later."""
    row = np.arange(len(x))
    chunks = pairwise([0, *ends, len(x)])
    parts = [fit.partial(state, x[start:end], row[start:end]) for start, end in chunks]
    return fit.update(state, reduce(fit.merge, parts))


def details_of(model, x, **options):
    """The details for people of what comes of all passes."""
    return fitted(model, x, **options).plain["details"]
