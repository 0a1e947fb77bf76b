"""When a training stops by held-out rows, and whose weights it keeps: held against plain loops
and kills. Other numbers of workers: `test_everything`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load
from torch.nn import functional

from distill.core.errors import ContractError, TrainingError
from distill.engine.protocol import WorkerContext
from distill.loader.loader import Loader
from distill.models.network import build_network
from distill.models.record import Trained, read_weights
from distill.plan.load import load_job
from distill.run import trained_line
from distill.spec.models import EarlyStop
from distill.stages.train.early_stopping import HeldOutMeasure, best_epoch, is_over, judge_epoch
from distill.stages.train.loop import run_trainings
from distill.storage.open import open_storage
from tests.making import label_by_worker, train_here
from tests.resolved import find_fit, find_student, plan_fit, plan_student
from tests.stages.train.ranks import train
from tests.tiny import DOUBLING, blur_kinds, write_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.known]
    path = "known"
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.validation]
    path = "validation"
    target = "kind"
    classes = ["c", "a", "b"]
    [pools.sized]
    path = "sized"
    target = "size"
    [fit.large]
    model = { kind = "mlp", hidden = [32] }
    on = "known"
    training = { epochs = 30, batch_rows = 16, lanes = 4, learning_rate = 0.02 }
    early_stop = { learns = "pools.validation", patience = 2 }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows", "validation"]
    [students.small]
    model = { kind = "mlp", hidden = [64], dropout = 0.1 }
    training = { epochs = 40, batch_rows = 16, lanes = 4, learning_rate = 0.01, gradients = "lanes", checkpoint_epochs = 2, schedule = "cosine" }
    [[students.small.terms]]
    learns = "pools.known"
    loss = { kind = "cross_entropy" }
    [students.small.early_stop]
    learns = "pools.validation"
"""
LABELS = """
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    weight = 0.01
"""


def changed(old, new):
    assert JOB.count(old) == 1
    return JOB.replace(old, new)


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """Classes that are only often those of their rows: few rows are soon learned by heart."""
    folder = tmp_path_factory.mktemp("early")
    for name, shards in {
        "rows": [90],
        "known": [50, 30],
        "validation": [120, 85],
        "sized": [20],
    }.items():
        write_pool(folder / name, shards)
    for seed, name in enumerate(("known", "validation")):
        blur_kinds(folder / name, seed)
        shard = max((folder / name).iterdir())
    table = pq.read_table(shard)  # a target of no class, and features that cannot be read
    kinds, pixels = table["kind"].to_pylist(), table["pixels"].to_pylist()
    kinds[3], pixels[7] = "other", None
    table = table.set_column(1, "kind", pa.array(kinds))
    pq.write_table(
        table.set_column(0, "pixels", pa.array(pixels, table.schema.field("pixels").type)), shard
    )
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(
            f"def loss(student, taught):\n    return taught.float() * 0  # {name}\n", "utf-8"
        )
    label_by_worker(load_job(write_job(folder, JOB)), "teacher")
    return folder


@pytest.fixture
def job(pools, tmp_path):
    """`job(text)`: a job in a folder of its own."""

    def made(text=JOB, name="job"):
        shutil.copytree(pools, tmp_path / name)
        return write_job(tmp_path / name, text)

    return made


def taught(file):
    """The student's record and weights, taught in this process."""
    train_here(load_job(file))
    return kept(file)


def kept(file):
    loaded = load_job(file)
    folder, record = find_student(loaded, loaded.variants[0])
    return record, read_weights(folder, record), folder


