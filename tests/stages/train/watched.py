"""A job whose training tells which rows every step saw (`tests/stages/train/watching.py`), and what
it told."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from distill.models.record import read_weights
from distill.plan.load import load_job
from distill.storage.base import Storage
from tests.making import label_by_worker
from tests.resolved import find_student, student_folder, student_pins
from tests.stages.train import ranks
from tests.tiny import DOUBLING, write_job, write_pool

LANES, STEPS_PER_EPOCH = 4, 8
JOB = """
    root = "ROOT"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "mlp", hidden = [16], dropout = 0.2 }
    training = { epochs = EPOCHS, batch_rows = 32, lanes = 4, gradients = "lanes", workers = WORKERS, checkpoint_steps = 5, schedule = "cosine" }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "custom", file = "watching.py", name = "watched" }
"""


@dataclass(frozen=True)
class Seen:
    """One worker's part of one execution of a step."""

    at: float
    step: int
    rank: int
    workers: int
    lanes: dict[str, list[int]]
    pid: int


def make(folder: Path, *, epochs: int, workers: object, root: str = "root") -> Path:
    """The job, its rows labelled."""
    write_pool(folder / "rows", [150, 90])
    for name in ("seen", "die"):
        (folder / name).mkdir()
    shutil.copy(Path(__file__).with_name("watching.py"), folder)
    (folder / "teacher.py").write_text(DOUBLING, "utf-8")
    text = JOB.replace("ROOT", root).replace("EPOCHS", str(epochs)).replace("WORKERS", str(workers))
    job = write_job(folder, text)
    label_by_worker(load_job(job), "teacher")
    return job


def seen(job: Path) -> list[Seen]:
    """All executions so far, by time."""
    found = []
    for file in (job.parent / "seen").iterdir():
        lines = file.read_text("utf-8").splitlines()
        found += [
            Seen(**json.loads(line), pid=int(file.name)) for line in lines if line.endswith("}")
        ]
    return sorted(found, key=lambda each: each.at)


def last_batches(job: Path) -> dict[int, dict[str, list[int]]]:
    """Step → lane → rows, of the last execution of each step."""
    steps: dict[int, dict[str, list[int]]] = {}
    for each in seen(job):
        steps.setdefault(each.step, {}).update(each.lanes)
    return steps


def weights(job: Path) -> bytes:
    """Of the finished student."""
    loaded = load_job(job)
    return read_weights(*find_student(loaded, loaded.variants[0]))


def checkpoints(job: Path) -> Storage:
    """Where the only student's checkpoints are."""
    loaded = load_job(job)
    (variant,) = loaded.variants
    return student_folder(loaded, variant, student_pins(loaded, variant.spec)).folder("checkpoints")


def undisturbed(folder: Path, *, epochs: int) -> tuple[dict[int, dict[str, list[int]]], bytes]:
    """Batches and weights of one worker, to the end, without Ray."""
    job = make(folder, epochs=epochs, workers=1)
    ranks.train(job, 1, folder / "log")
    return last_batches(job), weights(job)
