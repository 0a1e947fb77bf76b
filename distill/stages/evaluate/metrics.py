"""Measures as sums over rows, so that a test pool of any size is judged in one fold: sum up chunks,
add the sums, then divide.

Shapes: B rows, C classes of the truth, K calibration bins, W width of a value, R replicates of the
bootstrap (`resampling`).

    accuracy             also by class: seen and unseen are the rows whose class the teacher can and
                         cannot say; harmonic mean of the two (Xian et al. 2017)
    top_3, top_5         share of rows whose class is among so many most probable ones; of classes
                         as probable the first is taken first, as in accuracy
    balanced_accuracy    mean over the classes of the truth of the share of their rows named right
    f1_macro, f1_weighted  mean F1 over classes that the truth or the method names, and weighed by
                         the truth's rows
    roc_auc, pr_auc      each class against all others, mean over classes with rows of both kinds
                         (`score_table`: exact, or within a bound that is told)
    nll                  mean −log p(truth), p floored at `FLOOR`
    brier                mean Σ_c (p_c − [truth = c])² (Brier 1950); of independent outputs the mean
                         over them
    calibration_error    expected calibration error, `BINS` equal bins of the largest probability
                         (Guo et al. 2017, eq. 3)
    agreement            share of rows where the method and the teacher name the same class
    rank_correlation     Spearman's, mean over at most `RANKED_WIDTH` values a row (`ranks`)
    retrieval_recall     of values of `EMBEDDING_WIDTH` numbers or more (`retrieval`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from distill.core.intervals import LEVEL
from distill.stages.evaluate.class_measures import class_measures, independent_measures
from distill.stages.evaluate.moments import Moments
from distill.stages.evaluate.ranks import RankPairs
from distill.stages.evaluate.replicates import Replicates
from distill.stages.evaluate.resampling import Draws, row_hashes
from distill.stages.evaluate.retrieval import EmbeddedSample
from distill.stages.evaluate.row_blocks import (
    among_top,
    bin_blocks,
    bin_numbers,
    bins,
    by_class,
    count_blocks,
    count_of,
    one_hot,
)
from distill.stages.evaluate.score_table import ScoreTable

Array = npt.NDArray[np.float64]
MetricSums = Mapping[str, Any]  # sums by name: arrays, or tables that are added like them

# a method that lacks a class gives it no probability, of which the logarithm is infinite
FLOOR = 1e-6
CONFUSION_CLASSES = 100  # of more classes neither their confusion nor resamples by class are kept
SCORED_CLASSES = 1_000  # of more classes no curves are drawn
RANKED_WIDTH = 8
EMBEDDING_WIDTH = 16


def sum_classes(
    probabilities: Array,
    truth: npt.NDArray[np.int64],
    teacher: npt.NDArray[np.int64] | None,
    draws: Draws | None = None,
) -> MetricSums:
    """Sum up exclusive classes: probabilities (B, C), true class numbers (B,), the teacher's
    choices (B,), and how often each row counts in each replicate (B, R)."""
    rows, classes = probabilities.shape
    chosen = choices(probabilities)
    right = (chosen == truth).astype(np.float64)
    true_probabilities = probabilities[np.arange(rows), truth]
    nll = negative_log(true_probabilities)
    squared = np.square(probabilities)
    squares = squared.sum(axis=1)
    brier = squares - 2 * true_probabilities + 1
    named = chosen >= 0
    numbers, confidence = bin_numbers(probabilities.max(axis=1))
    sums: dict[str, Any] = {
        "rows": by_class(truth, classes),
        "right": by_class(truth, classes, right),
        "chosen": by_class(chosen[named], classes),
        "nll": by_class(truth, classes, nll),
        "brier": brier.sum(keepdims=True),
        "bins": bins(numbers, confidence, right),
    }
    flags = among_top(probabilities, truth, true_probabilities)
    if flags is not None:
        sums["top"] = flags.sum(axis=0)
    if classes <= SCORED_CLASSES:
        sums["scores"] = ScoreTable.of(probabilities, one_hot(truth, classes) > 0)
    if classes <= CONFUSION_CLASSES:
        cells = truth[named] * classes + chosen[named]
        sums["confusion"] = by_class(cells, classes * classes).reshape(classes, classes)
    if teacher is not None:
        sums["agreed"] = count_of(chosen == teacher)
    if draws is not None:
        few = classes <= CONFUSION_CLASSES
        of_truth = one_hot(truth, classes) if few else np.ones((rows, 1))
        blocks = {
            "rows": of_truth,
            "right": of_truth * right[:, None],
            "nll": nll,
            "brier": brier,
            "bins": bin_blocks(numbers, confidence, right),
        }
        if few:
            blocks["chosen"] = one_hot(chosen, classes)
        if flags is not None:
            blocks["top"] = flags
        if teacher is not None:
            blocks["agreed"] = count_blocks(chosen == teacher)
        sums["replicates"] = Replicates.of(draws, blocks)
    return sums


def sum_independent(
    probabilities: Array, truth: Array, teacher: Array | None, draws: Draws | None = None
) -> MetricSums:
    """Sum up independent outputs: probabilities, truth (0 or 1) and the teacher's probabilities,
    all (B, C), and how often each row counts in each replicate (B, R)."""
    rows, classes = truth.shape
    chosen = probabilities > 0.5
    true = truth > 0.5
    right = (chosen == true).astype(np.float64)
    floored = np.clip(probabilities, FLOOR, 1 - FLOOR)
    nll = -(truth * np.log(floored) + (1 - truth) * np.log(1 - floored))
    brier = np.square(probabilities - truth).mean(axis=1)
    numbers, confidence = bin_numbers(np.where(chosen, probabilities, 1 - probabilities))
    hits = (chosen & true).astype(np.float64)
    sums: dict[str, Any] = {
        "cells": np.full(classes, float(rows)),
        "right": right.sum(axis=0),
        "nll": nll.sum(axis=0),
        "brier": brier.sum(keepdims=True),
        "bins": bins(numbers.ravel(), confidence.ravel(), right.ravel()),
        "true": true.sum(axis=0, dtype=np.float64),
        "chosen": chosen.sum(axis=0, dtype=np.float64),
        "hits": hits.sum(axis=0),
    }
    if classes <= SCORED_CLASSES:
        sums["scores"] = ScoreTable.of(probabilities, true)
    if teacher is not None:
        sums["agreed"] = count_of(chosen == (teacher > 0.5))
    if draws is not None:
        blocks = {
            "cells": np.full((rows, 1), float(classes)),
            "right": right.sum(axis=1),
            "nll": nll.sum(axis=1),
            "brier": brier,
            "bins": bin_blocks(numbers, confidence, right),
        }
        if classes <= CONFUSION_CLASSES:
            by_output = {"true": true, "chosen": chosen, "hits": hits}
            blocks |= {name: each.astype(np.float64) for name, each in by_output.items()}
        if teacher is not None:
            blocks["agreed"] = count_blocks(chosen == (teacher > 0.5))
        sums["replicates"] = Replicates.of(draws, blocks)
    return sums


def sum_values(
    values: Array,
    truth: Array,
    teacher: Array | None,
    draws: Draws | None = None,
    *,
    row: npt.NDArray[np.int64] | None = None,
    offset: Array | None = None,
) -> MetricSums:
    """Sum up values, truth and the teacher's values, all (B, W), how often each row counts in each
    replicate (B, R), and the rows' numbers (B,). Near `offset` (W,) truths keep their digits."""
    squared = np.square(values - truth).mean(axis=1)
    absolute = np.abs(values - truth).mean(axis=1)
    width = truth.shape[1]
    sums: dict[str, Any] = {
        "rows": np.array([float(len(truth))]),
        "squared": squared.sum(keepdims=True),
        "absolute": absolute.sum(keepdims=True),
        "truth": Moments.of(truth),
    }
    if width <= RANKED_WIDTH:
        for number in range(width):
            pairs = RankPairs.of(values[:, number], truth[:, number])
            sums[f"ranks {number}"] = pairs
    if width >= EMBEDDING_WIDTH and row is not None:
        sums["sample"] = EmbeddedSample.of(row_hashes(row), truth, values)
    blocks = {"rows": np.ones(len(truth)), "squared": squared, "absolute": absolute}
    if teacher is not None:
        to_teacher = np.square(values - teacher).mean(axis=1)
        sums["to_teacher"] = to_teacher.sum(keepdims=True)
        blocks["to_teacher"] = to_teacher
    if draws is not None:
        if width <= RANKED_WIDTH and offset is not None:
            near = truth - offset
            blocks |= {"near": near, "near_squares": np.square(near)}
        sums["replicates"] = Replicates.of(draws, blocks)
    return sums


