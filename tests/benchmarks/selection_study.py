"""Which rows to have labelled: the learning curve of students by how their rows were chosen.
`.venv/bin/python -m tests.benchmarks.selection_study`

Fashion-MNIST (jobs/fashion_pools.py). For each seed one job: of 60,000 images 50, 100, 200 and 500
are chosen, each number afresh, and the same student learns their labels alone:

    random               each row with the same chance
    typical              TypiClust over k-means of 50 principal components, as many clusters as rows
    typical, uncertain   half by `typical`; the other half where a student of those is least sure

Accuracy over the 10,000 test images. Seeds draw k-means' start, random rows and students' weights.
Intervals are 95%, Student's t over the seeds; differences are paired by seed.
"""

from __future__ import annotations

import math
import runpy
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from distill.plan.load import load_job
from distill.run import run_job
from tests.benchmarks.tables import markdown, options, show

MADE_BY = Path(__file__).parents[2] / "jobs" / "fashion_pools.py"
KINDS = runpy.run_path(str(MADE_BY))["KINDS"].tolist()
METHODS = {"random": "random", "typical": "typical", "mixed": "typical, uncertain"}
_HEAD = """
root = "{root}"
seed = {seed}
[pools.train]
path = "{pools}/train"
made_by = "{made_by}:train"
features = {{ kind = "image", column = "pixels", shape = [28, 28, 1], encoded = false }}
target = "kind"
classes = {classes}
[pools.test]
path = "{pools}/test"
made_by = "{made_by}:test"
target = "kind"
classes = {classes}
[structure.axes]
of = "pools.train"
model = {{ kind = "pca", components = 50 }}
[evaluate]
on = "test"
"""
_OF_SIZE = """
[structure.groups_{rows}]
of = "structure.axes"
model = {{ kind = "kmeans", k = {rows} }}
[structure.groups_{rows}_half]
of = "structure.axes"
model = {{ kind = "kmeans", k = {half} }}
[select.random_{rows}]
of = "pools.train"
by = {{ kind = "random" }}
rows = {rows}
[select.typical_{rows}]
of = "pools.train"
by = {{ kind = "typical", structure = "groups_{rows}" }}
rows = {rows}
[select.half_{rows}]
of = "pools.train"
by = {{ kind = "typical", structure = "groups_{rows}_half" }}
rows = {half}
[fit.half_{rows}]
on = "select.half_{rows}"
model = {model}
training = {training}
[labels.half_{rows}]
labeler = {{ kind = "fitted", fit = "half_{rows}" }}
over = ["train"]
[select.uncertain_{rows}]
of = "pools.train"
by = {{ kind = "uncertain", labels = "half_{rows}", measure = "margin" }}
after = "select.half_{rows}"
rows = {half}
"""
_STUDENT = """
[students.{method}_{rows}]
model = {model}
training = {training}
"""
_TERM = """
[[students.{method}_{rows}.terms]]
learns = "pools.{chosen}"
loss = {{ kind = "cross_entropy" }}
weight = {weight}
"""
_HALVES = """
[students.mixed_{rows}.batch_share]
"select.half_{rows}" = 0.5
"select.uncertain_{rows}" = 0.5
"""
_MODEL = '{ kind = "mlp", hidden = [128] }'
_TRAINING = (
    "{{ epochs = {epochs}, batch_rows = 40, lanes = 4, learning_rate = 1e-3, weight_decay = 1e-2,"
    ' schedule = "cosine", checkpoint_epochs = {epochs} }}'
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 100, 200, 500])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    told = parser.parse_args(arguments)
    if told.quick:
        told.rows, told.seeds, told.epochs = [20], 2, 2
    work = Path(tempfile.mkdtemp(prefix="selection-study-", dir=told.folder))
    try:
        accuracies = [_accuracies(work, seed, told.rows, told.epochs) for seed in range(told.seeds)]
    finally:
        shutil.rmtree(work)
    show(told, "Which rows to have labelled", _tables(accuracies, told.rows), accuracies)


def _accuracies(work: Path, seed: int, sizes: Sequence[int], epochs: int) -> dict[str, float]:
    """Accuracy of each student of one seed, in percent."""
    job_file = work / f"seed{seed}.toml"
    job_file.write_text(_job_text(work, seed, sizes, epochs), "utf-8")
    finished = run_job(load_job(job_file), engine="local")
    assert finished.evaluation is not None
    shutil.rmtree(work / f"root{seed}")
    students = [each for each in finished.evaluation.methods if each.role == "student"]
    return {each.student: 100 * each.measures["accuracy"] for each in students}


def _job_text(work: Path, seed: int, sizes: Sequence[int], epochs: int) -> str:
    common = {
        "root": work / f"root{seed}",
        "pools": work / "pools",
        "made_by": MADE_BY,
        "classes": KINDS,
        "seed": seed,
    }
    text = _HEAD.format(**common)
    training = _TRAINING.format(epochs=epochs)
    for rows in sizes:
        trained = {"rows": rows, "half": rows // 2, "model": _MODEL, "training": training}
        text += _OF_SIZE.format(**trained)
        learned = {
            "random": [f"select.random_{rows}"],
            "typical": [f"select.typical_{rows}"],
            "mixed": [f"select.half_{rows}", f"select.uncertain_{rows}"],
        }
        for method, selections in learned.items():
            text += _STUDENT.format(method=method, **trained)
            for chosen in selections:
                weight = 1 / len(selections)
                text += _TERM.format(method=method, chosen=chosen, weight=weight, **trained)
        # a step sees as many rows of both together as other students see
        text += _HALVES.format(**trained)
    return text


def _tables(accuracies: Sequence[dict[str, float]], sizes: Sequence[int]) -> list[str]:
    heads = ["rows labelled", *METHODS.values(), "typical − random", "typical, uncertain − random"]
    lines = []
    for rows in sizes:
        of = {method: _values(accuracies, method, rows) for method in METHODS}
        means = [_with_interval(of[method]) for method in METHODS]
        over_random = [_with_interval(of[each] - of["random"]) for each in ("typical", "mixed")]
        lines.append([rows, *means, *over_random])
    note = f"Accuracy in percent, {len(accuracies)} seeds, mean ± 95% interval."
    return [note, markdown(heads, lines)]


def _values(accuracies: Sequence[dict[str, float]], method: str, rows: int) -> np.ndarray:
    return np.array([seed[f"{method}_{rows}"] for seed in accuracies])


def _with_interval(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values.mean():.1f}"
    quantile = stats.t.ppf(0.975, len(values) - 1)
    half = quantile * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
