"""Canaries: ask the live labeler again for the first batch of some fragments, and hold its word
against what is stored.

The batch is cut as it was when it was labelled, so the same labeler on the same device answers with
the same numbers; on another device within the contract's recorded tolerance. A larger difference
says that weights, libraries or the input are no longer what the contract says, or that labels stand
beside the wrong rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import DistillError
from distill.core.progress import track
from distill.core.source import own_lines, user_errors
from distill.labelers.base import Labeler, Predictions, predict
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.labels.reveal import revealed
from distill.plan.steps import LabelPart, LabelStep
from distill.stages.label.failures import make_labeler
from distill.stages.label.row_reader import read_first

Float = npt.NDArray[np.float32]

_SEEN = -12.0  # log-probabilities below this are noise: e⁻¹² is a few parts in a million
# a whole step of each stored type, as a share of the number: twice what rounding takes, since the
# normaliser is rounded with it
_ROUNDED = {"float32": 0.0, "float16": 2.0**-10, "uint8": 2.0**-5}


def check_canaries(step: LabelStep, part: LabelPart, fragments: int) -> list[str]:
    """Tell where the live labeler says something else than is stored over one pool, looked at in
    some fragments. Raises LabelerError where there is no labeler."""
    contract = replace(step.contract, tolerance=part.stored.labels.contract.tolerance)
    labeler = make_labeler(step.name, step.recipe)
    labels = part.stored.labels
    chosen = _spread(labels, fragments)
    problems = []
    with track(f"canaries of {step.name} over {part.pool.name}", len(chosen), "fragments") as bar:
        for entry in chosen:
            problem = _problem(labeler, contract, part, entry)
            if problem:
                problems.append(f"fragment {entry.fragment}: {problem}")
            bar.advance(1)
    return problems


def _spread(labels: LabelSet, fragments: int) -> list[ManifestEntry]:
    """Return some fragments, evenly over the pool."""
    count = len(labels.entries)
    numbers = np.linspace(0, count - 1, min(fragments, count)).astype(int)
    return [labels.entries[int(number)] for number in np.unique(numbers)]


def _problem(
    labeler: Labeler, contract: Contract, part: LabelPart, entry: ManifestEntry
) -> str | None:
    """How far one fragment's first batch is from what is stored, if that is too far."""
    pool, labels = part.pool, part.stored.labels
    rows = range(entry.start, entry.start + min(contract.batch_rows, entry.rows))
    shard = pool.inventory.shard(entry.shard)
    try:
        features = read_first(pool, shard, rows, part.values)
        stored = labels.read(entry).slice(0, len(rows))
        predictions = predict(labeler, features.values, contract.width)
    except DistillError as error:
        return str(error)
    except user_errors() as error:  # the user's own labeler
        return f"the labeler raised on its first batch:\n{own_lines(error)}"
    far = largest_difference(predictions, stored, contract)
    if far <= contract.tolerance:
        return None
    return (
        f"the live labeler is {far:.3g} away from what is stored, of the largest output in the row;"
        f" the contract's tolerance is {contract.tolerance:g}. Its weights, its libraries or the"
        " input are not what they were: restore them, or label anew as version"
        f" {labels.version + 1}."
    )


def largest_difference(predictions: Predictions, stored: pa.Table, contract: Contract) -> float:
    """Return the largest difference of B rows' predictions from stored labels, as a share of the
    largest output in its row (or of 1); of an ensemble's disagreement too. What the encoding itself
    rounds away is no difference."""
    outputs = revealed(predictions.outputs, contract)
    temperature = contract.temperatures[0] if contract.temperatures else None
    soft = decode(stored, contract, temperature)
    rounding = _ROUNDED[contract.dtype]
    if isinstance(soft, DenseLabels):
        difference = outputs - soft.outputs
        apart = np.abs(difference)
        rounded = rounding * np.abs(soft.outputs)
    else:
        assert temperature is not None
        live = np.take_along_axis(_log_softmax(outputs / temperature), soft.index, axis=1)
        below = (soft.log_probs[:, :1] - soft.log_probs) * temperature
        apart = np.where(soft.log_probs > _SEEN, np.abs(live - soft.log_probs) * temperature, 0)
        rounded = np.maximum(rounding * below, 2 * rounding)
    if contract.reveal is not None:
        # what lies at a border may be rounded to either side of it, of two classes alike
        rounded = rounded + 2 * (contract.reveal.round or 0)
        apart = np.where(_are_alike(predictions.outputs, contract), 0, apart)
    largest = np.abs(outputs).max(axis=1, keepdims=True)
    share = np.maximum(apart - rounded, 0) / np.maximum(largest, 1)
    live_disagreement = predictions.disagreement
    if live_disagreement is not None and soft.disagreement is not None:
        apart = np.abs(live_disagreement - soft.disagreement)
        apart_share = apart / np.maximum(live_disagreement, 1)
        share = np.concatenate([share, apart_share[:, None]], axis=1)
    return float(share[soft.labelled].max(initial=0))


def _are_alike(outputs: Float, contract: Contract) -> npt.NDArray[np.bool_]:
    """Which rows (B, 1) tell no best class apart, where that alone is revealed."""
    if contract.reveal is None or not contract.reveal.top_1 or contract.width < 2:
        return np.zeros((len(outputs), 1), np.bool_)
    scale = np.maximum(np.abs(outputs).max(axis=1), 1)
    if contract.exclusive:
        second, first = np.partition(outputs, -2, axis=1)[:, -2:].T
        margin = first - second
    else:
        sizes = np.abs(outputs)
        margin = sizes.min(axis=1)
    return np.asarray(margin <= contract.tolerance * scale)[:, None]


def _log_softmax(logits: Float) -> Float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    made: Float = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return made
