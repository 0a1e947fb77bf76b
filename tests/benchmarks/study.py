"""Methods that need few labels or none, over five data sets that ship with installed packages.
`.venv/bin/python -m tests.benchmarks.study`

    digits     images, 10 classes (scikit-learn; Alpaydin & Kaynak 1998)
    cancer     a table, 2 classes (scikit-learn; Street et al. 1993)
    wine       a table, 3 classes (scikit-learn; Aeberhard & Forina 1991)
    topics     texts, 7 classes (Python's own docstrings, jobs/topics_text.py), as hashed words
    diabetes   a table, values (scikit-learn; Efron et al. 2004)

Of each data set a few rows are labelled, a quarter is the test pool, and of the rest nobody but the
ceiling knows the labels. All students are one small network, and differ by what teaches them:

    labels_only    the labelled rows
    distilled      a larger teacher's word on the unlabelled rows, fitted on the labelled ones
    zero_shot      a model that saw no label, on the unlabelled rows: of topics, whose words a
                   sentence a topic describes
    structure      the labelled rows, and as a second head the clusters of the unlabelled ones
    combined       distilled and labels_only, and zero_shot where there is one
    self_training  pseudo-labels of a network of the students' own size, the surer the more (Lee
                   2013)
    centroids      clusters of the unlabelled rows, each of which says what the labelled rows nearest
                   to its centre are
    ceiling        the truth of the unlabelled rows

One job a data set, the seeds a sweep; then `distill compare` over the five. Seeds draw weights and
order, not which rows are labelled. Hyperparameters were written once.
"""

from __future__ import annotations

import json
import runpy
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.study import Study
from distill.plan.load import load_job
from distill.run import run_job
from distill.run.compare import compare_results, write_comparison
from distill.stages.report.compare_page import StudyPage
from tests.benchmarks.tables import markdown, options, show

TEXT = Path(__file__).parents[2] / "jobs" / "topics_text.py"
LABELLED = {"digits": 60, "cancer": 20, "wine": 15, "topics": 140, "diabetes": 40}
HASHED = 512
"""Places of words."""
DESCRIPTIONS = {
    "network": "network connection sockets hosts ports http requests responses servers clients urls",
    "mail": "electronic mail messages mailboxes headers addresses attachments mime charset",
    "files": "files directories paths reading writing opening archives compression permissions",
    "concurrency": "threads processes tasks event loop locks queues futures coroutines waiting",
    "testing": "test cases assertions failures breakpoints tracing profiling mock results",
    "code": "source code modules syntax tree import loaders bytecode tokens types inspecting",
    "dates": "dates times day month year hours minutes timezone utc calendar formatting",
}


_CENTROIDS = '''
import numpy as np
import pyarrow.parquet as pq


class Centroids:
    """Each cluster says what the labelled rows nearest to its centre are."""

    revision = "1"
    {meaning}

    def __init__(self):
        x, y = (np.array(pq.read_table("{labelled}")[name].to_pylist()) for name in ("x", "truth"))
        pool = np.array(pq.read_table("{pool}")["x"].to_pylist())
        centres = pool[np.random.default_rng(0).choice(len(pool), {clusters}, replace=False)]
        for _ in range(25):
            nearest = np.square(pool[:, None] - centres).sum(axis=2).argmin(axis=1)
            there = [pool[nearest == each] for each in range(len(centres))]
            centres = np.stack(
                [rows.mean(axis=0) if len(rows) else old for rows, old in zip(there, centres)]
            )
        closest = np.square(centres[:, None] - x).sum(axis=2).argsort(axis=1)[:, :3]
        self.centres, self.says = centres, y[closest]

    def label(self, features):
        nearest = np.square(features[:, None] - self.centres).sum(axis=2).argmin(axis=1)
        {answer}
'''
_CLASS_ANSWER = """votes = np.stack([(self.says[nearest] == each).mean(axis=1) for each in self.classes], axis=1)
        return np.log(votes + 0.02).astype(np.float32)"""
