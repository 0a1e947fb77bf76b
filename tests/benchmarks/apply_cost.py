"""Rows a second of `distill apply` beside a plain loop of the same student:
`python -m tests.benchmarks.apply_cost`.

A linear and a wider student over Parquet rows of 64 numbers, in one process on one thread (--local).
The plain loop reads each file with pyarrow, asks the same network batch by batch, and writes the same
Parquet file a fragment, by the same options: no check of rows or answers, no digest, no fsync, no label
set, no commit, no resume. Both are run in turn; CPU time counts, and what a person waits for stands
beside it. What apply does beside the loop is to check, encode, write and commit the label set, and to
read it again: `label` alone is that part, which is what a student labels for another training. `read`
is what decoding the pool takes of both. Every file of both is compared, byte for byte.

A cheap student's batches go through locks, clocks, checks and encoding together (`inference`), so
their number costs little more than it costs the plain loop: `brisk` is the same student asked about
8,192 rows at once (`batch_rows`), by both ways.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from distill.core.schema import unseal
from distill.job.job import Job
from distill.labelers.network import NetworkLabeler
from distill.labelers.student import read_model
from distill.plan.load import load_job
from distill.run import apply_student, label_pool, train_students
from tests.benchmarks.pools import write_pool
from tests.benchmarks.tables import markdown, options, show
from tests.tiny import write_job

WAYS = ("read", "plain", "label", "apply")
BATCHES = {"linear": 1_024, "brisk": 8_192, "wide": 1_024}
POOLS = {"linear": "rows", "brisk": "rows", "wide": "some"}
_FEWER = 5
"""Times: a wide network takes a minute of a core for 200,000 rows."""
JOB = """
    root = "runs"
    fragment_rows = {fragment_rows}
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["x"] }}
    [pools.some]
    path = "some"
    [pools.few]
    path = "few"
    [labels.teacher]
    labeler = {{ kind = "custom", file = "teacher.py" }}
    over = ["few"]
    [students.linear]
    model = {{ kind = "linear" }}
    training = {{ epochs = 1, workers = 1 }}
    [[students.linear.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl" }}
    [apply.brisk]
    batch_rows = 8192
    [students.brisk]
    model = {{ kind = "linear" }}
    training = {{ epochs = 1, workers = 1 }}
    [[students.brisk.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl" }}
    [students.wide]
    model = {{ kind = "mlp", hidden = [1024, 1024] }}
    training = {{ epochs = 1, workers = 1 }}
    [[students.wide.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl" }}
"""
_REST = """\
Both ways decode the pool (`read`) and write the same bytes. What `apply` does beside it, by CPU clocks
around each part of a linear student's 1.76 s a million rows (in seconds): the label set packed 0.06,
hashed 0.06, compressed 0.05, its classes counted 0.03, put and committed with the files 0.08, read
again 0.04; rows and answers checked 0.08; all that is done once, whatever the rows, 0.06. It is some
0.5 µs a row, by which a kill loses a fragment and not the pass, and another threshold or a cascade
asks the student nothing; a network that takes 25 µs a row hides it (`wide`)."""
CLASSES = list("abcdefghij")
TEACHER = """
class Labeler:
    revision = "1"
    classes = tuple("abcdefghij")

    def label(self, features):
        return features[:, :10]
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    told = parser.parse_args(arguments)
    fragment_rows = 50_000
    if told.quick:
        told.rows, told.runs, fragment_rows = 4_000, 1, 1_000
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        job = _make(Path(folder), told.rows, fragment_rows)
        seconds = {name: _measured(job, name, told.runs) for name in POOLS}
    lines = []
    for name, each in seconds.items():
        rows = told.rows if POOLS[name] == "rows" else told.rows // _FEWER
        plain = _best(each["plain"])
        for way in WAYS:
            line = [name, f"{rows:,}", way]
            for best, of_plain in zip(_best(each[way]), plain, strict=True):
                line += [f"{best:.2f}", f"{rows / best:,.0f}", f"{of_plain / best:.2f}"]
            lines.append(line)
    paces = ["CPU s", "rows/s of a core", "of the plain loop", "wall s", "rows/s", "of the plain's"]
    heads = ["student", "rows", "way", *paces]
    show(told, "What `distill apply` costs", [markdown(heads, lines), _REST], seconds)


def _best(runs: list[tuple[float, float]]) -> tuple[float, float]:
    """The least CPU seconds, and the least on the wall."""
    cpu, wall = zip(*runs, strict=True)
    return min(cpu), min(wall)


def _make(folder: Path, rows: int, fragment_rows: int) -> Job:
    write_pool(folder / "rows", rows, fragment_rows)
    write_pool(folder / "some", rows // _FEWER, fragment_rows)
    write_pool(folder / "few", 2_000, 1_000)
    (folder / "teacher.py").write_text(TEACHER, "utf-8")
    job = load_job(write_job(folder, JOB.format(fragment_rows=fragment_rows)))
    label_pool(job, "teacher", engine="local")
    train_students(job, engine="local")
    return job


def _measured(job: Job, name: str, runs: int) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall seconds of each way, in turn."""
    root = job.folder / "runs"
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    student = _student(job, name)
    pool = POOLS[name]
    files = job.folder / pool
    batch = BATCHES[name]
    for _ in range(runs):
        seconds["read"].append(_timed(lambda: deque(_fragments(files), maxlen=0)))
        seconds["plain"].append(_timed(lambda: _plain_loop(files, student, batch)))
        whole = _timed(lambda: apply_student(job, name, pool, _nothing, engine="local"))
        seconds["apply"].append(whole)
        _require_same(root, job.folder / "plain")
        shutil.rmtree(job.folder / "plain")
        shutil.rmtree(root / "applied")
        writing = _timed(lambda: apply_student(job, name, pool, _nothing, engine="local"))
        seconds["label"].append((whole[0] - writing[0], whole[1] - writing[1]))
        for folder in (root / "applied", *root.glob("labels/applied-*")):
            shutil.rmtree(folder)
    return seconds


def _student(job: Job, name: str) -> NetworkLabeler:
    (done,) = (job.folder / "runs/students" / name).glob("*/done.json")
    assert unseal(done.read_bytes(), str(done))
    record = read_model(str(done.parent))
    assert record is not None
    return NetworkLabeler.load(str(done.parent), record)


def _plain_loop(folder: Path, student: NetworkLabeler, batch: int) -> None:
    """What a person writes by hand, who knows Parquet well."""
    torch.set_num_threads(1)
    out = folder.with_name("plain")
    out.mkdir()
    for number, (shard, start, values) in enumerate(_fragments(folder)):
        parts = [student.label(values[at : at + batch]) for at in range(0, len(values), batch)]
        answers = _answers(np.concatenate(parts), shard, start)
        _write_plain(answers, out / f"part-{number:07d}.parquet")


def _fragments(folder: Path) -> Iterator[tuple[str, int, np.ndarray]]:
    """Read a pool fragment by fragment: shard, first row, numbers of its rows."""
    for file in sorted(folder.iterdir()):
        parquet = pq.ParquetFile(file)
        start = 0
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=["x"], use_threads=False)
            values = table["x"].combine_chunks().flatten().to_numpy()
            yield file.name, start, values.reshape(len(table), -1)
            start += len(table)


def _answers(logits: np.ndarray, shard: str, start: int) -> pa.Table:
    """The columns that apply writes."""
    rows, classes = logits.shape
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    best = pa.array(logits.argmax(axis=1).astype(np.int32))
    zeros = pa.array(np.zeros(rows, np.int32))
    offsets = pa.array(np.arange(0, (rows + 1) * classes, classes), pa.int32())
    columns = {
        "shard": pa.DictionaryArray.from_arrays(zeros, pa.array([shard])),
        "row": pa.array(np.arange(start, start + rows)),
        "class": pa.DictionaryArray.from_arrays(best, pa.array(CLASSES)),
        "probability": pa.array(odds.max(axis=1)),
        "probabilities": pa.ListArray.from_arrays(offsets, pa.array(odds.ravel())),
        "rejected": pa.array(np.zeros(rows, bool)),
    }
    return pa.table(columns)


def _write_plain(answers: pa.Table, path: Path) -> None:
    with pq.ParquetWriter(
        path,
        answers.schema,
        compression="zstd",
        use_dictionary=["shard", "class"],
        write_statistics=[name for name in answers.column_names if name != "probabilities"],
        store_schema=False,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(answers)


def _require_same(root: Path, plain: Path) -> None:
    """Refuse two ways that did not do the same work."""
    written = sorted(root.glob("applied/**/*.parquet"))
    due = sorted(plain.iterdir())
    if [each.read_bytes() for each in written] != [each.read_bytes() for each in due]:
        raise RuntimeError(f"{root / 'applied'} and {plain} hold other files")


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds, and seconds of the clock on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _nothing(_line: str) -> None:
    pass


if __name__ == "__main__":
    main()