def add_sums(
    first: Mapping[str, MetricSums], second: Mapping[str, MetricSums]
) -> Mapping[str, MetricSums]:
    """Return the sums by method of the union of two sets of rows."""
    return {method: _add(first[method], second[method]) for method in first}


def _add(first: MetricSums, second: MetricSums) -> MetricSums:
    return {name: first[name] + second[name] for name in first}


def measures(sums: MetricSums, seen: Sequence[bool]) -> dict[str, float]:
    """Return measures by name; `seen` says of each class whether the teacher can say it."""
    made = {name: float(value) for name, value in measured(sums, seen).items()}
    if "scores" in sums:
        scores = sums["scores"]
        made |= scores.measures()
    recall = sums["sample"].recall(LEVEL) if "sample" in sums else None
    if recall is not None:
        made["retrieval_recall"], _ = recall
    ranks = ranks_of(sums)
    if ranks:
        made["rank_correlation"] = float(np.mean([each.correlation for each in ranks]))
    return made


def measured(sums: MetricSums, seen: Sequence[bool]) -> dict[str, Array]:
    """Return the measures that follow from sums alone: numbers, or (R,) of each replicate's sums."""
    if "squared" in sums:
        return _value_measures(sums)
    if "cells" in sums:
        count = len(seen)
        return independent_measures(sums, count)
    return class_measures(sums, np.array(seen))


