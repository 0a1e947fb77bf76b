from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

from distill.core.errors import StorageError
from distill.labelers.base import predict
from distill.labelers.calibration import (
    UNCHANGED,
    CalibratedLabeler,
    Calibration,
    best_temperature,
    keep_calibration,
    nll_over_grid,
    read_calibration,
)
from distill.storage.open import open_storage

DRAW = np.random.default_rng(0)


def rows_of(temperature, classes=5, rows=4_000):
    """Logits, and a truth that is drawn from their softmax at a temperature."""
    logits = (3 * DRAW.normal(size=(rows, classes))).astype(np.float32)
    p = np.exp(log_softmax(logits / temperature, axis=1))
    return logits, (p.cumsum(axis=1) < DRAW.random((rows, 1))).sum(axis=1)


def plainly(loss):
    return float(
        np.exp(minimize_scalar(lambda log: loss(np.exp(log)), bounds=(-3, 3), method="bounded").x)
    )


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_another_temperature_is_found_than_the_likeliest(temperature):
    logits, truth = rows_of(temperature)
    nll = nll_over_grid(logits, truth)
    due = plainly(lambda t: -log_softmax(logits / t, axis=1)[np.arange(len(truth)), truth].mean())
    assert best_temperature(nll) == pytest.approx(due, rel=0.005)
    assert due == pytest.approx(temperature, rel=0.1)
    assert nll[UNCHANGED] == pytest.approx(
        -log_softmax(logits, axis=1)[np.arange(len(truth)), truth].sum(), rel=1e-6
    )


def test_independent_outputs_are_taken_for_classes():
    logits = (4 * DRAW.normal(size=(3_000, 2))).astype(np.float32)
    truth = (DRAW.random(logits.shape) < expit(logits / 2)).astype(np.float32)

    def loss(t):
        p = np.clip(expit(logits / t), 1e-12, 1 - 1e-12)
        return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()

    assert best_temperature(nll_over_grid(logits, truth)) == pytest.approx(plainly(loss), rel=0.005)


def test_sums_of_parts_are_not_the_sum_of_all():
    logits, truth = rows_of(2.0)
    parts = sum(
        nll_over_grid(logits[start : start + 1_000], truth[start : start + 1_000])
        for start in range(0, 4_000, 1_000)
    )
    np.testing.assert_allclose(parts, nll_over_grid(logits, truth))


def test_huge_logits_overflow():
    logits = np.array([[3e38, -3e38, 0.0]], np.float32)
    assert np.isfinite(nll_over_grid(logits, np.array([0]))).all()


@pytest.mark.parametrize(("truth", "end"), [([0, 1, 2], "0.0312"), ([1, 2, 0], "32")])
def test_a_labeler_that_is_always_right_or_always_wrong_makes_hard_or_empty_labels(truth, end):
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    with pytest.raises(ValueError, match=rf"still grows at temperature {end}"):
        best_temperature(nll_over_grid(logits, np.array(truth)))


def test_a_calibrated_labeler_forgets_to_prepare():
    class Doubling:
        def prepare(self, features):
            return 2 * features

        def label(self, features):
            return features

    labeler, x = CalibratedLabeler(Doubling(), 4.0), np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(predict(labeler, x, 3).outputs, 0.5 * x)


def test_the_second_to_calibrate_overwrites_the_first(tmp_path):
    folder = open_storage(str(tmp_path))
    assert read_calibration(folder) is None
    first = keep_calibration(folder, Calibration(2.0, 10, 0.5, 0.4))
    assert (
        keep_calibration(folder, Calibration(3.0, 10, 0.5, 0.4))
        == first
        == read_calibration(folder)
    )
    (tmp_path / "done.json").write_text("{}", "utf-8")
    with pytest.raises(StorageError, match="is damaged"):
        read_calibration(folder)
