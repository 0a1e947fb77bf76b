from __future__ import annotations

import numpy as np
import pytest

from distill.labelers.eszsl import sample as module
from distill.labelers.eszsl.sample import RowSampler

ROWS, CLASSES = 700, 5
SEED = 3


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 100)


@pytest.fixture(scope="module")
def rows():
    """Features that tell the row, classes of very different sizes (the last has 4 rows), and
    numbers beyond 2³²."""
    draw = np.random.default_rng(0)
    target = draw.choice(CLASSES - 1, ROWS, p=[0.6, 0.3, 0.08, 0.02])
    target[draw.choice(ROWS, 4, replace=False)] = CLASSES - 1
    row = (1 << 33) + np.arange(ROWS)
    return np.stack([row, target], axis=1).astype(np.float32), target, row


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        and getattr(first, name).dtype == dtype
        for name, dtype in (("features", np.float32), ("target", np.int64), ("row", np.int64))
    )


@pytest.mark.parametrize("cut", range(6))
def test_cuts_or_the_order_of_merging_change_the_sample(rows, cut):
    draw, sampler = np.random.default_rng(cut), RowSampler(CLASSES, SEED)
    whole = sampler.take(*rows)
    ends = np.sort(draw.choice(np.arange(1, ROWS), 2 + 20 * cut, replace=False))
    parts = [
        sampler.take(*part)
        for part in zip(*(np.split(values, ends) for values in rows), strict=True)
    ]
    while len(parts) > 1:
        first, second = sorted(draw.choice(len(parts), 2, replace=False))
        parts.append(sampler.merge(parts.pop(second), parts.pop(first)))
    assert same(parts[0], whole)


def test_the_sample_is_another_than_the_smallest_hashes_of_each_class(rows):
    features, target, row = rows
    sampler = RowSampler(CLASSES, SEED)
    kept = sampler.take(*rows)
    hashes = sampler._hashes(row)
    due = [
        mine[np.argsort(hashes[mine])][:20]
        for mine in (np.flatnonzero(target == each) for each in range(CLASSES))
    ]
    assert [len(part) for part in due] == [20, 20, 20, min(20, int((target == 3).sum())), 4]
    assert kept.row.tolist() == row[np.concatenate(due)].tolist()
    assert kept.features.tolist() == features[np.concatenate(due)].tolist()


def test_rows_in_order_of_time_or_of_class_are_drawn_in_part():
    rows = np.arange(100_000)
    for period in (1, 2, 4, 64):
        target = rows % period
        kept = RowSampler(period, SEED).take(rows[:, None].astype(np.float32), target, rows)
        assert abs(kept.row.mean() / rows.mean() - 1) < 0.2
        assert abs((kept.row // period % 2).mean() - 0.5) < 0.2


def test_another_seed_draws_the_same_rows(rows):
    drawn = [set(RowSampler(CLASSES, seed).take(*rows).row.tolist()) for seed in (0, 1, 2**40)]
    assert all(len(first & second) < 80 for first, second in [drawn[:2], drawn[1:], drawn[::2]])


@pytest.mark.parametrize("classes", [1, CLASSES, 99, 101, 500])
def test_a_sample_grows_beyond_its_bound(classes):
    sampler = RowSampler(classes, SEED)
    total = None
    for number in range(10):
        row = np.arange(1000 * number, 1000 * (number + 1))
        part = sampler.take(
            np.zeros((1000, 2), np.float32),
            np.random.default_rng(number).integers(classes, size=1000),
            row,
        )
        total = part if total is None else sampler.merge(total, part)
        assert len(total) <= 100
    assert len(total) >= 95


def test_wide_rows_are_kept_beyond_the_bytes_that_are_allowed(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_BYTES", 4 * 64 * 30)
    row = np.arange(1000)
    kept = RowSampler(3, SEED).take(np.zeros((1000, 64), np.float32), row % 3, row)
    assert kept.features.nbytes == 4 * 64 * 30


@pytest.mark.parametrize("cut", range(4))
def test_more_classes_than_rows_in_the_bound_make_the_sample_depend_on_cuts(cut):
    draw, sampler, row = np.random.default_rng(cut), RowSampler(300, SEED), np.arange(900)
    target, features = (
        np.random.default_rng(9).permutation(row % 300),
        np.arange(900, dtype=np.float32)[:, None],
    )
    whole = sampler.take(features, target, row)
    halves = draw.permutation(900) < 450
    parts = [sampler.take(features[some], target[some], row[some]) for some in (halves, ~halves)]
    assert same(sampler.merge(*parts), whole)
    hashes = sampler._hashes(row)
    firsts = sorted(int(hashes[target == each].min()) for each in range(300))
    assert sorted(sampler._hashes(whole.row).tolist()) == firsts[:100]


def test_a_chunk_without_a_usable_row_breaks_the_sample(rows):
    sampler = RowSampler(CLASSES, SEED)
    none = sampler.take(*(values[:0] for values in rows))
    assert len(none) == 0
    assert same(sampler.merge(none, sampler.take(*rows)), sampler.take(*rows))
    assert len(sampler.merge(none, none)) == 0
