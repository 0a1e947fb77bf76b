from __future__ import annotations

import threading

import pytest

from distill.core.errors import BusyError, JobError
from distill.plan.load import load_job
from distill.stages import make_models as module
from tests.resolved import make_models, prepare_labels
from tests.tiny import tiny_job, write_job
from tests.waiting import wait_until

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
WAITS = """
    import pathlib, time
    while not pathlib.Path(__file__).with_name("go").exists():
        time.sleep(0.01)
"""
KEPT = ["_made.json", "_making.json", "deep/weights.safetensors", "modules.json"]


def files(folder):
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def test_a_model_is_made_twice_or_elsewhere(tmp_path):
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    job, place = tiny_job(tmp_path, JOB), tmp_path / "root" / "models" / "tiny"
    make_models(job, job.labels)
    assert files(place) == KEPT
    _, contract = prepare_labels(job, "near")
    (tmp_path / "make.py").write_text("def model(folder): raise KeyError('made again')", "utf-8")
    make_models(load_job(tmp_path / "job.toml"), ["near"])
    elsewhere = load_job(write_job(tmp_path, JOB.replace(', made_by = "make.py:model"', "")))
    assert prepare_labels(elsewhere, "near")[1].digest == contract.digest


def test_what_a_killed_making_left_passes_for_a_model_or_joins_the_next_one(tmp_path, monkeypatch):
    (tmp_path / "make.py").write_text(
        MAKE + """    (folder / "old.json").write_text("{}")\n""", "utf-8"
    )
    job, place = tiny_job(tmp_path, JOB), tmp_path / "root" / "models" / "tiny"
    with monkeypatch.context() as patch:
        patch.setattr(module, "seal", lambda _: 1 / 0)  # dies when all but the marker is written
        with pytest.raises(ZeroDivisionError):
            make_models(job, job.labels)
    assert "old.json" in files(place)
    assert "_made.json" not in files(place)
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    make_models(load_job(tmp_path / "job.toml"), ["near"])
    assert files(place) == KEPT


def test_a_second_run_makes_it_meanwhile(tmp_path):
    (tmp_path / "make.py").write_text(MAKE + WAITS, "utf-8")
    job = tiny_job(tmp_path, JOB)
    first = threading.Thread(target=make_models, args=(job, ["near"]))
    first.start()
    lease = tmp_path / "root" / "making"
    wait_until(lambda: list(lease.rglob("lease.json")))
    with pytest.raises(BusyError, match=r"the model of labels\.near\.labeler\.made_by"):
        make_models(load_job(tmp_path / "job.toml"), ["near"])
    (tmp_path / "go").touch()
    first.join()
    assert files(tmp_path / "root" / "models" / "tiny") == KEPT


def test_two_makers_share_a_place(tmp_path):
    (tmp_path / "make.py").write_text(MAKE + "\nother = model\n", "utf-8")
    make_models(tiny_job(tmp_path, JOB), ["near"])
    with pytest.raises(
        JobError, match=r"holds what 'make\.py:model' made\. Give this model a place of its own"
    ):
        make_models(tiny_job(tmp_path, JOB.replace("make.py:model", "make.py:other")), ["near"])


def test_somebody_elses_files_are_written_over(tmp_path):
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    place = tmp_path / "root" / "models" / "tiny"
    place.mkdir(parents=True)
    (place / "modules.json").write_text("mine", "utf-8")
    with pytest.raises(
        JobError, match=r"already holds 1 files \(modules\.json…\) that were not made so"
    ):
        make_models(tiny_job(tmp_path, JOB), ["near"])
    assert (place / "modules.json").read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "make.py:model",
            "make.py",
            "labels.near.labeler.made_by = 'make.py': say FILE.py:FUNCTION",
        ),
        (
            "make.py:model",
            "gone.py:model",
            "labels.near.labeler.made_by = 'gone.py:model': there is no file",
        ),
        ("{root}/models/tiny", "hf://some/model@main", "is the hub's, where nothing is made"),
        ('kind = "similarity"', 'kind = "sklearn"', "a labeler of kind 'sklearn' is no such"),
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
        make_models(tiny_job(tmp_path, JOB), ["near"])
