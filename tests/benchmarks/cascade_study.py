"""Whether cascades keep what they promise, on real rows: `python -m tests.benchmarks.cascade_study`.

Two data sets that come with scikit-learn: handwritten digits, and tumours of the breast (30
measures of cell nuclei). A network is fitted on few labelled rows; a linear student learns from its
labels of other rows; the rest of the rows is held out. `distill apply` runs the cascade once, over
the held-out rows without their targets, and says what is sent on and what that costs. Then, so
often as `--draws` says, labelled rows are drawn from the held-out ones with replacement, a threshold
is chosen on them, and the student's true accuracy above it, over all held-out rows, is looked up.
Draws in which nothing is proven are refused: then the teacher would answer everything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from distill.labels.reader import open_labels
from distill.plan.load import load_job
from distill.run import apply_student, fit_labelers, label_pool, plan_cascades, train_students
from distill.stages.apply.sureness import BINS, bins_of, log_odds, softmax
from distill.stages.apply.thresholds import UnprovenError, choose_sets, choose_threshold
from tests.benchmarks.tables import markdown, options, show
from tests.tiny import write_job

CONFIDENCE = 0.95
JOB = """
    root = "runs"
    fragment_rows = 128
    [pools.fitted]
    path = "fitted"
    target = "kind"
    classes = {classes}
    features = {{ kind = "vector", columns = ["x"] }}
    [pools.taught]
    path = "taught"
    [pools.rows]
    path = "rows"
    [pools.people]
    path = "people"
    target = "kind"
    classes = {classes}
    [fit.large]
    model = {{ kind = "mlp", hidden = [128] }}
    on = "fitted"
    training = {{ epochs = 60, batch_rows = 32, learning_rate = 2e-3, workers = 1 }}
    [labels.teacher]
    labeler = {{ kind = "fitted", fit = "large" }}
    over = ["taught"]
    compute = {{ gpus = 0 }}
    [students.small]
    model = {{ kind = "linear" }}
    training = {{ epochs = {epochs}, batch_rows = 32, learning_rate = 2e-3, workers = 1 }}
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl", temperature = 2 }}
    [cascade.small]
    on = "people"
    to = "labels.teacher"
    at_least = {at_least}
"""


@dataclass(frozen=True)
class Case:
    """One data set, and what is asked of its student."""

    name: str
    fitted: int
    taught: int
    people: int
    """Labelled rows of a draw."""
    epochs: int
    at_least: float


CASES = (Case("digits", 300, 300, 600, 80, 0.95), Case("breast cancer", 80, 100, 300, 20, 0.95))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--draws", type=int, default=200)
    told = parser.parse_args(arguments)
    if told.quick:
        told.draws = 20
    measured = {}
    for case in CASES:
        with tempfile.TemporaryDirectory(dir=told.folder) as folder:
            measured[case.name] = _study(case, Path(folder), told.draws)
    show(told, "Cascades: what is promised and what is kept", _parts(measured), measured)


def _study(case: Case, folder: Path, draws: int) -> dict[str, Any]:
    values, truth = _rows_of(case)
    order = np.random.default_rng(0).permutation(len(truth))
    bounds = [case.fitted, case.fitted + case.taught]
    fitted, taught, rows = np.split(order, bounds)
    drawn = np.random.default_rng(1).choice(rows, size=case.people)
    for name, part in {"fitted": fitted, "taught": taught, "rows": rows, "people": drawn}.items():
        _write(folder / name, values[part], truth[part])
    classes = sorted({str(each) for each in truth})
    text = JOB.format(classes=classes, epochs=case.epochs, at_least=case.at_least)
    job = load_job(write_job(folder, text.replace("'", '"')))
    fit_labelers(job, engine="local")
    label_pool(job, "teacher", engine="local")
    train_students(job, engine="local")
    found = apply_student(job, "small", "rows", lambda _line: None, engine="local", verify=True)
    assert found.applied is not None
    assert found.cascade is not None
    assert not found.problems
    table = pq.read_table(found.applied.uri)
    due = np.array([str(each) for each in truth[rows]])
    own = np.array(table["student_class"].to_pylist())
    final = np.array(table["class"].to_pylist())
    by_student = np.array(table["answered_by"].to_pylist()) == "student"
    (cost,) = plan_cascades(job)
    whole = {
        "rows": len(rows),
        "student": float((own == due).mean()),
        "cascade": float((final == due).mean()),
        "answers": float((own == due)[by_student].mean()),
        "sent": found.cascade.share_sent,
        "cost": cost.share,
    }
    logits = _student_logits(job.root_uri, found.cascade.student_labels)
    numbers = np.searchsorted(classes, due)
    resampled = {by: _resample(case, logits, numbers, by, draws) for by in ("confidence", "sets")}
    return {"at_least": case.at_least, "people": case.people, "whole": whole, **resampled}


def _rows_of(case: Case) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    from sklearn.datasets import load_breast_cancer, load_digits

    load = load_digits if case.name == "digits" else load_breast_cancer
    values, truth = load(return_X_y=True)
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled.astype(np.float32), truth


def _write(folder: Path, values: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> None:
    folder.mkdir()
    x = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    kinds = pa.array([str(each) for each in truth])
    pq.write_table(pa.table({"x": x, "kind": kinds}), folder / "rows.parquet")


def _student_logits(root: str, labels: str) -> npt.NDArray[np.float64]:
    """The student's own over the held-out rows, by its label set."""
    found = [
        each["logits"].to_pylist()
        for each in open_labels(f"{root}/labels/{labels}/v1/rows").decoded()
    ]
    return np.concatenate([np.array(each, np.float64) for each in found])


