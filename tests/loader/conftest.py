from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distill.labels.label_set import LabelSet
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.spec.outputs import Outputs
from distill.spec.pools import VectorFeatures
from tests.making import a_contract, a_topk_contract, list_pool, write_label_set
from tests.tiny import write_pool

FEATURES = VectorFeatures(kind="vector", columns=("pixels",))
KIND = Outputs("logits", ("a", "b", "c"))
SHARDS = ((50, 7, 64), (33,))
REJECTED = ((3, 60), (0,))
"""Rows of each pool that the labeler rejected."""


@dataclass(frozen=True)
class Laid:
    """A dataset, and what it should say, in plain arrays over all rows."""

    dataset: Dataset
    table: pa.Table
    outputs: np.ndarray
    labelled: np.ndarray
    sets: tuple[LabelSet, ...]


@pytest.fixture(scope="session")
def laid(tmp_path_factory) -> Laid:
    """Two pools; each label set cut at borders of its own, and chunks elsewhere again."""
    folder: Path = tmp_path_factory.mktemp("dataset")
    tables, inventories, dense, topk, outputs, labelled = [], [], [], [], [], []
    for number, (shards, rejected) in enumerate(zip(SHARDS, REJECTED, strict=True)):
        name, rows = f"pool{number}", sum(shards)
        tables.append(write_pool(folder / name, shards, row_group_rows=11))
        inventories.append(list_pool(folder / "root", folder / name, name))
        outputs.append(np.random.default_rng(number).normal(size=(rows, 3)).astype(np.float32))
        labelled.append(~np.isin(np.arange(rows), rejected))
        common = {"outputs": outputs[-1], "rejected": rejected}
        dense.append(
            write_label_set(
                folder / f"dense{number}", a_contract(), inventories[-1], fragment_rows=13, **common
            )
        )
        topk.append(
            write_label_set(
                folder / f"topk{number}",
                a_topk_contract(3, 2, values="float16"),
                inventories[-1],
                fragment_rows=29,
                **common,
            )
        )
    columns = {
        "dense": LabelColumn(a_contract(), tuple(dense), None),
        "topk": LabelColumn(a_topk_contract(3, 2, values="float16"), tuple(topk), 1.0),
        "truth": TargetColumn("kind", KIND),
    }
    dataset = Dataset(tuple(inventories), FEATURES, 4, columns)
    return Laid(
        dataset,
        pa.concat_tables(tables),
        np.concatenate(outputs),
        np.concatenate(labelled),
        tuple(dense),
    )
