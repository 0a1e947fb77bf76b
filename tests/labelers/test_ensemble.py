from __future__ import annotations

import math

import numpy as np
import pytest

from distill.core.source import PythonFile
from distill.labelers import ensemble as module
from distill.labelers.base import predict
from distill.labelers.recipe import Member, Recipe
from distill.labelers.registry import build_labeler
from distill.spec.outputs import Outputs
from tests.labelers.asking import answers

ROWS, CLASSES = 9, ("a", "b", "c")
SHARES = (0.5, 0.3, 0.2)
PLACES = (None, (2, 0, 1), None)
"""The second member has its classes in another order: b, c, a."""
TEXT = """
import numpy as np

def said(features, seed, width):
    weight = np.random.default_rng(seed).normal(size=(features.shape[1], width))
    return (4 * features @ weight).astype(np.float32)

class Zero:
    def label(self, features): return said(features, 0, 3)

class One:
    def prepare(self, features): return 2 * features
    def label(self, features): return said(features / 2, 1, 3)

class Two:
    def label(self, features): return said(features, 2, 3)

class Eraser:
    def label(self, features):
        answered = said(features, 0, 3)
        features *= 0
        return answered

class Narrow:
    def label(self, features): return features[:, :1]

class Broken:
    def label(self, features): return np.where(features[:, :3] > 0, np.nan, 1).astype(np.float32)
"""
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)


def ensemble(outputs, names=("Zero", "One", "Two"), shares=SHARES, places=PLACES):
    file = PythonFile("three.py", TEXT)
    members = tuple(
        Member(name, Recipe(form="custom", source=file, name=name), share, where)
        for name, share, where in zip(names, shares, places, strict=True)
    )
    return build_labeler(Recipe(form="ensemble", members=members, outputs=outputs, width=3))


def each_said():
    """What each member says, in the ensemble's order: (members, rows, 3) float64."""
    made = []
    for seed, places in enumerate(PLACES):
        weight = np.random.default_rng(seed).normal(size=(4, 3))
        said = (4 * FEATURES @ weight).astype(np.float32).astype(np.float64)
        made.append(said if places is None else said[:, list(places)])
    return np.stack(made)


def entropy(p):
    return -sum(each * math.log(each) for each in p if each > 0)


def softmax(z):
    odds = [math.exp(each - max(z)) for each in z]
    return [each / sum(odds) for each in odds]


def mixed(distributions):
    return [
        sum(w * p[c] for w, p in zip(SHARES, distributions, strict=True))
        for c in range(len(distributions[0]))
    ]


def test_the_mean_of_probabilities_or_their_divergence_differs_from_a_plain_loop():
    outputs, disagreement = predict(ensemble(Outputs("logits", CLASSES)), FEATURES, 3)
    for row, said in enumerate(np.moveaxis(each_said(), 1, 0)):
        distributions = [softmax(z) for z in said.tolist()]
        mean = mixed(distributions)
        np.testing.assert_allclose(np.exp(outputs[row].astype(float)), mean, rtol=1e-5)
        due = entropy(mean) - sum(
            w * entropy(p) for w, p in zip(SHARES, distributions, strict=True)
        )
        assert disagreement[row] == pytest.approx(due, rel=1e-5, abs=1e-7)
    assert (disagreement > 0.01).any()


def test_independent_outputs_are_mixed_as_if_they_excluded_each_other():
    outputs, disagreement = predict(
        ensemble(Outputs("logits", CLASSES, exclusive=False)), FEATURES, 3
    )
    for row, said in enumerate(np.moveaxis(each_said(), 1, 0)):
        p = 1 / (1 + np.exp(-said))
        mean = np.array(SHARES) @ p
        np.testing.assert_allclose(outputs[row], np.log(mean / (1 - mean)), rtol=1e-4, atol=1e-5)
        apart = [
            entropy([mean[c], 1 - mean[c]])
            - sum(w * entropy([q[c], 1 - q[c]]) for w, q in zip(SHARES, p.tolist(), strict=True))
            for c in range(3)
        ]
        assert disagreement[row] == pytest.approx(np.mean(apart), rel=1e-4, abs=1e-7)