_VALUE_ANSWER = "return self.says[nearest].mean(axis=1, keepdims=True).astype(np.float32)"
_ZERO_SHOT = '''
import numpy as np


class ZeroShot:
    """How many words of a topic's description a text has."""

    revision = "1"
    classes = {classes}

    def label(self, features):
        described = np.array({described}, np.float32)
        return (20 * features @ described.T).astype(np.float32)
'''
_POOL = """
[pools.{name}]
path = "{folder}/{name}"
features = {{ kind = "vector", columns = ["x"] }}
"""
_TARGET = 'target = "truth"\n'
_HEAD = """
root = "{folder}/root"
seed = 0
fragment_rows = 512
[fit.large]
on = "labelled"
model = {{ kind = "mlp", hidden = [{wide}, {wide}] }}
training = {long}
[fit.small]
on = "labelled"
model = {model}
training = {long}
[structure.groups]
of = "pools.unlabelled"
model = {{ kind = "kmeans", k = {clusters} }}
[labels.large]
labeler = {{ kind = "fitted", fit = "large" }}
over = ["unlabelled", "test"]
[labels.small]
labeler = {{ kind = "fitted", fit = "small" }}
over = ["unlabelled"]
[labels.groups]
labeler = {{ kind = "structure", structure = "groups", gives = "soft" }}
over = ["unlabelled"]
[labels.centroids]
labeler = {{ kind = "custom", file = "centroids.py", name = "Centroids" }}
over = ["unlabelled"]
[evaluate]
on = "test"
teacher = "large"
"""
_ZERO_SHOT_LABELS = """
[labels.zero_shot]
labeler = { kind = "custom", file = "zero_shot.py", name = "ZeroShot" }
over = ["unlabelled"]
"""
Term = tuple[str, str]
"""What is learned, and the rest of the term."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the suite, compare, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--sets", nargs="+", default=list(LABELLED), choices=list(LABELLED))
    parser.add_argument("--page", type=Path, help="keep the page and its JSON in this folder")
    told = parser.parse_args(arguments)
    if told.quick:
        told.sets, told.seeds, told.epochs = ["wine", "diabetes"], 2, 3
    work = Path(tempfile.mkdtemp(prefix="study-", dir=told.folder))
    try:
        jobs = [_run(work / name, name, told.seeds, told.epochs) for name in told.sets]
        study = compare_results([str(job) for job in jobs], beside=["ceiling"])
        if told.page:
            write_comparison(study, str(told.page.absolute()))
    finally:
        shutil.rmtree(work)
    show(told, "Few labels or none, over data sets", _tables(study), study.to_plain())


def _run(folder: Path, name: str, seeds: int, epochs: int) -> Path:
    """Write one data set's pools and job, run it, and return the job file."""
    folder.mkdir()
    x, truth, classes = _DATA[name]()
    _write_pools(folder, name, x, truth, classes)
    job = folder / f"{name}.toml"
    job.write_text(_job_text(folder, name, classes, seeds, epochs), "utf-8")
    run_job(load_job(job), lambda _: None, engine="local")
    return job


def _write_pools(
    folder: Path, name: str, x: np.ndarray, truth: np.ndarray, classes: Sequence[str]
) -> None:
    order = np.random.default_rng(0).permutation(len(x))
    tests = len(x) // 4
    parts = {
        "test": order[:tests],
        "labelled": _drawn(order[tests:], truth, LABELLED[name], classes),
        "unlabelled": order[tests:],
    }
    spread = x[parts["unlabelled"]].std(axis=0)
    scaled = (x - x[parts["unlabelled"]].mean(axis=0)) / np.where(spread > 0, spread, 1)
    if name == "topics":  # words are rare: their shares stay as they are
        scaled = x
    values = truth if classes else (truth - truth[parts["unlabelled"]].mean()) / truth.std()
    for part, rows in parts.items():
        _write(folder / part, scaled[rows], values[rows], classes)
    # what nobody but the ceiling learns from
    _write(folder / "truth", scaled[parts["unlabelled"]], values[parts["unlabelled"]], classes)
    labelled = folder / "labelled" / "part-0.parquet"
    pool = folder / "unlabelled" / "part-0.parquet"
    meaning = f"classes = {tuple(classes)!r}" if classes else 'kind = "value"'
    answer = _CLASS_ANSWER if classes else _VALUE_ANSWER
    source = _CENTROIDS.format(
        meaning=meaning, labelled=labelled, pool=pool, clusters=_clusters(classes), answer=answer
    )
    (folder / "centroids.py").write_text(source, "utf-8")
    if name == "topics":
        described = [_hashed(DESCRIPTIONS[each]).tolist() for each in classes]
        zero_shot = _ZERO_SHOT.format(classes=tuple(classes), described=described)
        (folder / "zero_shot.py").write_text(zero_shot, "utf-8")