@pytest.mark.parametrize(
    ("measures", "patience", "least", "best", "over"),
    [
        ([3.0], 1, 0.0, 1, False),
        ([3.0, 2.0, 1.0], 1, 0.0, 3, False),
        ([3.0, 2.0, 2.0], 1, 0.0, 2, True),
        ([3.0, 2.0, 2.5, 2.4], 3, 0.0, 2, False),
        ([3.0, 2.0, 2.5, 2.4, 2.1], 3, 0.0, 2, True),
        ([3.0, 2.0, 2.5, 1.9, 2.1, 2.2], 3, 0.0, 4, False),
        ([3.0, 2.9, 2.8, 2.7], 3, 0.5, 1, True),
        ([3.0, 2.8, 2.4], 3, 0.5, 3, False),
    ],
)
def test_another_epoch_is_best_or_patience_ends_at_another(measures, patience, least, best, over):
    stop, history = EarlyStop(learns="pools.x", patience=patience, least=least), []
    for epoch, measure in enumerate(measures, 1):
        assert not is_over(history, stop)
        history.append({"epoch": epoch, **judge_epoch(history, measure, stop)})
    assert (best_epoch(history), is_over(history, stop)) == (best, over)


def test_a_training_ends_between_two_measures():
    stop, history = EarlyStop(learns="pools.x", patience=3, every_epochs=5), []
    for epoch in range(1, 10):
        history.append({"epoch": epoch} | ({"held_out": 1.0, "better": True} if epoch == 5 else {}))
        assert not is_over(history, stop)
    history.append({"epoch": 10, **judge_epoch(history, 2.0, stop)})
    assert is_over(history, stop)


def test_a_training_without_a_measure_is_over():
    assert best_epoch([{"epoch": 1}]) is None
    assert not is_over([{"epoch": 9}], None)
    assert not is_over([], EarlyStop(learns="pools.x"))


def plain_measure(network, validation):
    """The mean cross-entropy over the held-out rows whose class is known and whose features can be
    read."""
    network.eval()
    rows = [
        row for row in validation.to_pylist() if row["kind"] in "abc" and row["pixels"] is not None
    ]
    x = torch.tensor([row["pixels"] for row in rows])
    y = torch.tensor([("a", "b", "c").index(row["kind"]) for row in rows])
    with torch.no_grad():
        loss = functional.cross_entropy(network(x)["main"], y).item()
    network.train()
    return loss


def test_the_exported_weights_are_not_those_of_the_best_epoch_of_a_plain_loop(job):
    """Plain: whole batches at once, no lanes; no dropout, whose draws would differ."""
    text = changed(", dropout = 0.1", "").replace('gradients = "lanes", ', "")
    file = job(text)
    loaded = load_job(file)
    plan = plan_student(loaded, loaded.variants[0])
    validation = pq.ParquetDataset(file.parent / "validation").read()
    network = build_network(plan.plan, plan.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0)
    sampler = plan.order(0)
    loader, measures, weights = Loader(plan.sources[0], sampler, rank=0, workers=1), [], []
    batches, steps = loader.batches(), sampler.steps_per_epoch
    while not measures or (len(measures) < 40 and len(measures) - 1 - int(np.argmin(measures)) < 3):
        for done in range(len(measures) * steps, (len(measures) + 1) * steps):
            optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * done / (40 * steps)))
            batch = {name: torch.from_numpy(values) for name, values in next(batches).items()}
            known = batch["row"] >= 0
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(
                network(batch["features"][known])["main"], batch["0.target"][known]
            ).backward()
            optimizer.step()
        measures.append(plain_measure(network, validation))
        weights.append({name: value.clone() for name, value in network.state_dict().items()})
    loader.close()
    best = int(np.argmin(measures))
    assert 0 < best < len(measures) - 1 < 39, (
        "a test of the middle needs a best epoch in the middle"
    )
    record, stored, folder = taught(file)
    details = record.details
    assert (details["best_epoch"], details["epochs"], details["steps"]) == (
        best + 1,
        len(measures),
        len(measures) * steps,
    )
    assert [each["held_out"] for each in details["history"]] == pytest.approx(measures, rel=1e-4)
    for name, value in load(stored).items():
        torch.testing.assert_close(value, weights[best][name], rtol=1e-3, atol=1e-4)
        assert (
            not torch.allclose(value, weights[-1][name], rtol=1e-3, atol=1e-4) or value.numel() < 4
        )
    assert details["early_stop"]["measure"] == "cross entropy to pools.validation"
    lines = [json.loads(line) for line in folder.read("metrics.jsonl").splitlines()]
    assert lines == details["history"]
    first = lines[0]
    assert (first["step"], first["known"], first["weights"], first["better"]) == (
        steps,
        [1.0],
        [1.0],
        True,
    )
    assert first["learning_rate"] == pytest.approx(
        0.01 * 0.5 * (1 + np.cos(np.pi * (steps - 1) / (40 * steps)))
    )
    assert first["seconds"] >= 0 < first["rows_per_second"]
    assert f"stopped after epoch {len(measures)}, epoch {best + 1} is kept" in trained_line(
        Trained("students.small", record, now=False)
    )


