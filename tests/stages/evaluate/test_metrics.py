from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest
from sklearn import metrics

from distill.stages.evaluate.metrics import (
    FLOOR,
    add_sums,
    measures,
    reliability,
    sum_classes,
    sum_independent,
    sum_values,
)
from distill.stages.evaluate.row_blocks import BINS

ROWS, CLASSES = 300, 4


def probabilities(seed, rows=ROWS, classes=CLASSES, sharp=1.5):
    odds = np.exp(sharp * np.random.default_rng(seed).normal(size=(rows, classes)))
    return odds / odds.sum(axis=1, keepdims=True)


TRUTH = np.random.default_rng(9).integers(CLASSES, size=ROWS)
P = probabilities(0)
TEACHER = probabilities(1).argmax(axis=1)
ALL = [True] * CLASSES


def plain_calibration_error(confidence, right):
    """Guo et al. 2017, equation 3, bin by bin."""
    error = 0.0
    for number in range(BINS):
        mine = [
            i
            for i, value in enumerate(confidence)
            if number / BINS <= value < (number + 1) / BINS or (number == BINS - 1 and value == 1)
        ]
        if mine:
            error += (
                len(mine)
                / len(confidence)
                * abs(np.mean([right[i] for i in mine]) - np.mean([confidence[i] for i in mine]))
            )
    return error


def test_measures_of_classes_differ_from_scikit_learns():
    made = measures(sum_classes(P, TRUTH, TEACHER), ALL)
    chosen = P.argmax(axis=1)
    assert made["accuracy"] == pytest.approx(metrics.accuracy_score(TRUTH, chosen))
    assert made["nll"] == pytest.approx(metrics.log_loss(TRUTH, P, labels=range(CLASSES)))
    assert made["agreement"] == pytest.approx(metrics.accuracy_score(TEACHER, chosen))
    assert made["calibration_error"] == pytest.approx(
        plain_calibration_error(P.max(axis=1), chosen == TRUTH)
    )
    assert made.keys() == {
        "accuracy",
        "nll",
        "agreement",
        "calibration_error",
        "brier",
        "top_3",
        "f1_macro",
        "f1_weighted",
        "balanced_accuracy",
        "roc_auc",
        "pr_auc",
    }
    confusion = sum_classes(P, TRUTH, None)["confusion"]
    np.testing.assert_array_equal(
        confusion, metrics.confusion_matrix(TRUTH, chosen, labels=range(CLASSES))
    )


def test_seen_and_unseen_classes_are_mixed():
    seen = [True, False, True, False]
    made = measures(sum_classes(P, TRUTH, None), seen)
    known = np.isin(TRUTH, [0, 2])
    parts = [
        metrics.accuracy_score(TRUTH[rows], P[rows].argmax(axis=1)) for rows in (known, ~known)
    ]
    assert [made["accuracy_seen"], made["accuracy_unseen"]] == pytest.approx(parts)
    assert made["harmonic_mean"] == pytest.approx(2 / (1 / parts[0] + 1 / parts[1]))
    assert "agreement" not in made


def test_a_class_that_a_method_lacks_makes_the_likelihood_infinite():
    p = np.array([[1.0, 0.0], [1.0, 0.0]])
    made = measures(sum_classes(p, np.array([0, 1]), None), [True, False])
    assert made["nll"] == pytest.approx(-np.log(FLOOR) / 2)
    assert made["harmonic_mean"] == 0
    assert made["calibration_error"] == pytest.approx(0.5)


def test_many_classes_keep_a_matrix_of_their_confusion():
    p = probabilities(0, 20, 101)
    assert "confusion" not in sum_classes(p, np.zeros(20, np.int64), None)


def test_measures_of_independent_outputs_differ_from_plain_ones():
    p = 1 / (1 + np.exp(-2 * np.random.default_rng(0).normal(size=(ROWS, 3))))
    teacher = 1 / (1 + np.exp(-np.random.default_rng(1).normal(size=(ROWS, 3))))
    truth = np.random.default_rng(2).integers(2, size=(ROWS, 3)).astype(float)
    made = measures(sum_independent(p, truth, teacher), [True] * 3)
    said = p > 0.5
    assert made["accuracy"] == pytest.approx(metrics.accuracy_score(truth.ravel(), said.ravel()))
    assert made["nll"] == pytest.approx(
        np.mean([metrics.log_loss(truth[:, c], p[:, c]) for c in range(3)])
    )
    assert made["agreement"] == pytest.approx(np.mean(said == (teacher > 0.5)))
    confidence = np.maximum(p, 1 - p).ravel()
    assert made["calibration_error"] == pytest.approx(
        plain_calibration_error(confidence, (said == truth).ravel())
    )


