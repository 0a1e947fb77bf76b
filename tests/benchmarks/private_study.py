"""What privacy costs: accuracy against ε of students of noisy votes (PATE), and of students that are
trained privately (DP-SGD). `.venv/bin/python -m tests.benchmarks.private_study`

    digits    scikit-learn's 8 × 8 digits: 1,100 private rows, 400 that are asked about, 297 judge
    fashion   Fashion-MNIST (jobs/fashion_pools.py): 50,000, 3,000 and the 10,000 test images

For each seed the rows are drawn anew. Teachers and students are linear. δ is below one over the
private rows. Each ε starts from teachers that nobody has asked. Beside them: a student of one
teacher's own labels, and one of the private rows themselves, neither of which promises anything.

Intervals are 95%, Student's t over the seeds, which draw rows and first weights; noise has no seed.
"""

from __future__ import annotations

import math
import runpy
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from distill.job.job import Job
from distill.labels.encoding import best_class
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.plan.votes import votes_statement
from distill.run import evaluate_students, fit_labelers, label_pools, train_students
from tests.benchmarks.tables import markdown, options, show

FASHION = Path(__file__).parents[2] / "jobs" / "fashion_pools.py"
SIGMAS = {20: 5.0, 50: 10.0, 250: 40.0}
"""By teachers: large enough for some dozens of answers at ε = 5, small beside a majority."""
ROWS = {"digits": (1_100, 400), "fashion": (50_000, 3_000)}
BATCHES = {"digits": (16, 64, 64), "fashion": (128, 512, 512)}
"""Rows a step of students of votes, of other students, of private training."""
DELTAS = {"digits": 1e-4, "fashion": 1e-5}
_HEAD = """
root = "{root}"
seed = {seed}
fragment_rows = 10_000
[pools.private]
path = "{pools}/private"
target = "kind"
classes = {classes}
features = {{ kind = "vector", columns = ["pixels"], scale = {scale} }}
[pools.public]
path = "{pools}/public"
[pools.test]
path = "{pools}/test"
target = "kind"
classes = {classes}
[evaluate]
on = "test"
"""
_MODEL = 'model = { kind = "linear" }'
_TRAINING = "training = {{ epochs = {epochs}, batch_rows = {batch}, learning_rate = 0.02, workers = 1, lanes = 1, checkpoint_epochs = 10_000 {more} }}"
_VOTES = """
[labels.votes]
labeler = {{ kind = "pate", fit = "voters", scale = {sigma}, epsilon = {epsilon}, delta = {delta} }}
over = ["public"]
"""
_PLAIN = """
[fit.one]
on = "private"
{model}
{training}
[labels.plain]
labeler = {{ kind = "fitted", fit = "one" }}
over = ["public"]
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--data", choices=tuple(ROWS), default="digits")
    parser.add_argument("--teachers", type=int, nargs="*", default=[20, 50])
    parser.add_argument("--epsilons", type=float, nargs="+", default=[2.0, 5.0, 10.0, 20.0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--teacher-epochs", type=int, default=0, help="0: as many as of students")
    parser.add_argument("--no-dp-sgd", dest="dp_sgd", action="store_false")
    told = parser.parse_args(arguments)
    if told.quick:
        told.teachers, told.epsilons, told.seeds, told.epochs = [4], [50.0], 2, 3
    work = Path(tempfile.mkdtemp(prefix="private-study-", dir=told.folder))
    runs = []
    try:
        for seed in range(told.first_seed, told.first_seed + told.seeds):
            runs += _Seed(work / f"seed{seed}", told, seed).runs()
            # after each seed, since all of them take long
            show(told, f"What privacy costs: {told.data}", _tables(runs), runs)
    finally:
        shutil.rmtree(work)


class _Seed:
    """All jobs of one draw of rows."""

    def __init__(self, work: Path, told: Any, seed: int) -> None:
        self.work = work
        self.told = told
        self.seed = seed
        self.delta = DELTAS[told.data]
        self.few, self.many, self.sampled = BATCHES[told.data]
        self.private, _ = ROWS[told.data]
        self.classes, self.truth, self.scale = _write_pools(work / "pools", told.data, seed)

    def runs(self) -> list[dict[str, Any]]:
        """What came of each method."""
        rows = self._run("plain", self._plain(), "no promise")
        for epsilon in self.told.epsilons if self.told.dp_sgd else ():
            more = f", private = {{ epsilon = {epsilon}, delta = {self.delta} }}"
            text = self._student("dp_sgd", "pools.private", self._training(self.sampled, more=more))
            rows += self._run(f"dp{epsilon:g}", text, "DP-SGD", epsilon=epsilon)
        for teachers in self.told.teachers:
            rows += self._pate(teachers)
        return rows

    def _pate(self, teachers: int) -> list[dict[str, Any]]:
        fit = f'[fit.voters]\non = "private"\n{_MODEL}\nteachers = {{ count = {teachers} }}\n'
        # as many steps of each, whatever its rows
        fit += self._training(max(16, self.private // teachers // 8), self.told.teacher_epochs)
        fitted = self._job(f"fit{teachers}", fit)
        fit_labelers(fitted, engine="local")
        rows = []
        for epsilon in self.told.epsilons:
            name = f"pate{teachers}-{epsilon:g}"
            # of teachers that nobody has asked yet
            shutil.copytree(self.work / f"root-fit{teachers}", self.work / f"root-{name}")
            sigma = SIGMAS.get(teachers, teachers / 5)
            votes = _VOTES.format(sigma=sigma, epsilon=epsilon, delta=self.delta)
            text = fit + votes + self._student("pate", "labels.votes", self._training(self.few))
            rows += self._run(name, text, f"PATE, {teachers} teachers", epsilon=epsilon)
        return rows

    def _plain(self) -> str:
        text = _PLAIN.format(model=_MODEL, training=self._training(self.many))
        text += self._student("of_labels", "labels.plain", self._training(self.many))
        return text + self._student("of_rows", "pools.private", self._training(self.many))

    def _student(self, name: str, learns: str, training: str) -> str:
        on = 'on = ["public"]\n' if learns.startswith("labels") else ""
        term = (
            f'[[students.{name}.terms]]\nlearns = "{learns}"\nloss = {{ kind = "cross_entropy" }}'
        )
        return f"[students.{name}]\n{on}{_MODEL}\n{training}\n{term}\n"

    def _training(self, batch: int, epochs: int = 0, more: str = "") -> str:
        return _TRAINING.format(epochs=epochs or self.told.epochs, batch=batch, more=more) + "\n"

    def _job(self, name: str, text: str) -> Job:
        file = self.work / f"{name}.toml"
        head = _HEAD.format(
            root=self.work / f"root-{name}",
            pools=self.work / "pools",
            seed=self.seed,
            classes=self.classes,
            scale=self.scale,
        )
        if "[students." not in text:
            head = head.replace('[evaluate]\non = "test"\n', "")
        file.write_text(head + text, "utf-8")
        return load_job(file)

    def _run(self, name: str, text: str, method: str, epsilon: float = math.inf) -> list[Any]:
        job = self._job(name, text)
        fit_labelers(job, engine="local")
        list(label_pools(job, engine="local"))
        train_students(job, engine="local")
        rows = []
        for each in evaluate_students(job, engine="local").methods:
            if each.role != "student":
                continue
            own = {"of_labels": "one teacher's labels", "of_rows": "private rows"}
            row = {
                "seed": self.seed,
                "method": own.get(each.student, method),
                "epsilon": None if math.isinf(epsilon) else epsilon,
                "accuracy": 100 * each.measures["accuracy"],
            }
            if "votes" in job.labels:
                row |= self._answers(job)
            rows.append(row)
        shutil.rmtree(self.work / f"root-{name}")
        return rows

    def _answers(self, job: Job) -> dict[str, float]:
        """How many rows were answered, how often rightly, and what it cost by the votes."""
        workspace = Plan(job).workspace
        labels = workspace.label_set("votes", "public")
        statement = votes_statement(workspace, "votes")
        assert statement is not None
        parts = [best_class(labels.read(entry), labels.contract) for entry in labels.entries]
        said = np.concatenate(parts)
        answered = said >= 0
        right = said[answered] == self.truth[answered]
        return {
            "answered": int(answered.sum()),
            "right": 100 * float(right.mean()),
            "by_votes": statement.data_dependent_epsilon or 0.0,
            "spent": statement.epsilon,
        }


def _write_pools(folder: Path, data: str, seed: int) -> tuple[list[str], np.ndarray, float]:
    """Draw rows; return the classes, the truth of the public rows, and the features' scale."""
    private, public = ROWS[data]
    order = np.random.default_rng(seed)
    if data == "digits":
        from sklearn.datasets import load_digits

        pixels, target = load_digits(return_X_y=True)
        shuffled = order.permutation(len(pixels))
        pixels, kinds, scale = pixels[shuffled], target[shuffled].astype(str), 1 / 16
        test = slice(private + public, None)
        write_rows(folder / "test", pixels[test], kinds[test])
    else:
        module = runpy.run_path(str(FASHION))
        train = pa.concat_tables(module["train"]())
        judged = pa.concat_tables(module["test"]())
        shuffled = order.permutation(len(train))
        pixels, kinds = (each[shuffled] for each in columns_of(train))
        scale = 1 / 255
        write_rows(folder / "test", *columns_of(judged))
    write_rows(folder / "private", pixels[:private], kinds[:private])
    asked = slice(private, private + public)
    write_rows(folder / "public", pixels[asked], kinds[asked])
    classes = sorted(set(kinds.tolist()))
    return classes, np.array([classes.index(kind) for kind in kinds[asked]]), scale


