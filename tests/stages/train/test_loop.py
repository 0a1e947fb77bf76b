"""A whole training over pools, labels and a root in a store: what it asks the store for, and what
it leaves on this disk."""

from __future__ import annotations

import itertools
import json

import pytest

from distill.engine.protocol import WorkerContext
from distill.loader import cache, label_rows
from distill.pools import row_cache
from distill.stages.train import loop
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.making import label_by_worker
from tests.resolved import find_student, plan_student
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "STORE/root"
    fragment_rows = 64
    [pools.rows]
    path = "STORE/rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.validation]
    path = "STORE/validation"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 4, batch_rows = 32, lanes = 4, learning_rate = 0.01, CACHE }
    early_stop = { learns = "pools.validation", patience = 4 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""


def trained(folder, store, cache_said, monkeypatch):
    """GETs of each epoch, and the record."""
    made = tiny_job(folder, JOB.replace("STORE", store).replace("CACHE", cache_said))
    asked = []
    end_epoch = loop.EpochLoop._end_epoch

    def counted(self, *told):
        ended = end_epoch(self, *told)
        asked.append(requests().get)
        return ended

    monkeypatch.setattr(loop.EpochLoop, "_end_epoch", counted)
    plan = plan_student(made, made.variants[0])
    asked.append(requests().get)
    loop.run_trainings([plan], WorkerContext(0, 1, "cpu"))
    monkeypatch.undo()
    return [after - before for before, after in itertools.pairwise(asked)], find_student(
        made, made.variants[0]
    )


def test_later_epochs_ask_the_store_or_leave_files(s3_root, tmp_path, monkeypatch):
    for name, shards in {"rows": [150, 90], "validation": [60]}.items():
        write_pool(tmp_path / name, shards)
        for file in sorted((tmp_path / name).iterdir()):
            open_storage(f"{s3_root}/{name}").put(file.name, file.read_bytes())
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    label_by_worker(
        tiny_job(tmp_path, JOB.replace("STORE", s3_root).replace("CACHE", "cache_gb = 0")),
        "teacher",
    )
    every = {}
    for said in ("cache_gb = 0", "cache_gb = 1"):
        monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(cache, "CACHE_BYTES", 0)
        for values in (label_rows._fragments, row_cache._rows):
            monkeypatch.setattr(values, "most_bytes", 0)
            monkeypatch.setattr(values, "_slots", type(values._slots)())
        asked, (folder, record) = trained(tmp_path, s3_root, said, monkeypatch)
        every[said] = asked
        lines = [json.loads(line) for line in folder.read("metrics.jsonl").splitlines()]
        assert lines == record.details["history"]
        for entry in folder.list_objects():
            folder.delete(entry.key)
    print(every)
    assert min(every["cache_gb = 0"]) > 0
    assert every["cache_gb = 1"][0] > 0
    assert every["cache_gb = 1"][1:] == [0, 0, 0]
    assert not [
        file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.name != "lock"
    ]


@pytest.mark.parametrize(
    ("every", "due"), [(8, [8, 16, 24, 32]), (12, [12, 24, 32]), (5, [5, 10, 15, 20, 25, 30, 32])]
)
def test_a_checkpoint_that_falls_on_an_epochs_end_is_not_kept(tmp_path, monkeypatch, every, due):
    """8 steps an epoch: killed oftener than every ten epochs, a training would never end."""
    for name, shards in {"rows": [150, 90], "validation": [60]}.items():
        write_pool(tmp_path / name, shards)
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    text = JOB.replace("STORE", str(tmp_path)).replace("CACHE", f"checkpoint_steps = {every}")
    made = tiny_job(tmp_path, text)
    label_by_worker(made, "teacher")
    kept, keep = [], loop.save_checkpoint
    monkeypatch.setattr(
        loop, "save_checkpoint", lambda *told: kept.append(told[1].step) or keep(*told)
    )
    loop.run_trainings([plan_student(made, made.variants[0])], WorkerContext(0, 1, "cpu"))
    assert kept == due