def test_a_network_that_works_in_place_changes_what_is_measured_next(job):
    loaded = load_job(job(changed('columns = ["pixels"]', 'columns = ["pixels"], scale = 0.5')))
    plan = plan_student(loaded, loaded.variants[0])
    network = build_network(plan.plan, plan.seed)
    measure = HeldOutMeasure(
        plan.held_out,
        plan.training,
        WorkerContext(0, 1, "cpu"),
        lambda x: network(x.mul_(0.5)),
        None,
    )
    first = measure(network)
    assert [measure(network) for _ in range(2)] == [first, first]


@pytest.fixture(scope="module")
def undisturbed(pools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "job"
    shutil.copytree(pools, folder)
    return taught(write_job(folder, JOB))


def measured(record):
    return [(each["held_out"], each["better"]) for each in record.details["history"]]


@pytest.mark.parametrize("after_best", [0, 2])
def test_a_kill_between_the_best_epoch_and_the_stop_keeps_other_weights(
    job, undisturbed, tmp_path, after_best
):
    file, (due, due_stored, _) = job(), undisturbed
    steps = due.details["steps"] // due.details["epochs"]
    dies_at = (due.details["best_epoch"] + after_best) * steps + 1
    train(file, 1, tmp_path / "log", dies_at=dies_at)
    (begun,) = (file.parent / "root" / "students" / "small").glob("*/metrics.jsonl")
    checkpointed = (due.details["best_epoch"] + after_best) // 2 * 2
    assert [json.loads(line)["epoch"] for line in begun.read_text().splitlines()] == list(
        range(1, checkpointed + 1)
    )
    record, stored, folder = taught(file)
    assert stored == due_stored
    assert measured(record) == measured(due)
    lines = [json.loads(line) for line in folder.read("metrics.jsonl").splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, due.details["epochs"] + 1))


def test_a_training_that_was_killed_after_its_stop_goes_on(job, undisturbed, tmp_path):
    file, (due, due_stored, _) = job(), undisturbed
    _, _, folder = taught(file)
    (tmp_path / "job" / folder.uri / "done.json").unlink()
    train(file, 2, tmp_path / "log")
    record, stored, _ = kept(file)
    assert (stored, record.details["epochs"]) == (due_stored, due.details["epochs"])
    assert not (tmp_path / "log.0").exists(), "a step was taken"


