from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from distill.core.errors import LabelerError
from distill.labelers.eszsl.holdout import FOLDS, GROUPS, Holdout
from distill.labelers.eszsl.sample import Sample
from distill.spec.models import Eszsl

SPEC = Eszsl(kind="eszsl", descriptions="classes.csv")


def holdout(classes, width, rows=0, spec=SPEC):
    draw = np.random.default_rng(0)
    target = np.sort(np.arange(rows) % classes)
    sample = Sample(draw.normal(size=(rows, width)).astype(np.float32), target, np.arange(rows))
    return Holdout(spec, np.eye(classes), sample, np.ones(classes))


@pytest.mark.parametrize(
    ("classes", "width", "pairs"),
    [
        (40, 256, 120),
        (40, 512, 30),
        (40, 1024, 16),
        (512, 64, 30),
        (1000, 64, 16),
        (40, 4096, 16),
        (8, 64, 28),
        (8, 4096, 16),
        (4, 4096, 6),
        (5, 9, 10),
    ],
)
def test_wide_rows_or_many_classes_cost_as_many_splits_as_few_or_some_group_is_never_held_out(
    classes, width, pairs
):
    splits = holdout(classes, width).splits
    assert len(splits) == len(set(splits)) == FOLDS * pairs
    times = Counter(group for split in splits for group in split.pair)
    assert set(times) == set(range(min(GROUPS, classes)))
    assert max(times.values()) - min(times.values()) <= 2 * FOLDS


def test_a_fold_lacks_a_class_or_holds_most_of_it():
    made = holdout(7, 5, rows=100)
    for each in range(7):
        sizes = np.bincount(made.fold_of[made.sample.target == each], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1
    assert len(set(made.fold_of[:8])) == FOLDS


def test_a_split_sees_rows_that_it_is_judged_on():
    """Rows of the pair in other folds may be anything; what it does learn from may not."""
    plain = holdout(6, 5, rows=240)
    (split,) = [each for each in plain.splits if each.pair == (0, 3)][1:2]
    held = np.isin(plain.group_of[plain.sample.target], split.pair)
    apart = plain.fold_of == split.fold
    features = plain.sample.features.copy()
    features[held & ~apart] = 1e6
    other = Holdout(
        SPEC,
        plain.attributes,
        Sample(features, plain.sample.target, plain.sample.row),
        plain.weights,
    )
    np.testing.assert_array_equal(other.score(split)[0].loss, plain.score(split)[0].loss)
    features[~held & ~apart] *= 2
    assert (other.score(split)[0].loss != plain.score(split)[0].loss).all()
    assert plain.score(split)[0].count.tolist() == [(apart & ~held).sum(), (apart & held).sum()]


def test_large_logits_make_a_loss_infinite():
    spec = SPEC.model_copy(update={"scales": (1e6,)})
    made = holdout(6, 5, rows=240, spec=spec)
    assert np.isfinite(made.score(made.splits[0])[0].loss).all()


def test_constants_are_made_up_where_no_row_can_judge_them():
    made = holdout(8, 5, rows=1)
    with pytest.raises(LabelerError, match="1 labelled rows are too few"):
        made.best([score for split in made.splits for score in made.score(split)])