def test_values_are_mixed_by_other_weights():
    outputs, disagreement = predict(ensemble(Outputs("value"), places=(None,) * 3), FEATURES, 3)
    said = np.stack(
        [4 * FEATURES @ np.random.default_rng(seed).normal(size=(4, 3)) for seed in range(3)]
    )
    mean = np.tensordot(SHARES, said, 1)
    np.testing.assert_allclose(outputs, mean, rtol=1e-5, atol=1e-5)
    spread = np.tensordot(SHARES, (said - mean) ** 2, 1).mean(axis=1) ** 0.5
    np.testing.assert_allclose(disagreement, spread, rtol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_members_that_say_the_same_disagree(exclusive):
    alike = ensemble(Outputs("logits", CLASSES, exclusive), names=("Zero",) * 3, places=(None,) * 3)
    outputs, disagreement = predict(alike, FEATURES, 3)
    np.testing.assert_allclose(disagreement, 0, atol=1e-6)
    given = each_said()[0]
    if exclusive:
        given = given - np.log(np.exp(given).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(outputs, given, atol=1e-5)


def test_certain_members_that_contradict_each_other_disagree_by_another_number_than_log_2():
    text = (
        TEXT
        + "\nclass Sure:\n    def label(self, features): return np.array([[1e4, -1e4, 0]] * len(features))\n"
    )
    file = PythonFile("sure.py", text)
    members = tuple(
        Member("Sure", Recipe(form="custom", source=file, name="Sure"), 0.5, p)
        for p in (None, (1, 0, 2))
    )
    outputs, disagreement = predict(
        build_labeler(
            Recipe(form="ensemble", members=members, outputs=Outputs("logits", CLASSES), width=3)
        ),
        FEATURES,
        3,
    )
    np.testing.assert_allclose(disagreement, math.log(2), rtol=1e-6)
    np.testing.assert_allclose(outputs[:, :2], math.log(0.5), rtol=1e-6)


def test_a_member_without_a_number_leaves_one():
    outputs, _ = predict(
        ensemble(Outputs("logits", CLASSES), names=("Zero", "Broken"), shares=(0.5, 0.5), places=(None, None)),
        FEATURES, 3,
    )  # fmt: skip
    broken = (FEATURES[:, :3] > 0).any(axis=1)
    assert np.isnan(outputs[broken]).all()
    assert np.isfinite(outputs[~broken]).all()


def test_company_or_order_decides_an_answer():
    answers(ensemble(Outputs("logits", CLASSES)), FEATURES, 3)


def test_a_member_that_writes_into_its_rows_changes_what_another_sees():
    plain = predict(ensemble(Outputs("logits", CLASSES)), FEATURES.copy(), 3)
    erasing = predict(
        ensemble(Outputs("logits", CLASSES), names=("Eraser", "One", "Two")), FEATURES.copy(), 3
    )
    np.testing.assert_array_equal(erasing.outputs, plain.outputs)
    np.testing.assert_array_equal(erasing.disagreement, plain.disagreement)


def test_an_answer_of_another_shape_does_not_say_whose_it_is():
    with pytest.raises(
        ValueError, match=r"member 1 \(Narrow\): label\(\) answered with shape \(9, 1\)"
    ):
        predict(
            ensemble(
                Outputs("logits", CLASSES), names=("Zero", "Narrow", "Two"), places=(None,) * 3
            ),
            FEATURES,
            3,
        )


def test_a_block_of_rows_is_another_ensemble_than_all_of_them(monkeypatch):
    whole = predict(ensemble(Outputs("logits", CLASSES)), FEATURES, 3)
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 20)
    parts = predict(ensemble(Outputs("logits", CLASSES)), FEATURES, 3)
    np.testing.assert_array_equal(parts.outputs, whole.outputs)
    np.testing.assert_array_equal(parts.disagreement, whole.disagreement)
