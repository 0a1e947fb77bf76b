from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from distill.loader.dataset import Dataset, TargetColumn
from distill.loader.sampler import Chunk
from distill.loader.subset import Subset, drawn_rows
from distill.pools.scan import take_inventory
from distill.spec.outputs import Outputs
from distill.spec.pools import VectorFeatures
from distill.storage.open import open_storage
from tests.tiny import pixels, write_pool


def test_fewer_rows_are_no_part_of_more_or_not_drawn_alike():
    for seed in (0, 1, 2**62):
        drawn = [set(drawn_rows(1_000, count, seed).tolist()) for count in (1, 10, 100, 1_000)]
        for fewer, more in pairwise(drawn):
            assert fewer < more
        assert len(drawn[-1]) == 1_000
    one = drawn_rows(1_000, 500, 1)
    other = drawn_rows(1_000, 500, 2)
    assert 180 < len(np.intersect1d(one, other)) < 320  # 250, give or take 4 standard errors
    assert abs(one.mean() - 500) < 60


def test_what_is_drawn_hangs_on_how_rows_are_counted(monkeypatch):
    from distill.loader import subset

    whole = drawn_rows(5_000, 77, 3)
    monkeypatch.setattr(subset, "_HASHED_AT_ONCE", 300)
    np.testing.assert_array_equal(drawn_rows(5_000, 77, 3), whole)


@pytest.mark.parametrize("count", [3, 40, 170])
def test_rows_of_a_subset_are_other_than_those_of_the_dataset(tmp_path, count):
    table = write_pool(tmp_path / "pool", [100, 70])
    inventory = take_inventory(
        open_storage(str(tmp_path / "root")), "pool", open_storage(str(tmp_path / "pool"))
    )
    features = VectorFeatures(kind="vector", columns=("pixels",))
    target = TargetColumn("kind", Outputs("logits", ("a", "b", "c")))
    dataset = Dataset((inventory,), features, 4, {"0": target})
    picked = drawn_rows(170, count, 5)
    subset = Subset.of(dataset, picked)
    assert (subset.rows, subset.groups) == (count, [[[count]]])
    parts = [subset.load(Chunk(0, 0, start, min(7, count - start))) for start in range(0, count, 7)]
    rows = np.concatenate([part["row"] for part in parts])
    np.testing.assert_array_equal(rows, picked)
    found = np.concatenate([part["features"] for part in parts])
    np.testing.assert_array_equal(found, pixels(table)[picked])
    classes = np.array(["abc".index(kind) for kind in table["kind"].to_pylist()])
    targets = np.concatenate([part["0.target"] for part in parts])
    np.testing.assert_array_equal(targets, classes[picked])