@pytest.mark.parametrize("width", [1, 3])
def test_measures_of_values_differ_from_scikit_learns(width):
    draw = np.random.default_rng(width)
    truth = 5 + draw.normal(size=(ROWS, width)) * np.arange(1, width + 1)
    values, teacher = (truth + 0.5 * draw.normal(size=(ROWS, width)) for _ in range(2))
    made = measures(sum_values(values, truth, teacher), [])
    assert made["mse"] == pytest.approx(metrics.mean_squared_error(truth, values))
    assert made["mae"] == pytest.approx(metrics.mean_absolute_error(truth, values))
    assert made["r2"] == pytest.approx(
        metrics.r2_score(truth, values, multioutput="variance_weighted")
    )
    assert made["mse_to_teacher"] == pytest.approx(metrics.mean_squared_error(teacher, values))


@pytest.mark.parametrize("rows", [4, 1_000, 5_000])
@pytest.mark.parametrize("value", [2.0, 1 / 3, 0.1, 0.7])
def test_a_constant_truth_divides_by_zero_or_by_what_rounding_left(value, rows):
    truth = np.full((rows, 1), value)
    parts = [
        {"m": sum_values(truth[part] + 1, truth[part], None)}
        for part in (slice(3), slice(3, 3), slice(3, None))
    ]
    assert measures(reduce(add_sums, parts)["m"], [])["r2"] == 0


@pytest.mark.parametrize(("offset", "spread"), [(2e7, 1.5), (3e5, 0.02), (-1e9, 1.0)])
def test_a_truth_far_from_zero_loses_the_digits_of_its_spread(offset, spread):
    draw = np.random.default_rng(0)
    truth = offset + spread * draw.normal(size=(3_000, 2))
    values = truth + 0.3 * spread * draw.normal(size=truth.shape)
    parts = [
        {"m": sum_values(values[n : n + 700], truth[n : n + 700], None)}
        for n in range(0, 3_000, 700)
    ]
    due = metrics.r2_score(truth, values, multioutput="variance_weighted")
    assert measures(reduce(add_sums, parts)["m"], [])["r2"] == pytest.approx(due, rel=1e-6)


@pytest.mark.parametrize("ends", [[1], [150], [7, 8, 120, 299]])
@pytest.mark.parametrize("kind", ["classes", "independent", "values"])
def test_chunks_added_up_differ_from_the_whole(kind, ends):
    q = probabilities(3)
    binary = (probabilities(4) > 0.3).astype(float)

    def tally(rows):
        if kind == "classes":
            return sum_classes(P[rows], TRUTH[rows], TEACHER[rows])
        return (sum_independent if kind == "independent" else sum_values)(
            P[rows], binary[rows], q[rows]
        )

    cuts = [0, *ends, ROWS]
    parts = [
        {"m": tally(slice(a, b)), "n": tally(slice(a, b))} for a, b in itertools.pairwise(cuts)
    ]
    added = reduce(add_sums, parts)
    whole = tally(slice(None))
    for name, values in whole.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_allclose(added["m"][name], values, rtol=1e-12)
    assert measures(added["n"], ALL) == pytest.approx(measures(whole, ALL), rel=1e-9)


def test_a_reliability_diagram_shows_other_bins():
    tally = sum_classes(P, TRUTH, None)
    shown = reliability(tally)
    confidence, right = P.max(axis=1), P.argmax(axis=1) == TRUTH
    assert sum(each["rows"] for each in shown) == ROWS
    for each in shown:
        mine = np.floor(confidence * BINS) == np.floor(each["confidence"] * BINS)
        assert each == pytest.approx(
            {
                "confidence": confidence[mine].mean(),
                "accuracy": right[mine].mean(),
                "rows": mine.sum(),
            }
        )
    certain = reliability(sum_classes(np.eye(2), np.array([0, 1]), None))
    assert certain == [{"confidence": 1.0, "accuracy": 1.0, "rows": 2.0}]
    assert reliability(sum_values(np.ones((2, 1)), np.ones((2, 1)), None)) == []


def test_a_method_that_names_no_class_of_the_truth_is_taken_to_say_the_first():
    truth = np.array([0, 0, 1])
    tally = sum_classes(np.zeros((3, 2)), truth, None)
    assert measures(tally, [True, True])["accuracy"] == 0
    assert tally["confusion"].sum() == 0
