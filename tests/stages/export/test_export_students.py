from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from distill.core.errors import ContractError, PoolError
from distill.core.results import MethodResult
from distill.labelers.network import NetworkLabeler
from distill.stages.predict import predict_files
from tests.alone import run_alone
from tests.making import label_by_worker, train_here
from tests.resolved import export_students, find_student
from tests.stages.export.conftest import MINE, MODELS, job_text
from tests.tiny import tiny_job, write_pool

ALONE = """
import torch
from model import load
from safetensors.torch import load_file, save_file
with torch.inference_mode():
    save_file(load("weights.safetensors")(load_file("seen.safetensors")["x"]), "said.safetensors")
"""


def without_distill(folder: Path, seen: np.ndarray) -> dict[str, np.ndarray]:
    """What `model.py` says in a process that cannot import distill."""
    safetensors.numpy.save_file({"x": seen}, folder / "seen.safetensors")
    run_alone(ALONE, folder)
    return safetensors.numpy.load_file(folder / "said.safetensors")


@pytest.mark.parametrize("kind", MODELS)
def test_an_export_answers_otherwise_where_only_torch_is(taught, kind):
    job = taught(MODELS[kind])
    (exported,) = export_students(job, None, ())
    folder, record = find_student(job, job.variants[0])
    seen = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    said = without_distill(Path(exported.uri), seen)
    assert said.keys() == {"main", "many", "size"}
    for head, values in said.items():
        due = NetworkLabeler.load(folder.uri, record, head=head).label(seen)
        np.testing.assert_allclose(values, due, rtol=1e-6, atol=1e-6)


def test_the_card_hides_what_taught_the_student_or_how_well_it_does(taught):
    job = taught(MODELS["mlp"])
    result = MethodResult(
        name="small · main", role="student", group="g", student="small", head="main", taught_by=(), changes={}, parameters=1, milliseconds_per_row=1.0,
        measures={"accuracy": 0.8712, "nll": 0.4}, confusion=None, reliability=(), history=(),
    )  # fmt: skip
    other = MethodResult(
        **{**vars(result), "name": "smaller", "student": "smaller", "measures": {"accuracy": 0.1}}
    )
    (exported,) = export_students(job, ["small"], (result, other))
    card = (Path(exported.uri) / "README.md").read_text("utf-8")
    _, record = find_student(job, job.variants[0])
    for said in (
        "kl at T=2 to labels.teacher",
        "87.1%",
        record.sha256,
        "columns pixels, times 0.5",
        *record.taught_by.values(),
    ):
        assert said in card
    assert "smaller" not in card
    assert "Stopped by" not in card


@pytest.mark.parametrize(
    ("learns", "measure"),
    [
        ("pools.held", "cross entropy to pools.held"),
        ("labels.held", "cross entropy to labels.held"),
    ],
)
def test_the_card_hides_what_stopped_the_student(taught, learns, measure):
    over = 'over = "held"' if learns == "labels.held" else ""
    job = taught(
        MODELS["mlp"],
        f"""
    [pools.held]
    path = "held"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.held]
    labeler = {{ kind = "custom", file = "mine.py" }}
    over = ["held"]
    [students.small.early_stop]
    learns = "{learns}"
    {over}
""",
    )
    (exported,) = export_students(job, None, ())
    _, record = find_student(job, job.variants[0])
    best, pins = record.details["best_epoch"], record.details["early_stop"]["pins"]
    assert set(pins) == {"pools.held"} | ({"labels.held over held"} if over else set())
    card = (Path(exported.uri) / "README.md").read_text("utf-8")
    assert (
        f"## Stopped by\n\nThe weights are those of epoch {best} of the 2 trained, the best by {measure}, "
        f"measured over the rows of pools.held, which taught nothing."
    ) in card
    for what, pin in pins.items():
        assert f"| `{what}` | `{pin}` |" in card


def test_an_untrained_student_is_exported(tmp_path):
    write_pool(tmp_path / "rows", [20])
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    job = tiny_job(tmp_path, job_text(MODELS["linear"]))
    for name in job.labels:
        label_by_worker(job, name)
    with pytest.raises(ContractError, match=r"students\.small is not trained yet"):
        export_students(job, None, ())


