from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pytest

from distill.core.errors import LabelerError
from distill.labelers.eszsl import sample
from distill.labelers.eszsl.fit import EszslFit
from distill.labelers.eszsl.holdout import FOLDS, Constants
from distill.labelers.eszsl.labeler import EszslLabeler
from distill.spec.models import Eszsl

ROWS, WIDTH, CLASSES = 600, 6, 8
UNSEEN = (2, 5)
SEEN = np.array([number for number in range(CLASSES) if number not in UNSEEN])
SPEC = Eszsl(
    kind="eszsl",
    descriptions="classes.csv",
    feature_ridges=(0.003, 0.3),
    attribute_ridges=(0.1, 10.0),
    calibrations=(0.0, 0.2),
    scales=(4.0, 16.0),
)


def drawn(rows, classes, seed, noise=0.3):
    """Features that show the attributes of their class, and the classes among `classes`."""
    attributes = described()
    draw = np.random.default_rng(seed)
    shows = np.random.default_rng(1).normal(size=(attributes.shape[1], WIDTH))
    target = draw.integers(len(classes), size=rows)
    x = attributes[np.array(classes)[target]] @ shows + noise * draw.normal(size=(rows, WIDTH))
    return x.astype(np.float32), target


def described():
    """All on-off combinations of three attributes, and how many are on: unseen classes are new
    combinations."""
    corners = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    return np.hstack([corners, 1 - corners])


@dataclass
class Fitted:
    """A fit in this process, with all that it came from."""

    weights: dict
    constants: Constants
    choice: object
    kept: object


def fitted(x, target, ends=(), spec=SPEC, attributes=None, seen=SEEN):
    fit = EszslFit(spec, described() if attributes is None else attributes, seen)
    row = np.arange(len(x))
    parts = [
        fit.partial(x[a:b], target[a:b], row[a:b])
        for a, b in itertools.pairwise([0, *ends, len(x)])
    ]
    kept = reduce(fit.merge, parts)
    choice = fit.choice(kept)
    constants = choice.best([score for split in choice.splits for score in choice.score(split)])
    return Fitted(fit.weights(kept.gram, kept.sums, constants), constants, choice, kept)


@pytest.fixture(scope="module")
def rows():
    return drawn(ROWS, SEEN, seed=0)


def direct(x, target, classes, gamma, ridge, attributes=None):
    """Equation 5 of Romera-Paredes & Torr in one go: V (d, a), of the rows of some seen classes."""
    mine = np.isin(target, classes)
    x1 = np.hstack([x[mine].astype(np.float64), np.ones((mine.sum(), 1))])
    attributes = described()[SEEN] if attributes is None else attributes
    y = np.eye(len(attributes))[target[mine]][:, classes]
    s = attributes[classes]
    left = np.linalg.inv(x1.T @ x1 + gamma * len(x1) * np.eye(x1.shape[1]))
    return left @ x1.T @ y @ s @ np.linalg.inv(s.T @ s + ridge * np.eye(s.shape[1]))