def _resample(
    case: Case, logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], by: str, draws: int
) -> dict[str, Any]:
    """How often the promise is kept over draws of labelled rows."""
    bins = bins_of(log_odds(logits))
    counts = np.bincount(bins, minlength=BINS)
    probabilities = softmax(logits)
    right = logits.argmax(axis=1) == truth
    of_truth = probabilities[np.arange(len(truth)), truth]
    draw = np.random.default_rng(2)
    kept = refused = 0
    answered = []
    for _ in range(draws):
        rows = draw.integers(len(truth), size=case.people)
        try:
            if by == "sets":
                chosen = choose_sets(of_truth[rows], case.at_least, CONFIDENCE)
                members = probabilities >= chosen.threshold
                kept += of_truth[of_truth >= chosen.threshold].size >= case.at_least * len(truth)
                answered.append(float((members.sum(axis=1) == 1).mean()))
                continue
            chosen = choose_threshold(counts, bins[rows], right[rows], case.at_least, CONFIDENCE)
        except UnprovenError:
            refused += 1
            continue
        is_answered = bins >= chosen.bin
        kept += right[is_answered].mean() >= case.at_least
        answered.append(float(is_answered.mean()))
    return {
        "draws": draws,
        "refused": refused,
        "kept": int(kept),
        "answers": float(np.mean(answered)) if answered else 0.0,
    }


def _parts(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    once = []
    often = []
    for name, each in measured.items():
        whole = each["whole"]
        shares = [f"{100 * whole[key]:.1f}%" for key in ("student", "answers", "cascade", "sent")]
        once.append([name, f"{whole['rows']:,}", *shares, f"{100 * whole['cost']:.0f}%"])
        for by in ("confidence", "sets"):
            found = each[by]
            proven = found["draws"] - found["refused"]
            kept = f"{found['kept']} of {proven} ({100 * found['kept'] / max(1, proven):.1f}%)"
            asked = f"{each['at_least']:g} by {by}"
            answers = f"{100 * found['answers']:.1f}%"
            often.append([name, asked, each["people"], kept, found["refused"], answers])
    heads = [
        "data set",
        "rows",
        "student right",
        "right where it answers",
        "cascade right",
        "sent to the teacher",
        "worker time of the teacher alone",
    ]
    return [
        f"`distill apply` once, at confidence {CONFIDENCE:g}:",
        markdown(heads, once),
        "Over draws of the labelled rows:",
        markdown(
            ["data set", "promised", "labelled rows", "kept", "refused", "student answers"], often
        ),
    ]


if __name__ == "__main__":
    main()