@pytest.mark.parametrize("declared", ["", 'format = "csv"'])
def test_an_export_forgets_how_the_pools_files_are_written(tmp_path, declared):
    rows = tmp_path / "rows"
    rows.mkdir()
    name = "a.data" if declared else "a.csv"
    lines = [f"{n};{n / 2};{n % 3};1" for n in range(40)]
    (rows / name).write_text("\n".join(["a;b;c;d", *lines]))
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    path = f'path = "rows"\n    csv = {{ delimiter = ";" }}\n    {declared}'
    text = job_text(MODELS["linear"]).replace('path = "rows"', path).replace('"email"', "")
    job = tiny_job(tmp_path, text.replace('["pixels"]', '["a", "b", "c", "d"]'))
    for each in job.labels:
        label_by_worker(job, each)
    train_here(job)
    (exported,) = export_students(job, None, ())
    (done,) = predict_files(exported.uri, str(rows / name), str(tmp_path / "out"))
    assert (done.rows, done.rejected) == (40, 0)


def test_predictions_are_others_or_stand_beside_another_row(taught, tmp_path):
    job = taught(MODELS["mlp"])
    (exported,) = export_students(job, None, ())
    folder, record = find_student(job, job.variants[0])
    file = tmp_path / "rows" / "part-00001.parquet"
    table = pq.read_table(file)
    pixels = table["pixels"].to_pylist()
    pixels[3], pixels[5] = None, [0.0, float("nan"), 0.0, 0.0]
    table = table.set_column(0, "pixels", pa.array(pixels, pa.list_(pa.float32(), 4)))
    pq.write_table(table, file, row_group_size=7)
    done = predict_files(exported.uri, str(tmp_path / "rows"), str(tmp_path / "out"))
    assert [(each.rows, each.rejected) for each in done] == [(100, 0), (30, 2)]
    made = pq.read_table(tmp_path / "out" / "part-00001.parquet")
    predicted = ["predicted_main", "predicted_main_probability", "predicted_many", "predicted_size"]
    assert made.column_names == ["kind", "size", *predicted, "rejected"]
    good = [row for row in range(30) if row not in (3, 5)]
    seen = np.array([pixels[row] for row in good], np.float32) * np.float32(0.5)
    logits = NetworkLabeler.load(folder.uri, record, head="main").label(seen).astype(float)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = made["predicted_main"].to_pylist()
    assert [said[row] for row in good] == [("a", "b", "c")[best] for best in logits.argmax(axis=1)]
    np.testing.assert_allclose(
        np.array(made["predicted_main_probability"].to_pylist(), float)[good],
        p.max(axis=1),
        rtol=1e-5,
    )
    independent = NetworkLabeler.load(folder.uri, record, head="many").label(seen)
    assert [made["predicted_many"][row].as_py() for row in good] == [
        [name for name, z in zip(("odd", "large"), row, strict=True) if z > 0]
        for row in independent
    ]
    assert made["rejected"][3].as_py().startswith("null: ")
    assert made["predicted_main"][5].as_py() is None


def test_a_column_of_the_input_is_written_over(taught, tmp_path):
    (exported,) = export_students(taught(MODELS["linear"]), None, ())
    file = tmp_path / "rows" / "part-00000.parquet"
    pq.write_table(pq.read_table(file).append_column("predicted_main", pa.array(["x"] * 100)), file)
    with pytest.raises(PoolError, match=r"has columns \['predicted_main'\]"):
        predict_files(exported.uri, str(tmp_path / "rows"), str(tmp_path / "out"))


def test_a_files_predictions_are_written_over_anothers(taught, tmp_path):
    (exported,) = export_students(taught(MODELS["linear"]), None, ())
    rows = pq.read_table(tmp_path / "rows" / "part-00001.parquet")
    (tmp_path / "in").mkdir()
    for name, table in (
        ("2024.01", rows),
        ("2024.02", rows.slice(0, 3)),
        ("none", rows.slice(0, 0)),
    ):
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet")
    done = predict_files(exported.uri, str(tmp_path / "in"), str(tmp_path / "out"))
    assert [(Path(each.url).name, each.rows) for each in done] == [
        ("2024.01.parquet", 30), ("2024.02.parquet", 3), ("none.parquet", 0),
    ]  # fmt: skip
    assert [pq.read_table(each.url).num_rows for each in done] == [30, 3, 0]
    with pytest.raises(PoolError, match="over the input"):
        predict_files(exported.uri, str(tmp_path / "in"), str(tmp_path / "in"))


def test_a_folder_that_is_no_export_or_a_damaged_one_is_believed(taught, tmp_path):
    job = taught(MODELS["linear"])
    (exported,) = export_students(job, None, ())
    with pytest.raises(PoolError, match=r"is no export: it has no model\.json"):
        predict_files(str(tmp_path), str(tmp_path / "rows"), str(tmp_path / "out"))
    weights = Path(exported.uri) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(PoolError, match="is damaged"):
        predict_files(exported.uri, str(tmp_path / "rows"), str(tmp_path / "out"))
