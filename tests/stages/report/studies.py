"""Evaluations of a few data sets, with seeds, as a suite of jobs would leave them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distill.core.judgement import PairsResult
from distill.core.results import FORM, Evaluation
from distill.stages.report.compare import Judged
from tests.core.evaluations import evaluation, method

ROWS = 1_000


def judged_data_set(
    name: str,
    levels: dict[str, float],
    *,
    kind: str = "exclusive",
    seeds: int = 3,
    spread: float = 0.004,
) -> Judged:
    """One data set: each student's level, moved a little by each seed; all err independently."""
    random = np.random.default_rng(sum(name.encode()))
    measure = "mse" if kind == "value" else "accuracy"
    methods = [replace(method("large", "teacher", **{measure: 0.95}), key="labels.large")]
    for student, level in levels.items():
        for seed in range(seeds):
            value = float(level + random.normal(0, spread))
            half = 1.96 * (abs(value * (1 - value)) / ROWS) ** 0.5
            one = method(f"{student}[seed={seed}]", group=student, seed=seed, **{measure: value})
            key = f"students.{student}[seed={seed}].main"
            ends = [value - half, value + half]
            methods.append(replace(one, key=key, intervals={measure: ends}))
    made = evaluation(*methods, kind=kind)
    return Judged(
        replace(made, job=name, rows=ROWS, form=FORM, pairs=_pairs(made, measure, kind)),
        f"/runs/{name}/evaluation.json",
    )


def _pairs(made: Evaluation, measure: str, kind: str) -> PairsResult:
    values = np.array([each.measures[measure] for each in made.methods])
    keys = [each.key for each in made.methods]
    if kind == "value":
        variances = np.full((len(keys), len(keys)), 0.02) * (1 - np.eye(len(keys)))
        return PairsResult(keys=keys, squared=[[0.0]], variance=variances.tolist())
    wins = np.rint(ROWS * values[:, None] * (1 - values[None, :])).astype(int)
    return PairsResult(keys=keys, agreement=[[1.0]], kl=[[0.0]], wins=wins.tolist())


def five_data_sets() -> list[Judged]:
    """Three students on five data sets, one of them of values; `combined` is the best on four."""
    made = [
        judged_data_set(
            name, {"labels_only": 0.80 + 0.02 * number, "distilled": 0.86, "combined": 0.93}
        )
        for number, name in enumerate(("digits", "cancer", "wine", "topics"))
    ]
    values = {"labels_only": 0.5, "distilled": 0.35, "combined": 0.36}
    return [*made, judged_data_set("diabetes", values, kind="value")]
