"""Whether one model sees the same of all its pools, and can read it."""

from __future__ import annotations

from collections.abc import Sequence

from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.networks import FitModel


def check_same_features(tables: JobTables, pools: Sequence[str], where: str) -> Problems:
    """Yield where one model would see pools of different features; `where` is the key of who sees
    them."""
    features = {tables.pools[pool].features for pool in pools}
    if len(features) > 1:
        together = list(dict.fromkeys(pools))
        yield (
            f"{where}: one model sees the pools {together}, which have different features."
            " Give them the same."
        )


def check_readable(
    tables: JobTables, pools: Sequence[str], model: FitModel, where: str
) -> Problems:
    """Yield why a model cannot read pools; `where` is the table that has the model."""
    for pool in dict.fromkeys(pools):
        features = tables.pools[pool].features
        for problem in model.misread(features, pool):
            yield f"{where}.model.{problem}"
