"""What parties gain that share labels of a public pool, and no rows or weights: digits, each party
under a root of its own. `.venv/bin/python -m tests.benchmarks.party_study`

    1,000 private rows   of three parties, or five; of each class the parties have shares by chance
                         (Dirichlet, α = 1 and 10)
    500 public rows      labelled by every party, never by people
    297 rows             judge

A party's teacher and every student is a perceptron with 32 hidden units. Students learn the public
rows: of one party's labels alone, of the parties' consensus, or of the labels of one teacher that
was fitted on all private rows. One of five parties is then poisoned: it was taught that every digit
is the next one.

Intervals are 95%, Student's t over the seeds, which draw rows, shares and first weights.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.run import evaluate_students, fit_labelers, label_pools, train_students
from tests.benchmarks.private_study import interval, write_rows
from tests.benchmarks.tables import markdown, options, show

PRIVATE = 1_000
PUBLIC = 500
SKEWS = {3: 1.0, 5: 10.0}
"""α by the number of parties: of three each knows some classes badly, five are nearly alike."""
WAYS = ("mean", "median", "trimmed", "dawid_skene")
_CLASSES = [str(digit) for digit in range(10)]
_HEAD = """
root = "{root}"
seed = {seed}
fragment_rows = 10_000
[pools.public]
path = "{pools}/public"
features = {{ kind = "vector", columns = ["pixels"], scale = 0.0625 }}
[pools.test]
path = "{pools}/test"
target = "kind"
classes = {classes}
[evaluate]
on = "test"
"""
_TEACHER = """
[pools.private]
path = "{pools}/{party}"
target = "kind"
classes = {classes}
features = {{ kind = "vector", columns = ["pixels"], scale = 0.0625 }}
[fit.own]
on = "private"
{network}
[labels.own]
labeler = {{ kind = "fitted", fit = "own" }}
over = ["public"]
"""
_MERGED = """
[labels.agreed]
labeler = {{ kind = "merge", of = {of}, by = "{by}" }}
over = ["public"]
"""
_NETWORK = """model = {{ kind = "mlp", hidden = [32] }}
training = {{ epochs = {epochs}, batch_rows = 32, learning_rate = 0.01, workers = 1, lanes = 1, checkpoint_epochs = 10_000 }}"""
_STUDENT = """
[students.small]
on = ["public"]
{network}
[[students.small.terms]]
learns = "labels.{labels}"
loss = {{ kind = "cross_entropy" }}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    told = parser.parse_args(arguments)
    if told.quick:
        told.seeds, told.epochs = 2, 2
    work = Path(tempfile.mkdtemp(prefix="party-study-", dir=told.folder))
    runs: list[dict[str, Any]] = []
    try:
        for seed in range(told.seeds):
            runs += _Seed(work / f"seed{seed}", told.epochs, seed).runs()
            # after each seed, since all of them take long
            show(told, "Parties that share labels: digits", _tables(runs), runs)
    finally:
        shutil.rmtree(work)