def test_the_fit_solves_another_equation_than_the_paper(rows):
    x, target = rows
    fit = fitted(x, target)
    chosen = fit.constants
    v = direct(x, target, np.arange(len(SEEN)), chosen.feature_ridge, chosen.attribute_ridge)
    x1 = np.hstack([x.astype(np.float64), np.ones((ROWS, 1))])
    due = chosen.scale * (
        x1 @ v @ described().T - chosen.calibration * np.isin(np.arange(CLASSES), SEEN)
    )
    weight, bias = fit.weights["weight"].astype(np.float64), fit.weights["bias"].astype(np.float64)
    np.testing.assert_allclose(x1 @ weight + bias, due, rtol=1e-6, atol=1e-6 * np.abs(due).max())
    labeler = EszslLabeler(fit.weights["weight"], fit.weights["bias"])
    np.testing.assert_allclose(labeler.label(x), due, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_cut_into_chunks_changes_what_is_fitted(rows, seed):
    x, target = rows
    whole = fitted(x, target)
    ends = sorted(
        np.random.default_rng(seed).choice(np.arange(1, ROWS), 5 + 20 * seed, replace=False)
    )
    cut = fitted(x, target, ends)
    assert cut.constants == whole.constants  # to the last bit: the sample is the same
    for name, values in whole.weights.items():
        np.testing.assert_allclose(cut.weights[name], values, rtol=1e-6, atol=1e-6)


def likeliest(x, target, fold, group_of):
    """The constants and their mean loss by the rule as it is written down, every row standing for
    itself."""
    x1 = np.hstack([x, np.ones((len(x), 1))])
    grid = list(
        itertools.product(
            SPEC.feature_ridges, SPEC.attribute_ridges, SPEC.calibrations, SPEC.scales
        )
    )
    losses = np.zeros(len(grid))
    sides = 0
    for pair in itertools.combinations(range(len(SEEN)), 2):
        held = [int(np.flatnonzero(group_of == group)[0]) for group in pair]
        kept = np.setdiff1d(np.arange(len(SEEN)), held)
        wrong = np.zeros((len(grid), 2))
        count = np.zeros(2)
        for part in range(FOLDS):
            train, test = (fold != part) & np.isin(target, kept), fold == part
            for number, (gamma, ridge, calibration, scale) in enumerate(grid):
                v = direct(x[train], target[train], kept, gamma, ridge)
                logits = x1[test] @ v @ described()[SEEN].T - calibration * np.isin(
                    np.arange(len(SEEN)), kept
                )
                log_p = scale * logits - np.log(np.exp(scale * logits).sum(axis=1, keepdims=True))
                nll = -log_p[np.arange(test.sum()), target[test]]
                unseen = np.isin(target[test], held)
                wrong[number] += [nll[~unseen].sum(), nll[unseen].sum()]
            count += [(~unseen).sum(), unseen.sum()]
        losses += (wrong / count).sum(axis=1)
        sides += 2
    return Constants(
        *grid[losses.argmin()], held_out_nll=pytest.approx(losses.min() / sides, rel=1e-6)
    )


def test_constants_are_chosen_by_another_rule_than_held_out_likelihood(rows):
    x, target = rows
    fit = fitted(x, target)
    assert sorted(fit.choice.sample.row) == list(range(ROWS))
    fold = fit.choice.fold_of[np.argsort(fit.choice.sample.row)]
    assert fit.constants == likeliest(x, target, fold, fit.choice.group_of)


def test_rows_that_lie_class_after_class_in_turn_are_fitted_otherwise():
    every = np.arange(CLASSES)
    x, target = drawn(1000, every, seed=4)
    each = [np.flatnonzero(target == number)[:100] for number in every]
    as_drawn, in_turn = np.sort(np.concatenate(each)), np.stack(each, axis=1).ravel()
    first, second = (
        fitted(x[rows], target[rows], seen=every).constants for rows in (as_drawn, in_turn)
    )
    assert second.held_out_nll == pytest.approx(first.held_out_nll, rel=0.1)


def test_a_sampled_row_of_a_frequent_class_counts_as_little_as_one_of_a_rare_class(monkeypatch):
    monkeypatch.setattr(sample, "SAMPLE_ROWS", 20 * len(SEEN))
    times = np.array([1, 2, 7, 1, 3, 10])
    target = np.random.default_rng(0).permutation(np.repeat(np.arange(len(SEEN)), 20 * times))
    x = described()[SEEN[target]] @ np.random.default_rng(1).normal(size=(6, WIDTH))
    x = (x + 0.5 * np.random.default_rng(2).normal(size=x.shape)).astype(np.float32)
    fit = fitted(x, target)
    kept = fit.choice.sample
    assert np.bincount(kept.target).tolist() == [20] * len(SEEN)
    standing = np.repeat(np.arange(len(kept)), times[kept.target])
    due = likeliest(
        x[kept.row[standing]],
        target[kept.row[standing]],
        fit.choice.fold_of[standing],
        fit.choice.group_of,
    )
    assert fit.constants == due
    v = direct(
        x, target, np.arange(len(SEEN)), fit.constants.feature_ridge, fit.constants.attribute_ridge
    )
    np.testing.assert_allclose(
        fit.weights["weight"], fit.constants.scale * v @ described().T, rtol=1e-5, atol=1e-5
    )


def test_a_class_without_any_label_is_never_said(rows):
    fit = fitted(*rows)
    labeler = EszslLabeler(fit.weights["weight"], fit.weights["bias"])
    x, target = drawn(300, range(CLASSES), seed=5)
    right = labeler.label(x).argmax(axis=1) == target
    unseen = np.isin(target, UNSEEN)
    assert right[unseen].mean() > 0.8
    assert right[~unseen].mean() > 0.8


def test_more_classes_than_groups_overlook_a_class():
    classes = 40
    attributes = np.random.default_rng(0).normal(size=(classes, 8))
    target = np.random.default_rng(1).permutation(np.arange(800) % classes)
    x = (attributes[target] + 0.2 * np.random.default_rng(2).normal(size=(800, 8))).astype(
        np.float32
    )
    spec = SPEC.model_copy(update={"scales": (8.0,)})
    fit = fitted(x, target, spec=spec, attributes=attributes, seen=np.arange(classes))
    assert sorted(set(fit.choice.group_of)) == list(range(16))
    v = direct(
        x,
        target,
        np.arange(classes),
        fit.constants.feature_ridge,
        fit.constants.attribute_ridge,
        attributes,
    )
    np.testing.assert_allclose(fit.weights["weight"], 8.0 * v @ attributes.T, rtol=1e-5, atol=1e-5)


def test_what_travels_of_a_task_grows_with_groups_and_folds():
    width, classes, rows = 512, 100, 3000
    draw = np.random.default_rng(0)
    fit = EszslFit(SPEC, draw.normal(size=(classes, 8)), np.arange(classes))
    target = np.arange(rows) % classes
    first, second = (
        fit.partial(
            draw.normal(size=(rows, width)).astype(np.float32), target, np.arange(rows) + begin
        )
        for begin in (0, rows)
    )
    gram, sums, sampled = (
        8 * (width + 1) ** 2,
        8 * classes * (width + 1),
        (4 * width + 16) * 2 * rows,
    )
    assert fit.merge(first, second).nbytes <= gram + sums + sampled
    assert len(pickle.dumps(fit.merge(first, second))) <= gram + sums + sampled + 10_000


def test_a_class_that_has_no_row_is_fitted_as_if_it_had():
    x, target = drawn(100, SEEN, seed=0)
    with pytest.raises(LabelerError, match="1 of the 6 seen classes have no usable row"):
        fitted(x[target != 3], target[target != 3])
