"""How little sure labels are, beside the formulas of a textbook."""

from __future__ import annotations

import numpy as np
import pytest

from distill.labels.encoding import DenseLabels, TopKLabels
from distill.stages.select.methods.uncertain import uncertainty

LOGITS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 3
LABELLED = np.ones(50, bool)


def _softmax(temperature):
    powers = np.exp(LOGITS.astype(float) / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_entropy_and_margin_of_classes_are_other_numbers(temperature):
    labels = DenseLabels(LOGITS, LABELLED)
    p = _softmax(temperature)
    entropy = uncertainty(labels, "entropy", temperature, exclusive=True)
    np.testing.assert_allclose(entropy, -(p * np.log(p)).sum(axis=1), rtol=1e-5)
    margin = uncertainty(labels, "margin", temperature, exclusive=True)
    ordered = np.sort(p, axis=1)
    np.testing.assert_allclose(margin, 1 - (ordered[:, -1] - ordered[:, -2]), rtol=1e-5)


def test_the_classes_that_a_set_does_not_keep_count_as_nothing():
    p = np.sort(_softmax(1.0), axis=1)[:, ::-1]
    labels = TopKLabels(np.zeros((50, 2), int), np.log(p[:, :2]).astype(np.float32), LABELLED)
    three = np.column_stack([p[:, :2], p[:, 2:].sum(axis=1)])
    entropy = uncertainty(labels, "entropy", 1.0, exclusive=True)
    np.testing.assert_allclose(entropy, -(three * np.log(three)).sum(axis=1), rtol=1e-4)
    margin = uncertainty(labels, "margin", 1.0, exclusive=True)
    np.testing.assert_allclose(margin, 1 - (p[:, 0] - p[:, 1]), rtol=1e-4)


def test_independent_outputs_are_taken_for_one_distribution():
    labels = DenseLabels(LOGITS, LABELLED)
    p = 1 / (1 + np.exp(-LOGITS.astype(float)))
    entropy = uncertainty(labels, "entropy", 1.0, exclusive=False)
    both = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(entropy, both.sum(axis=1), rtol=1e-6)
    margin = uncertainty(labels, "margin", 1.0, exclusive=False)
    np.testing.assert_allclose(margin, (1 - np.abs(2 * p - 1)).max(axis=1), rtol=1e-6)


def test_what_members_disagree_is_computed_anew():
    disagreement = np.arange(50, dtype=np.float32)
    labels = DenseLabels(LOGITS, LABELLED, disagreement)
    found = uncertainty(labels, "disagreement", 1.0, exclusive=True)
    assert found.tolist() == disagreement.tolist()
