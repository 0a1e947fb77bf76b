"""What a method says of rows, in the order of the truth's classes.

Shapes: B rows, C classes of the truth, W width of a value, k classes that a top-k label keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distill.labelers.base import probabilities_of
from distill.labelers.label_probabilities import by_name, spread_topk
from distill.loader.dataset import Arrays
from distill.plan.candidates import Method
from distill.spec.outputs import Outputs

if TYPE_CHECKING:
    from distill.labelers.network import NetworkLabeler

Array = npt.NDArray[np.float64]


def predictions_of(method: Method, rows: Arrays, truth: Outputs) -> Array:
    """Return probabilities of the truth's classes (B, C), or values (B, W)."""
    meaning = method.outputs
    if f"{method.key}.index" in rows:
        index = rows[f"{method.key}.index"]
        log_probs = rows[f"{method.key}.log_probs"]
        probabilities = spread_topk(index, log_probs, len(meaning.classes))
    else:
        outputs = _outputs(method, rows)
        probabilities = probabilities_of(outputs, meaning)
    if meaning.kind != "value":
        # a network whose numbers overflow on a row names no class there
        probabilities = np.nan_to_num(probabilities, nan=0.0)
    if meaning.kind == "value":
        return probabilities
    return by_name(probabilities, meaning.classes, truth.classes)


def _outputs(method: Method, rows: Arrays) -> Array:
    """Return a method's own outputs: stored ones, or what the network computes now."""
    if method.record is None:
        return rows[f"{method.key}.outputs"].astype(np.float64)
    labeler = _load(method)
    seen = f"{method.features}.outputs" if method.features else "features"
    inputs = rows[seen]
    features = labeler.prepare(inputs)
    answers = labeler.label(features)
    return answers.astype(np.float64)


# models that this process has loaded, by folder and head: the folder's name decides the model
_loaded: dict[tuple[str, str], NetworkLabeler] = {}


def _load(method: Method) -> NetworkLabeler:
    import torch

    from distill.labelers.network import NetworkLabeler

    assert method.record is not None
    key = (method.folder, method.head)
    if key not in _loaded:
        # as when it labels: other numbers of threads may change the last bits
        torch.set_num_threads(1)
        _loaded[key] = NetworkLabeler.load(
            method.folder, method.record, code=method.code, head=method.head
        )
    return _loaded[key]


def forget_loaded() -> None:
    """Let go of the models that this process has loaded."""
    _loaded.clear()
