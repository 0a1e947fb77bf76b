"""Every measure beside that of scikit-learn and torchmetrics, on rows that were cut into several
parts and added up as a fold does, with ties and with classes that nothing has."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics

from distill.engine.grouping import fixed_groups, fold_group
from distill.stages.evaluate import pairs, ranks, retrieval, score_table
from distill.stages.evaluate.measure_intervals import errors, intervals
from distill.stages.evaluate.metrics import (
    add_sums,
    measures,
    sum_classes,
    sum_independent,
    sum_values,
)
from distill.stages.evaluate.pairs import pair_classes, pair_independent, pair_values
from distill.stages.evaluate.resampling import draw, row_hashes
from tests.late import Late

THEIR = Late("torchmetrics.functional")

ROWS, CLASSES = 2_000, 6
PART = 7
"""Rows of a part: 286 parts, so that groups of a fold hold more than one."""


def folded(sums_of, rows=ROWS, part=PART):
    """Sums of parts, added in the order in which both engines do."""
    parts = [slice(start, start + part) for start in range(0, rows, part)]
    groups = fixed_groups(parts)
    states = [fold_group(lambda each: {"m": sums_of(each)}, add_sums, group) for group in groups]
    return reduce(add_sums, states)["m"]


@pytest.fixture(params=["free", "ties", "absent"])
def classes(request):
    """Probabilities and truth: without ties, with many, and with classes that no row has."""
    draws = np.random.default_rng(3)
    logits = draws.normal(size=(ROWS, CLASSES))
    if request.param == "ties":
        logits = np.round(logits, 0)
    odds = np.exp(logits)
    p = odds / odds.sum(axis=1, keepdims=True)
    known = CLASSES - 2 if request.param == "absent" else CLASSES
    truth = np.where(
        draws.random(ROWS) < 0.4, p[:, :known].argmax(1), draws.integers(known, size=ROWS)
    )
    return p, truth


def test_measures_of_classes_differ_from_those_of_libraries(classes):
    p, truth = classes
    made = measures(folded(lambda part: sum_classes(p[part], truth[part], None)), [True] * CLASSES)
    chosen = p.argmax(axis=1)
    present = np.unique(truth)
    one_hot = np.eye(CLASSES)[truth]
    reversed_p, reversed_truth = p[:, ::-1], CLASSES - 1 - truth
    due = {
        "accuracy": metrics.accuracy_score(truth, chosen),
        "balanced_accuracy": np.mean([np.mean(chosen[truth == each] == each) for each in present]),
        "f1_macro": metrics.f1_score(truth, chosen, average="macro"),
        "f1_weighted": metrics.f1_score(truth, chosen, average="weighted"),
        "nll": metrics.log_loss(truth, p, labels=range(CLASSES)),
        "brier": np.square(p - one_hot).sum(axis=1).mean(),
        # among ties scikit-learn takes the last class first, and we the first
        "top_3": metrics.top_k_accuracy_score(
            reversed_truth, reversed_p, k=3, labels=range(CLASSES)
        ),
        "top_5": metrics.top_k_accuracy_score(
            reversed_truth, reversed_p, k=5, labels=range(CLASSES)
        ),
        "roc_auc": np.mean([metrics.roc_auc_score(truth == each, p[:, each]) for each in present]),
        "pr_auc": np.mean(
            [metrics.average_precision_score(truth == each, p[:, each]) for each in present]
        ),
    }
    for name, value in due.items():
        assert made[name] == pytest.approx(value, abs=1e-9), name
    scores, target = torch.tensor(p), torch.tensor(truth)
    theirs = {
        "f1_macro": THEIR.f1_score(
            scores.argmax(1), target, "multiclass", num_classes=CLASSES, average="macro"
        ),
        "calibration_error": THEIR.calibration_error(
            scores, target, "multiclass", n_bins=15, num_classes=CLASSES
        ),
    }
    for name, value in theirs.items():
        assert made[name] == pytest.approx(float(value), abs=1e-6), name


def test_measures_of_independent_outputs_differ_from_those_of_libraries():
    draws = np.random.default_rng(4)
    p = np.round(draws.random(size=(ROWS, 3)), 2)
    truth = (draws.random(size=(ROWS, 3)) < p).astype(float)
    made = measures(folded(lambda part: sum_independent(p[part], truth[part], None)), [True] * 3)
    said = p > 0.5
    assert made["f1_macro"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert made["f1_weighted"] == pytest.approx(metrics.f1_score(truth, said, average="weighted"))
    assert made["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, p, average="macro"))
    assert made["pr_auc"] == pytest.approx(metrics.average_precision_score(truth, p))
    briers = [metrics.brier_score_loss(truth[:, each], p[:, each]) for each in range(3)]
    assert made["brier"] == pytest.approx(np.mean(briers))


@pytest.mark.parametrize("digits", [8, 1])
def test_a_rank_correlation_differs_from_scipys(digits):
    draws = np.random.default_rng(5)
    truth = np.round(1e6 + draws.normal(size=(ROWS, 2)), digits)
    values = np.round(truth + draws.normal(size=truth.shape), digits)
    made = measures(folded(lambda part: sum_values(values[part], truth[part], None)), [])
    due = np.mean([stats.spearmanr(values[:, each], truth[:, each]).statistic for each in (0, 1)])
    assert made["rank_correlation"] == pytest.approx(due, abs=1e-9)


def test_a_large_pool_has_another_rank_correlation_than_is_said(monkeypatch):
    monkeypatch.setattr(ranks, "MOST_PAIRS", 500)
    draws = np.random.default_rng(6)
    truth = draws.normal(size=(ROWS, 1)) * 10
    values = truth + draws.normal(size=truth.shape) * 10
    sums = folded(lambda part: sum_values(values[part], truth[part], None))
    due = stats.spearmanr(values, truth).statistic
    bound = errors(sums)["rank_correlation"]
    assert 0 < bound < 0.01
    assert measures(sums, [])["rank_correlation"] == pytest.approx(due, abs=bound)


def test_a_large_pool_has_other_areas_than_is_said(monkeypatch, classes):
    p, truth = classes
    exact = measures(folded(lambda part: sum_classes(p[part], truth[part], None)), [True] * CLASSES)
    monkeypatch.setattr(score_table, "LEAST_LINES", 64)
    monkeypatch.setattr(score_table, "MOST_LINES", 64 * CLASSES)
    sums = folded(lambda part: sum_classes(p[part], truth[part], None))
    bounds = errors(sums)
    for name in ("roc_auc", "pr_auc"):
        made = measures(sums, [True] * CLASSES)[name]
        assert abs(made - exact[name]) <= bounds.get(name, 0) + 1e-12
        assert bounds.get(name, 0) < 0.1  # 64 scores a class are few
    # whatever the parts, the same scores fell together
    other = folded(lambda part: sum_classes(p[part], truth[part], None), part=400)
    assert measures(other, [True] * CLASSES) == pytest.approx(measures(sums, [True] * CLASSES))


def test_the_neighbours_found_depend_on_how_rows_were_cut(monkeypatch):
    monkeypatch.setattr(retrieval, "MOST_ROWS", 300)
    draws = np.random.default_rng(7)
    truth = draws.normal(size=(ROWS, 16))
    values = truth + 0.5 * draws.normal(size=truth.shape)
    row = np.arange(ROWS)

    def recall(part):
        sums = folded(
            lambda each: sum_values(values[each], truth[each], None, row=row[each]), part=part
        )
        return measures(sums, [])["retrieval_recall"]

    kept = np.argsort(row_hashes(row))[:300]
    sample, answers = truth[kept], values[kept]
    hits = []
    for number in range(300):
        near = [
            set(np.argsort(-(each @ each[number]) / np.linalg.norm(each, axis=1))[:11]) - {number}
            for each in (sample, answers)
        ]
        hits.append(len(near[0] & near[1]) / 10)
    assert recall(37) == pytest.approx(np.mean(hits), abs=0.01)
    assert recall(37) == recall(1_000)


def test_pairs_differ_from_those_of_libraries(classes):
    p, truth = classes
    other = np.roll(p, 1, axis=0)
    sums = folded(lambda part: pair_classes([p[part], other[part]], truth[part]))
    kl = float(THEIR.kl_divergence(torch.tensor(p), torch.tensor(other)))
    assert sums["kl"][0, 1] / ROWS == pytest.approx(kl, abs=1e-6)
    assert sums["kl"][0, 0] == 0
    right, others_right = p.argmax(1) == truth, other.argmax(1) == truth
    assert sums["wins"][0, 1] == (right & ~others_right).sum()
    assert sums["wins"][1, 0] == (others_right & ~right).sum()
    assert sums["agreed"][0, 1] == (p.argmax(1) == other.argmax(1)).sum()
    flags = np.eye(CLASSES)[truth]
    independent = pair_independent([p, other], flags)
    bernoulli = p * np.log(p / other) + (1 - p) * np.log((1 - p) / (1 - other))
    assert independent["kl"][0, 1] == pytest.approx(bernoulli.sum(), rel=1e-6)
    values = pair_values([p, other], flags)
    assert values["squares"][0, 1] == pytest.approx(np.square(p - other).mean(axis=1).sum())
    errors = [np.square(each - flags).mean(axis=1) for each in (p, other)]
    of_differences = values["scored"][0, 0] + values["scored"][1, 1] - 2 * values["scored"][0, 1]
    difference = values["scores"][0] - values["scores"][1]
    variance = (of_differences - difference**2 / ROWS) / (ROWS - 1)
    assert variance == pytest.approx(np.var(errors[0] - errors[1], ddof=1), rel=1e-6)


def test_pairs_of_many_classes_take_more_memory_than_a_few_blocks(classes, monkeypatch):
    p, truth = classes
    other = np.roll(p, 1, axis=0)
    whole = pair_classes([p, other], truth)
    monkeypatch.setattr(pairs, "_MOST_NUMBERS", 7 * 2 * CLASSES)
    cut = [p[part].shape for part in pairs._blocks([p, other])]
    assert {rows for rows, _ in cut[:-1]} == {7}
    np.testing.assert_allclose(pair_classes([p, other], truth)["kl"], whole["kl"], rtol=1e-12)


def test_replicates_depend_on_how_rows_were_cut(classes):
    p, truth = classes
    row = np.arange(ROWS)

    def replicates(part):
        sums = folded(
            lambda each: sum_classes(p[each], truth[each], truth[each], draw(row[each], 50)),
            part=part,
        )
        return sums["replicates"].sums()

    few, many = replicates(999), replicates(53)
    for name, values in few.items():
        np.testing.assert_allclose(values, many[name], rtol=1e-5, err_msg=name)
    # draws are Poisson with mean 1: as many rows as there are, give or take their root
    counts = few["rows"].sum(axis=1)
    assert abs(counts.mean() - ROWS) < 4 * np.sqrt(ROWS / 50)


def test_a_measure_has_no_interval_or_one_that_it_is_not_in(classes):
    p, truth = classes
    sums = folded(
        lambda each: sum_classes(
            p[each], truth[each], truth[each], draw(np.arange(ROWS)[each], 200)
        ),
        part=500,
    )
    made = measures(sums, [True] * CLASSES)
    found = intervals(sums, [True] * CLASSES, exclusive=True)
    assert found.keys() == made.keys()
    for name, (low, high) in found.items():
        assert low <= made[name] <= high, name
        assert low < high, name


@pytest.mark.parametrize("perfect", [0, 1])
def test_a_perfect_student_is_known_to_be_perfect(perfect):
    truth = np.arange(40) % 2
    p = np.eye(2)[truth if perfect else 1 - truth]
    sums = sum_classes(p, truth, None, draw(np.arange(40), 50))
    found = intervals(sums, [True, True], exclusive=True)
    for name in ("accuracy", "balanced_accuracy", "roc_auc"):
        low, high = found[name]
        assert high - low > 0.05, name