class _Seed:
    """All jobs of one draw of rows."""

    def __init__(self, work: Path, epochs: int, seed: int) -> None:
        self.work = work
        self.seed = seed
        self.network = _NETWORK.format(epochs=epochs)
        self.draw = np.random.default_rng(seed)
        self.bytes: dict[str, int] = {}
        from sklearn.datasets import load_digits

        pixels, target = load_digits(return_X_y=True)
        shuffled = self.draw.permutation(len(pixels))
        self.pixels = pixels[shuffled]
        self.kinds = target[shuffled]
        public = slice(PRIVATE, PRIVATE + PUBLIC)
        self._write("public", np.arange(len(pixels))[public])
        self._write("test", np.arange(len(pixels))[PRIVATE + PUBLIC :])

    def runs(self) -> list[dict[str, Any]]:
        """What came of each student."""
        self._write("pooled", np.arange(PRIVATE))
        rows = [self._row("all rows in one place", self._party("pooled"))]
        three = self._parties(3, "of3")
        alone = [self._party(name) for name in three]
        rows.append(self._row("one of three parties, mean", float(np.mean(alone))))
        rows.append(self._row("one of three parties, best", max(alone)))
        rows += self._consensus(three, "consensus of three", ("mean", "dawid_skene"))
        five = self._parties(5, "of5")
        for name in five:
            self._party(name)
        rows += self._consensus(five, "consensus of five")
        liar = self._poisoned(five[0])
        rows += self._consensus([liar, *five[1:]], "consensus of five, one poisoned")
        return rows

    def _parties(self, count: int, prefix: str) -> list[str]:
        """Divide the private rows, each class by shares of its own."""
        owner = np.empty(PRIVATE, int)
        for digit in range(10):
            mine = np.flatnonzero(self.kinds[:PRIVATE] == digit)
            shares = self.draw.dirichlet([SKEWS[count]] * count)
            owner[mine] = self.draw.choice(count, len(mine), p=shares)
        names = [f"{prefix}_{party}" for party in range(count)]
        for party, name in enumerate(names):
            self._write(name, np.flatnonzero(owner == party))
        self.owner = owner
        return names

    def _poisoned(self, honest: str) -> str:
        """The same rows, each of which is said to be the next digit."""
        name = f"{honest}_poisoned"
        self._write(name, np.flatnonzero(self.owner == 0), turn=1)
        self._party(name)
        return name

    def _party(self, name: str) -> float:
        """Fit and label under the party's own root; how good a student of that alone is."""
        teacher = _TEACHER.format(
            pools=self.work / "pools", party=name, classes=_CLASSES, network=self.network
        )
        accuracy = self._run(name, teacher, "own")
        folder = self.work / f"root-{name}" / "labels" / "own"
        self.bytes[name] = sum(each.stat().st_size for each in folder.rglob("data/*/*"))
        return accuracy

    def _consensus(
        self, parties: Sequence[str], title: str, ways: Sequence[str] = WAYS
    ) -> list[dict[str, Any]]:
        of = [f"{self.work}/root-{name}/labels/own/v1" for name in parties]
        rows = []
        for by in ways:
            name = f"{title.replace(' ', '-').replace(',', '')}-{by}"
            accuracy = self._run(name, _MERGED.format(of=of, by=by), "agreed")
            sent = sum(self.bytes[party] for party in parties) / len(parties)
            rows.append(self._row(f"{title}, {by}", accuracy, sent))
        return rows

    def _run(self, name: str, tables: str, labels: str) -> float:
        head = _HEAD.format(
            root=self.work / f"root-{name}",
            pools=self.work / "pools",
            seed=self.seed,
            classes=_CLASSES,
        )
        file = self.work / f"{name}.toml"
        student = _STUDENT.format(network=self.network, labels=labels)
        file.write_text(head + tables + student, "utf-8")
        job = load_job(file)
        assert Plan(job).tables.label_outputs(labels).classes == tuple(_CLASSES)
        fit_labelers(job, engine="local")
        list(label_pools(job, engine="local"))
        train_students(job, engine="local")
        methods = evaluate_students(job, engine="local").methods
        (found,) = [each for each in methods if each.role == "student"]
        return 100 * float(found.measures["accuracy"])

    def _write(self, name: str, rows: Any, turn: int = 0) -> None:
        kinds = ((self.kinds[rows] + turn) % 10).astype(str)
        write_rows(self.work / "pools" / name, self.pixels[rows], kinds)

    def _row(self, student: str, accuracy: float, sent: float | None = None) -> dict[str, Any]:
        return {"seed": self.seed, "student": student, "accuracy": accuracy, "bytes": sent}


def _tables(runs: Sequence[dict[str, Any]]) -> list[str]:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run["student"]].append(run)
    lines = []
    for student, group in groups.items():
        sent = "" if group[0]["bytes"] is None else interval(group, "bytes")
        lines.append([student, interval(group, "accuracy"), _moved(groups, student), sent])
    heads = ["student of", "accuracy", "moved by the poison", "bytes sent by a party"]
    seeds = len({run["seed"] for run in runs})
    note = (
        f"Accuracy on the test rows in percent, {seeds} seeds, mean ± 95% interval. Moved: beside the"
        f" same five parties, all honest, seed by seed. Bytes: what a party writes once of {PUBLIC}"
        " rows; a round of weights would send 10,000 each way, of these small networks."
    )
    return [note, markdown(heads, lines)]


def _moved(groups: dict[str, list[dict[str, Any]]], student: str) -> str:
    if ", one poisoned" not in student:
        return ""
    honest = groups[student.replace(", one poisoned", "")]
    both = zip(groups[student], honest, strict=True)
    moved = [{"moved": one["accuracy"] - other["accuracy"]} for one, other in both]
    return interval(moved, "moved")


if __name__ == "__main__":
    main()