def columns_of(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    pixels = table["pixels"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return pixels, np.array(table["kind"].to_pylist())


def write_rows(folder: Path, pixels: np.ndarray, kinds: np.ndarray) -> None:
    folder.mkdir(parents=True)
    flat = pa.array(pixels.ravel().astype(np.float32))
    rows = pa.FixedSizeListArray.from_arrays(flat, pixels.shape[1])
    table = pa.table({"pixels": rows, "kind": pa.array(kinds.tolist())})
    pq.write_table(table, folder / "rows.parquet", row_group_size=5_000)


def _tables(runs: Sequence[dict[str, Any]]) -> list[str]:
    groups: dict[tuple[str, Any], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run["method"], run["epsilon"]].append(run)
    heads = ["student of", "ε", "accuracy", "rows answered", "rightly", "ε by the votes"]
    lines = []
    for (method, epsilon), group in groups.items():
        line = [method, "∞" if epsilon is None else f"{epsilon:g}", interval(group, "accuracy")]
        if "answered" in group[0]:
            line += [interval(group, each) for each in ("answered", "right", "by_votes")]
        else:
            line += ["", "", ""]
        lines.append(line)
    seeds = len({run["seed"] for run in runs})
    note = (
        f"Accuracy on the test rows in percent, {seeds} seeds, mean ± 95% interval. ε by the votes"
        " is data-dependent: smaller, and itself not to be published."
    )
    return [note, markdown(heads, lines)]


def interval(group: Sequence[dict[str, Any]], key: str) -> str:
    values = np.array([each[key] for each in group])
    if len(values) < 2:
        return f"{values.mean():.3g}"
    quantile = stats.t.ppf(0.975, len(values) - 1)
    half = quantile * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
