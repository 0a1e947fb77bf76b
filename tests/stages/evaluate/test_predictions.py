"""What methods say of rows, in the order of the truth's classes."""

from __future__ import annotations

import numpy as np

from distill.plan.candidates import Method
from distill.spec.outputs import Outputs
from distill.stages.evaluate.metrics import choices
from distill.stages.evaluate.predictions import predictions_of


def test_a_row_on_which_a_network_overflows_ends_the_evaluation():
    """It is named nothing there, which is wrong; all other rows count as ever."""
    outputs = Outputs("logits", ("a", "b"))
    logits = np.array([[0.0, 2.0], [np.nan, np.nan]], np.float32)
    found = predictions_of(Method("labels.x", outputs), {"labels.x.outputs": logits}, outputs)
    assert np.isfinite(found).all()
    assert choices(found).tolist() == [1, -1]