def _drawn(rows: np.ndarray, truth: np.ndarray, count: int, classes: Sequence[str]) -> np.ndarray:
    """The labelled rows: of classes as many of each, as far as it goes."""
    if not classes:
        return rows[:count]
    each = max(2, count // len(classes))
    return np.concatenate([rows[truth[rows] == number][:each] for number in range(len(classes))])


def _write(folder: Path, x: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> None:
    folder.mkdir()
    flat = pa.array(x.astype(np.float32).ravel())
    values = (
        pa.array([classes[each] for each in truth]) if classes else pa.array(truth.astype(float))
    )
    table = {"x": pa.FixedSizeListArray.from_arrays(flat, x.shape[1]), "truth": values}
    pq.write_table(pa.table(table), folder / "part-0.parquet")


def _clusters(classes: Sequence[str]) -> int:
    return 3 * len(classes) if classes else 12


def _job_text(folder: Path, name: str, classes: Sequence[str], seeds: int, epochs: int) -> str:
    model = '{ kind = "mlp", hidden = [16] }'
    common = 'batch_rows = 32, learning_rate = 5e-3, schedule = "cosine", lanes = 4'
    few = f"{{ epochs = {4 * epochs}, {common}, checkpoint_epochs = {4 * epochs} }}"
    many = f"{{ epochs = {epochs}, {common}, checkpoint_epochs = {epochs} }}"
    text = _HEAD.format(folder=folder, wide=64, long=few, model=model, clusters=_clusters(classes))
    named = f"classes = {json.dumps(list(classes))}\n" if classes else ""
    for pool in ("labelled", "test", "truth", "unlabelled"):
        text += _POOL.format(name=pool, folder=folder)
        if pool != "unlabelled":
            text += _TARGET + named
    if name == "topics":
        text += _ZERO_SHOT_LABELS
    soft = '{ kind = "kl", temperature = 2 }' if classes else '{ kind = "mse" }'
    hard = '{ kind = "cross_entropy" }' if classes else '{ kind = "mse" }'
    sure = ', row_weight = { kind = "confidence", power = 4 }' if classes else ""
    labels = ("pools.labelled", f"loss = {hard}")
    teacher = ("labels.large", f"loss = {soft}")
    zero_shot = [("labels.zero_shot", f"loss = {hard}")] if name == "topics" else []
    groups = ("labels.groups", 'loss = { kind = "kl" }, head = "groups", weight = 0.3')
    methods: dict[str, list[Term]] = {
        "labels_only": [labels],
        "distilled": [teacher],
        "structure": [labels, groups],
        "combined": [teacher, labels, *zero_shot],
        "self_training": [("labels.small", f"loss = {hard}{sure}")],
        "centroids": [("labels.centroids", f"loss = {hard}")],
        "ceiling": [("pools.truth", f"loss = {hard}")],
    }
    if zero_shot:
        methods["zero_shot"] = zero_shot
    for method, terms in methods.items():
        # an epoch of few rows is short: as many steps come of more of them
        training = few if method == "labels_only" else many
        lines = [f"{{ learns = {json.dumps(learns)}, {rest} }}" for learns, rest in terms]
        text += f"[students.{method}]\nmodel = {model}\ntraining = {training}\n"
        text += f"terms = [{', '.join(lines)}]\n"
    swept = json.dumps(list(methods))
    return f"{text}[sweep.seeds]\nstudent = {swept}\nseed = {list(range(seeds))}\n"


def _of_sklearn(name: str) -> Callable[[], tuple[np.ndarray, np.ndarray, list[str]]]:
    def load() -> tuple[np.ndarray, np.ndarray, list[str]]:
        from sklearn import datasets

        found = getattr(datasets, f"load_{name}")()
        names = [str(each) for each in getattr(found, "target_names", [])]
        return found.data, found.target, names

    return load


def _topics() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Texts of the topics that have labelled rows, as shares of hashed words."""
    made = runpy.run_path(str(TEXT))
    texts, topics, _ = made["_rows"]()
    classes = list(DESCRIPTIONS)
    kept = [number for number, topic in enumerate(topics) if topic in classes]
    x = np.stack([_hashed(texts[number]) for number in kept])
    return x, np.array([classes.index(topics[number]) for number in kept]), classes


def _hashed(text: str) -> np.ndarray:
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(n_features=HASHED, stop_words="english", alternate_sign=False)
    found: np.ndarray = vectorizer.transform([text]).toarray()[0]
    return found


_DATA = {
    "digits": _of_sklearn("digits"),
    "cancer": _of_sklearn("breast_cancer"),
    "wine": _of_sklearn("wine"),
    "topics": _topics,
    "diabetes": _of_sklearn("diabetes"),
}


def _tables(study: Study) -> list[str]:
    page = StudyPage(study)
    rows = [
        [
            line.method.name,
            *(
                f"{cell.text} ({cell.interval})" if cell.interval else cell.text
                for cell in line.cells
            ),
            line.rank,
            line.tally,
        ]
        for line in page.lines
    ]
    table = markdown(["method", *page.heads, "average rank", "wins–ties–losses"], rows)
    labelled = ", ".join(f"{LABELLED[each.name]} of {each.name}" for each in study.data_sets)
    drawn = (
        f"Labelled rows: {labelled}; one draw of them, the same for all methods and seeds, so no"
        " interval here has what another draw would do. The ceiling learned the truth of all"
        " unlabelled rows, and does not compete. What a method is worth depends on its settings,"
        " which were written once and tuned for none."
    )
    return [f"{page.headline} {page.lead}", table, drawn, *page.notes]


if __name__ == "__main__":
    main()