def ranks_of(sums: MetricSums) -> list[RankPairs]:
    """Return the pairs of ranks of each value of a row."""
    return [cast(RankPairs, each) for name, each in sums.items() if name.startswith("ranks ")]


def reliability(sums: MetricSums) -> list[dict[str, float]]:
    """Return the calibration bins that have rows: mean confidence, accuracy, rows."""
    bins = []
    for rows, confidence, right in sums.get("bins", ()):
        if rows:
            mean = confidence / rows
            mean_confidence = float(mean)
            share = right / rows
            accuracy = float(share)
            each = {"confidence": mean_confidence, "accuracy": accuracy, "rows": float(rows)}
            bins.append(each)
    return bins


def choices(probabilities: Array) -> npt.NDArray[np.int64]:
    """Return (B,) the likeliest class; −1 where no class of the truth was named."""
    chosen = probabilities.argmax(axis=1)
    return np.where(probabilities.max(axis=1) > 0, chosen, -1)


def negative_log(probabilities: Array) -> Array:
    """Return −log of probabilities, none of them below `FLOOR`."""
    floored = np.maximum(probabilities, FLOOR)
    loss: Array = -np.log(floored)
    return loss


def _value_measures(sums: MetricSums) -> dict[str, Array]:
    rows = sums["rows"].sum(axis=-1)
    mse = sums["squared"].sum(axis=-1) / np.maximum(rows, 1)
    made = {"mse": mse, "mae": sums["absolute"].sum(axis=-1) / np.maximum(rows, 1)}
    variance = _variance(sums, rows)
    if variance is not None:
        made["r2"] = np.where(variance > 0, 1 - mse / np.where(variance > 0, variance, 1), 0.0)
    if "to_teacher" in sums:
        made["mse_to_teacher"] = sums["to_teacher"].sum(axis=-1) / np.maximum(rows, 1)
    return made


def _variance(sums: MetricSums, rows: Array) -> Array | None:
    """Return the mean variance of the truth; None of replicates that did not keep it."""
    if "truth" in sums:
        spread = sums["truth"].spread
        return np.asarray(spread.sum() / rows / len(spread))
    if "near" not in sums:
        return None
    count = np.maximum(rows, 1)[..., None]
    near = sums["near"]
    means = near / count
    variance: Array = (sums["near_squares"] / count - np.square(means)).mean(axis=-1)
    return variance
