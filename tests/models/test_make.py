from __future__ import annotations

import pytest

from distill.errors import JobError
from distill.job import load_job
from distill.labelers.prepare import prepare_labels
from distill.models.make import make_models
from tests.tiny import tiny_job, write_job

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "text", column = "text" }
    [labels.near]
    labeler = { kind = "similarity", model = "{root}/models/tiny", classes = ["a", "b"], made_by = "make.py:model" }
    over = ["rows"]
"""
MAKE = """
def model(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "weights.safetensors").write_bytes(b"1234")
    (folder / "modules.json").write_text("[]")
"""
KEPT = ["_made.json", "_making.json", "deep/weights.safetensors", "modules.json"]


def files(folder):
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def test_a_model_is_made_twice_or_elsewhere(tmp_path):
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    job, place = tiny_job(tmp_path, JOB), tmp_path / "root" / "models" / "tiny"
    make_models(job)
    assert files(place) == KEPT
    _, contract = prepare_labels(job, "near")
    (tmp_path / "make.py").write_text("def model(folder): raise KeyError('made again')", "utf-8")
    make_models(load_job(tmp_path / "job.toml"))
    elsewhere = load_job(write_job(tmp_path, JOB.replace(', made_by = "make.py:model"', "")))
    assert prepare_labels(elsewhere, "near")[1].digest == contract.digest


def test_a_making_that_was_cut_off_passes_for_a_model(tmp_path):
    (tmp_path / "make.py").write_text(MAKE + "    raise KeyError('cut')\n", "utf-8")
    job = tiny_job(tmp_path, JOB)
    with pytest.raises(KeyError):
        make_models(job)
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    make_models(load_job(tmp_path / "job.toml"))
    assert files(tmp_path / "root" / "models" / "tiny") == KEPT


def test_somebody_elses_files_are_written_over(tmp_path):
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    place = tmp_path / "root" / "models" / "tiny"
    place.mkdir(parents=True)
    (place / "modules.json").write_text("mine", "utf-8")
    with pytest.raises(JobError, match=r"already holds 1 files \(modules\.json…\) that were not made so"):
        make_models(tiny_job(tmp_path, JOB))
    assert (place / "modules.json").read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("make.py:model", "make.py", "labels.near.labeler.made_by = 'make.py': say FILE.py:FUNCTION"),
        ("make.py:model", "gone.py:model", "labels.near.labeler.made_by = 'gone.py:model': there is no file"),
        ("{root}/models/tiny", "hf://some/model@main", "is the hub's, where nothing is made"),
    ],
)
def test_a_maker_that_cannot_be_is_found_out_late(tmp_path, old, new, said):
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    with pytest.raises(JobError) as told:
        tiny_job(tmp_path, JOB.replace(old, new))
    assert said in str(told.value)


def test_a_maker_that_makes_nothing_is_believed(tmp_path):
    (tmp_path / "make.py").write_text("def model(folder): pass", "utf-8")
    with pytest.raises(JobError, match="wrote no file into the folder"):
        make_models(tiny_job(tmp_path, JOB))
