from __future__ import annotations

import numpy as np

from distill.stages.review.confident_learning import (
    NOBODY,
    ClassSums,
    confident_classes,
    suspects,
)


def by_definition(p, given):
    """Northcutt et al. 2021, §3.1, row by row, as it is written there."""
    classes = p.shape[1]
    thresholds = [p[given == j, j].mean() if (given == j).any() else np.inf for j in range(classes)]
    found = {}
    for row, (probabilities, i) in enumerate(zip(p, given, strict=True)):
        confident = [j for j in range(classes) if probabilities[j] >= thresholds[j]]
        if not confident:
            continue
        j = max(confident, key=lambda each: probabilities[each])
        if j != i and probabilities.argmax() != i:
            found[row] = j
    return np.array(thresholds), found


def drawn(seed=1, rows=600, classes=5, wrong=0.1):
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=rows)
    logits = random.normal(0, 1, (rows, classes))
    logits[np.arange(rows), truth] += 4
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    given = truth.copy()
    flipped = random.random(rows) < wrong
    given[flipped] = (
        truth[flipped] + 1 + random.integers(classes - 1, size=flipped.sum())
    ) % classes
    return p, given, truth, flipped


def test_suspects_are_those_of_the_definition():
    p, given, _, _ = drawn()
    thresholds, expected = by_definition(p, given)
    sums = ClassSums.of(p[:200], given[:200]) + ClassSums.of(p[200:], given[200:])
    np.testing.assert_allclose(sums.thresholds, thresholds)
    of, score = suspects(p, given, sums.thresholds)
    assert (
        dict(zip(np.flatnonzero(of != NOBODY).tolist(), of[of != NOBODY].tolist(), strict=True))
        == expected
    )
    assert np.isneginf(score[of == NOBODY]).all()
    line = np.flatnonzero(of != NOBODY)
    np.testing.assert_allclose(score[line], p[line, of[line]] - p[line, given[line]])


def test_most_wrong_labels_are_found_and_few_right_ones_suspected():
    p, given, truth, flipped = drawn(rows=2_000)
    of, _ = suspects(p, given, ClassSums.of(p, given).thresholds)
    found = of != NOBODY
    assert (found & flipped).sum() > 0.75 * flipped.sum()
    assert (found & ~flipped).sum() < 0.1 * found.sum()
    assert (of[found & flipped] == truth[found & flipped]).mean() > 0.95


def test_a_class_that_no_row_is_given_as_takes_no_row():
    p = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]])
    given = np.zeros(3, np.int64)
    sums = ClassSums.of(p, given)
    assert np.isinf(sums.thresholds[1])
    assert confident_classes(p, sums.thresholds).tolist() == [NOBODY, 0, 0]
    assert suspects(p, given, sums.thresholds)[0].tolist() == [NOBODY] * 3