def test_labels_are_measured_otherwise_than_a_target(job):
    """Soft labels over the held-out pool, by the loss and the temperature that the job says."""
    stop = 'learns = "labels.teacher"\n    over = "validation"\n    loss = { kind = "kl", temperature = 2 }\n    every_epochs = 3'
    file = job(JOB.replace('    learns = "pools.validation"\n', f"    {stop}\n") + LABELS)
    loaded = load_job(file)
    assert loaded.students["small"].on == ("rows",)
    plan = plan_student(loaded, loaded.variants[0])
    assert plan.held_out.term.text == "kl at T=2 to labels.teacher"
    record, stored, _ = taught(file)
    asked = [each for each in record.details["history"] if "held_out" in each]
    assert [each["epoch"] for each in asked] == [
        *range(3, record.details["epochs"] + 1, 3),
        *([40] if record.details["epochs"] == 40 else []),
    ]
    network = build_network(plan.plan).eval()
    network.load_state_dict(load(stored))
    validation = pq.ParquetDataset(file.parent / "validation").read()
    x = torch.tensor([row for row in validation["pixels"].to_pylist() if row is not None])
    p, q = (2 * x[:, :3] / 2).softmax(1), (network(x)["main"].detach() / 2).log_softmax(1)
    due = 4 * (p * (p.log() - q)).sum(1).mean().item()
    best = next(each for each in asked if each["epoch"] == record.details["best_epoch"])
    assert best["held_out"] == pytest.approx(due, rel=1e-3)


def test_a_fit_stops_otherwise_than_a_student(job):
    file = job()
    loaded = load_job(file)
    plan = plan_fit(loaded, "large")
    run_trainings([plan], WorkerContext(0, 1, "cpu"))
    _, record = find_fit(load_job(file), "large")
    assert record.details["epochs"] == record.details["best_epoch"] + 2 < 30


def test_a_stop_is_no_part_of_which_model_is_meant(job):
    folders = set()
    own = '    learns = "pools.validation"\n    loss = {{ kind = "custom", file = "{}.py" }}\n'
    for number, text in enumerate(
        [
            JOB,
            changed('\n    [students.small.early_stop]\n    learns = "pools.validation"\n', "\n"),
            changed(
                '    learns = "pools.validation"\n',
                '    learns = "pools.validation"\n    patience = 4\n',
            ),
            changed('classes = ["c", "a", "b"]', 'classes = ["a", "b"]'),
            *(
                changed('    learns = "pools.validation"\n', own.format(name))
                for name in ("one", "two")
            ),
        ]
    ):
        loaded = load_job(job(text, f"job{number}"))
        folders.add(plan_student(loaded, loaded.variants[0]).folder.rsplit("/", 1)[1])
    assert len(folders) == 6


def test_held_out_rows_without_a_known_class_are_measured(job):
    file = job()
    for shard in (file.parent / "validation").glob("*.parquet"):
        table = pq.read_table(shard)
        kinds = table.column_names.index("kind")
        pq.write_table(table.set_column(kinds, "kind", table["email"]), shard)
    shutil.rmtree(file.parent / "root")
    with pytest.raises(
        TrainingError,
        match=r"early_stop: cross entropy to pools\.validation: not one held-out row is known",
    ):
        taught(file)


def test_values_of_another_width_are_measured(job):
    text = JOB.replace('classes = ["a", "b", "c"]\n', "", 1).replace(
        '"known"\n    target = "kind"', '"known"\n    target = "pixels"'
    )
    text = text.replace('loss = { kind = "cross_entropy" }', 'loss = { kind = "mse" }').replace(
        'learns = "pools.validation"\n', 'learns = "pools.sized"\n'
    )
    text = text.replace('    early_stop = { learns = "pools.validation", patience = 2 }\n', "")
    loaded = load_job(job(text))
    with pytest.raises(
        ContractError,
        match=r"early_stop: pools\.sized has 1 numbers a row, but head 'main' answers with 4",
    ):
        plan_student(loaded, loaded.variants[0])


def test_best_weights_are_lost_with_a_checkpoint(undisturbed):
    """What a checkpoint holds is what was best when it was kept."""
    _, stored, folder = undisturbed
    held = open_storage(f"{folder.uri}/checkpoints")
    newest = [entry.key for entry in held.list_objects() if entry.key.endswith(".safetensors")][-1]
    tensors = load(held.read(newest))
    for name, value in load(stored).items():
        assert torch.equal(tensors[f"best.{name}"], value)
