"""What of a labeler's answers is stored, where a job reveals less than all.

Of exclusive classes a row's logits are first taken less the largest one, which changes no
probability: how high all of them lie says something of the row and nothing of its class. Then they
are clipped, then rounded. So what is stored are logits like any others: students, merges and
calibrated terms take them as they are.

It limits what a label says of the rows that its labeler was taught with. How much it says still is
for an audit to find, and for noise (PATE, DP-SGD) to bound.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill.labels.contract import Contract

# by which the one class that is revealed stands out: e⁻¹⁶ is a ten-millionth, and float16 and the
# codes of `topk` hold it exactly
TOP_1_LOGIT = 16.0

Float = npt.NDArray[np.float32]


def revealed(outputs: Float, contract: Contract) -> Float:
    """Return what of outputs (B, width) the contract reveals; the outputs themselves where all."""
    reveal = contract.reveal
    if reveal is None or not len(outputs):
        return outputs
    are_logits = contract.kind == "logits"
    is_exclusive = are_logits and contract.exclusive
    if reveal.top_1:
        return _best(outputs) if is_exclusive else np.where(outputs > 0, TOP_1, -TOP_1)
    made = outputs
    if is_exclusive:
        made = made - made.max(axis=1, keepdims=True)
    if reveal.clip is not None:
        highest = np.inf if is_exclusive else reveal.clip
        made = np.clip(made, -np.float32(reveal.clip), np.float32(highest))
    if reveal.round is not None:
        step = np.float32(reveal.round)
        # + 0: no row tells by the sign of a zero from which side it came
        made = np.round(made / step) * step + np.float32(0)
    return made.astype(np.float32, copy=False)


TOP_1 = np.float32(TOP_1_LOGIT)


def _best(logits: Float) -> Float:
    """0 for the largest logit of each row, the first of equals, and far below for all others."""
    made = np.full(logits.shape, -TOP_1)
    best = logits.argmax(axis=1)
    made[np.arange(len(logits)), best] = 0
    return made
