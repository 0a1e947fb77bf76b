"""What a tracker holds is what the evaluation says, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distill.core.errors import JobError, MissingExtraError
from distill.core.results import FORM
from distill.core.schema import seal
from distill.run.track import track_results
from distill.stages.track.series import series_of
from distill.stages.track.tensorboard import track_in_tensorboard
from tests.command import distill
from tests.core.evaluations import evaluation, method

EPOCHS = [
    {"epoch": number, "step": 8 * number, "loss": 1 / number, "learning_rate": 0.01}
    for number in (1, 2, 3)
]


@pytest.fixture
def judged(tmp_path):
    """A folder with an evaluation of a teacher and a student of two seeds."""
    students = [
        replace(
            method(f"small[seed={seed}]", group="small", seed=seed, accuracy=0.8 + seed / 10),
            key=f"students.small[seed={seed}].main",
            intervals={"accuracy": [0.7, 0.95]},
            history=EPOCHS,
        )
        for seed in (0, 1)
    ]
    teacher = replace(method("large", "teacher", accuracy=0.95), key="labels.large")
    made = replace(evaluation(teacher, *students), form=FORM)
    (tmp_path / "result").mkdir()
    (tmp_path / "result/evaluation.json").write_bytes(seal(made.to_plain()))
    return tmp_path, made


def test_tensorboard_shows_other_numbers_or_the_same_twice(judged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = judged
    for due in (3, 0):
        ended = distill("track", folder / "result", "--tensorboard", folder / "board")
        assert ended.code == 0, ended.output
        assert f"3 methods ({due} written now)" in ended.output
    (place,) = (folder / "board").iterdir()
    read = EventAccumulator(str(place / "small_seed=1")).Reload()
    loss = [(each.step, each.value) for each in read.Scalars("training/loss")]
    assert loss == [(8 * number, pytest.approx(1 / number)) for number in (1, 2, 3)]
    (accuracy,) = read.Scalars("test/accuracy")
    assert (accuracy.step, accuracy.value) == (24, pytest.approx(0.9))
    assert len(list(place.glob("*/events*"))) == 3


def test_a_killed_tracking_is_drawn_twice(judged):
    folder, _ = judged
    board = str(folder / "board")
    track_results([str(folder / "result")], tensorboard=board)
    (place,) = (folder / "board").iterdir()
    (place / "tracked.json").unlink()
    (line,) = track_results([str(folder / "result")], tensorboard=board)
    assert "3 written now" in line
    assert len(list(place.glob("*/events*"))) == 3


def test_a_student_that_is_named_like_a_label_set_is_drawn_into_its_curve(judged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, made = judged
    (teacher, student, _) = made.methods
    long = "s" * 300
    methods = [
        teacher,
        replace(student, name="large", key="students.large.main"),
        replace(student, name=long, key=f"students.{long}.main"),
    ]
    place, written = track_in_tensorboard(replace(made, methods=methods), folder / "board")
    assert written == 3
    folders = sorted(each for each in place.iterdir() if each.is_dir())
    assert len(folders) == 3
    read = [EventAccumulator(str(each)).Reload().Scalars("test/accuracy") for each in folders]
    assert sorted(value for (value,) in ([each.value for each in one] for one in read)) == [
        pytest.approx(0.8),
        pytest.approx(0.8),
        pytest.approx(0.95),
    ]


@pytest.mark.filterwarnings("default")  # of MLflow's own dependencies
def test_mlflow_has_other_numbers_or_the_same_twice(judged, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    folder, _ = judged
    # the one store that `mlflow-skinny` can open by itself, which it does not advise
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (folder / "mlruns").as_uri()
    for due in (3, 0):
        (line,) = track_results([str(folder / "result")], mlflow=uri)
        assert f"({due} written now)" in line
    client = mlflow.MlflowClient(tracking_uri=uri)
    (experiment,) = [each for each in client.search_experiments() if each.name != "Default"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"large", "small[seed=0]", "small[seed=1]"}
    run = runs["small[seed=1]"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] == pytest.approx(0.9)
    assert run.data.metrics["test/accuracy_low"] == pytest.approx(0.7)
    assert run.data.params["seed"] == "1"
    history = client.get_metric_history(run.info.run_id, "training/loss")
    assert [(each.step, each.value) for each in history] == [(8, 1.0), (16, 0.5), (24, 1 / 3)]
    # one that was cut off is written anew, and only that
    client.update_run(run.info.run_id, status="RUNNING")
    (line,) = track_results([str(folder / "result")], mlflow=uri)
    assert "(1 written now)" in line
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_numbers_that_are_none_are_tracked(judged):
    _, made = judged
    bad = replace(made.methods[1], measures={"accuracy": float("nan"), "nll": 0.5})
    (series,) = series_of(replace(made, methods=[bad]))
    names = [point.name for point in series.points]
    assert "test/nll" in names
    assert "test/accuracy" not in names


def test_a_missing_library_is_told_with_the_line_that_installs_it(judged, monkeypatch):
    folder, _ = judged
    monkeypatch.setattr("distill.stages.track.mlflow.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distill\[mlflow\]'"):
        track_results([str(folder / "result")], tensorboard=str(folder / "b"), mlflow="x")
    assert not (folder / "b").exists()
    monkeypatch.setattr("distill.stages.track.tensorboard.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distill\[tensorboard\]'"):
        track_results([str(folder / "result")], tensorboard=str(folder / "b"))
    with pytest.raises(JobError, match="name a folder of this machine"):
        track_results([str(folder / "result")], tensorboard="s3://bucket/board")
    with pytest.raises(JobError, match="Nowhere to track to"):
        track_results([str(folder / "result")])
