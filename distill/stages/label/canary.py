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
from distill.core.source import own_lines
from distill.job.job import Job
from distill.labelers.base import Labeler, Predictions, ask
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.plan.identity import whole_labels
from distill.plan.labelers import prepare_labels
from distill.plan.pools import open_pool
from distill.pools.features import decode_features
from distill.pools.formats.registry import read_rows
from distill.pools.open_pool import OpenPool
from distill.stages.label.failures import make_labeler

Float = npt.NDArray[np.float32]

_SEEN = -12.0
"""Log-probabilities below this are noise: e⁻¹² is a few parts in a million."""
_ROUNDED = {"float32": 0.0, "float16": 2.0**-10, "uint8": 2.0**-5}
"""A whole step of each stored type, as a share of the number: twice what rounding takes, since the
normaliser is rounded with it."""


def check_canaries(job: Job, name: str, over: str, fragments: int) -> list[str]:
    """Where the live labeler says something else than `labels.<name>` has stored over one pool,
    looked at in some fragments."""
    try:
        recipe, contract = prepare_labels(job, name)
        pool = open_pool(job, over)
        labels = whole_labels(job, name, pool, contract)
        contract = replace(contract, tolerance=(labels.read_contract() or contract).tolerance)
        labeler = make_labeler(name, recipe)
    except DistillError as error:
        return [f"the live labeler cannot be asked: {error} `--canaries 0` leaves it out."]
    chosen = _spread(labels, fragments)
    problems = []
    with track(f"canaries of {name} over {over}", len(chosen), "fragments") as bar:
        for line in chosen:
            problem = _problem(labeler, contract, pool, labels, line)
            problems += [f"fragment {line.fragment}: {problem}"] if problem else []
            bar.advance(1)
    return problems


def _spread(labels: LabelSet, fragments: int) -> list[ManifestEntry]:
    """Some fragments, evenly over the pool."""
    count = len(labels.lines)
    places = np.linspace(0, count - 1, min(fragments, count)).astype(int)
    return [labels.lines[int(place)] for place in np.unique(places)]


def _problem(
    labeler: Labeler, contract: Contract, pool: OpenPool, labels: LabelSet, line: ManifestEntry
) -> str | None:
    """How far one fragment's first batch is from what is stored, if that is too far."""
    rows = range(line.start, line.start + min(contract.batch_rows, line.rows))
    shard = pool.inventory.shard(line.shard)
    try:
        taken = read_rows(
            pool.files,
            shard.key,
            rows,
            pool.features.columns,
            format=pool.inventory.format,
            listed=shard.id,
        )
        features = decode_features(taken.table, pool.features, pool.width)
        stored = labels.read(line).slice(0, len(rows))
        answered = ask(labeler, features.values, contract.width)
    except DistillError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  the user's own labeler
        return f"the labeler raised on its first batch:\n{own_lines(error)}"
    far = largest_difference(answered, stored, contract)
    if far <= contract.tolerance:
        return None
    return (
        f"the live labeler is {far:.3g} away from what is stored, of the largest output in the row;"
        f" the contract's tolerance is {contract.tolerance:g}. Its weights, its libraries or the"
        " input are not what they were: restore them, or label anew as version"
        f" {labels.version + 1}."
    )


def largest_difference(said: Predictions, stored: pa.Table, contract: Contract) -> float:
    """The largest difference of what is said of B rows from stored labels, as a share of the
    largest output in its row (or of 1); of an ensemble's disagreement too. What the encoding itself
    rounds away is no difference.
    """
    answered = said.outputs
    temperature = contract.temperatures[0] if contract.temperatures else None
    soft = decode(stored, contract, temperature)
    if isinstance(soft, DenseLabels):
        apart, rounded = (
            np.abs(answered - soft.outputs),
            _ROUNDED[contract.dtype] * np.abs(soft.outputs),
        )
    else:
        assert temperature is not None
        live = np.take_along_axis(_log_softmax(answered / temperature), soft.index, axis=1)
        below = (soft.log_probs[:, :1] - soft.log_probs) * temperature
        apart = np.where(soft.log_probs > _SEEN, np.abs(live - soft.log_probs) * temperature, 0)
        rounded = np.maximum(_ROUNDED[contract.dtype] * below, 2 * _ROUNDED[contract.dtype])
    share = np.maximum(apart - rounded, 0) / np.maximum(
        np.abs(answered).max(axis=1, keepdims=True), 1
    )
    if said.disagreement is not None and soft.disagreement is not None:
        apart = np.abs(said.disagreement - soft.disagreement) / np.maximum(said.disagreement, 1)
        share = np.concatenate([share, apart[:, None]], axis=1)
    return float(share[soft.labelled].max(initial=0))


def _log_softmax(logits: Float) -> Float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    made: Float = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return made
