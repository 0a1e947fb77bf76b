"""Each benchmark in its quick mode: the table is there and the counters are possible. Never times:
they are for a quiet machine."""

from __future__ import annotations

import json
import os

import pytest

from tests.benchmarks import (
    apply_cost,
    cascade_study,
    ddp_cost,
    feed_cost,
    gpu_labelers,
    gpu_steps,
    gpu_students,
    label_cost,
    private_study,
    rays,
    resume,
    scale,
    student_study,
    train_cost,
)
from tests.benchmarks.test_gpu_students import PARTS

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def measure(benchmark, folder, *more) -> dict:
    """What it measured, as its file says."""
    out, table = folder / "out.json", folder / "table.md"
    told = ["--quick", "--folder", folder, "--out", out, "--table", table, *more]
    benchmark.main([*map(str, told)])
    assert "| --- |" in table.read_text("utf-8")
    return json.loads(out.read_text("utf-8"))


@pytest.fixture
def measured(joining, monkeypatch, tmp_path):
    """`measure`, by processes that join the shared Ray."""
    _, address = joining.options
    # else each `read_parquet` of Ray's starts 32 actors that read footers
    settings = {**joining.environment, "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1"}
    told = {"address": address, "settings": settings, "session": os.getsid(0)}
    monkeypatch.setenv(rays.SHARED, json.dumps(told))
    return lambda benchmark, *more: measure(benchmark, tmp_path, *more)


def test_label_cost_runs_every_way_at_both_sizes(measured):
    runs = measured(label_cost)
    assert {(run["way"], run["fragments"]) for run in runs} == {
        (way, size) for way in label_cost.WAYS for size in (2, 6)
    }


def test_resume_loses_and_doubles_nothing_and_a_rerun_starts_nothing(measured):
    got = measured(resume)
    assert len(got["kills"]) == 1
    for ours in (ways["distill"] for ways in got["kills"].values()):
        assert ours["kills"] == 1
        assert (ours["doubled"], ours["missing"], ours["misplaced"]) == (0, 0, 0)
        assert ours["rows_asked"] >= ours["rows"]
    for name in ("distill", "distill, many"):
        again = got["reruns"][name]
        assert (again["ray_inits"], again["ray_imported"], again["labelled_now"]) == (0, False, 0)
        assert again["requests"]["list"] + again["requests"]["get"] > 0


def test_feed_cost_gives_every_row_in_each_way(measured):
    got = measured(feed_cost)
    assert got.keys() == {"distill", "pyarrow", "ray data"}
    assert {run["rows"] for runs in got.values() for run in runs} == {4_000}


def test_train_cost_runs_every_step(tmp_path):
    got = measure(train_cost, tmp_path)
    for seconds in got.values():
        assert {name for pair in train_cost.PAIRS.values() for name in pair} == seconds.keys()
        assert all(len(each) == 2 for each in seconds.values())


def test_ddp_cost_gives_as_many_rows_both_ways_and_both_starts(measured):
    got = measured(ddp_cost)
    assert got.keys() == {"distill", "alone", "bare", "ray train"}
    assert {runs[0]["rows"] for runs in got.values()} == {4_096}
    assert all(run["start_seconds"] > 0 for name in ("distill", "ray train") for run in got[name])


def test_gpu_labelers_label_every_row_also_where_the_actor_is_killed(measured):
    got = measured(gpu_labelers)
    assert got["cases"].keys() == {"images", "texts"}
    for case in got["cases"].values():
        assert case["resident"]["rows_per_second"] > 0 < case["resident_again"]["rows_per_second"]
        assert case["share_of_resident"] > 0
        for run in (case["labelling"], case["killed"]):
            assert run["labelled"] + run["rejected"] == run["rows"] > 0
            assert (run["rejected"], run["problems"]) == (0, [])
            assert run["devices"] == ["cuda" if got["on_gpu"] else "cpu"]
        # each actor's first batch is asked about twice
        assert case["labelling"]["rows"] < case["labelling"]["rows_asked"]
        assert case["labelling"]["rows"] < case["killed"]["rows_asked"]
        assert case["same_labels_after_kill"]
        kill = case["killed"]["kill"]
        assert (kill["new_actors"], kill["at_committed_share"] < 1) == (1, True)
        # in either order: of a fragment that lay written ahead, the labeler is asked nothing
        assert kill["seconds_to_first_batch"] > 0 < kill["seconds_to_first_commit"]
        for span in (case["labelling"]["steady"], kill["before"], kill["after"]):
            assert span["rows_per_second"] > 0
            assert 0 < span["labeler_held_share"] <= 1
            assert (span["gpu_busy_share"] is None) == (not got["on_gpu"])


def test_scale_plans_what_is_left_and_nothing_else(measured):
    got = measured(scale)
    (full,), (half,) = got["plans"]["all committed"], got["plans"]["half committed"]
    assert full["rows"] == 2 * half["rows_left"] == 51_200
    assert not full["ray_imported"]
    for labelling in got["labellings"].values():
        assert "driver" in labelling["unique_mib"]
        assert "labeler actor" in labelling["unique_mib"]


def test_private_study_answers_within_its_budget(tmp_path):
    runs = measure(private_study, tmp_path)
    assert {run["method"] for run in runs} == {
        "one teacher's labels",
        "private rows",
        "DP-SGD",
        "PATE, 4 teachers",
    }
    for run in runs:
        assert run.get("spent", 0.0) <= (run["epsilon"] or 0.0)


def test_student_study_judges_every_student_and_what_is_done_by_hand(tmp_path):
    """Of texts alone: the images are those of a package of Debian's."""
    pytest.importorskip("model2vec")
    out, table = tmp_path / "out.json", tmp_path / "table.md"
    told = ["--quick", "--data", "topics", "--seeds", "1", "--folder", str(tmp_path)]
    student_study.main([*told, "--out", str(out), "--table", str(table)])
    runs = json.loads(out.read_text("utf-8"))
    ways = ("labels_only", "distilled", "combined")
    students = {f"{name}__{way}" for name in ("encoder", "static", "bag") for way in ways}
    by_hand = {"encoder + logistic (SetFit's head)", "SetFit", "static + logistic"}
    methods = {run["method"] for run in runs}
    assert methods - {"model2vec's own training"} == {"teacher"} | students | by_hand
    assert {run["seed"] for run in runs} == {0}
    assert "percent of its teacher's accuracy" in table.read_text("utf-8")


def test_apply_cost_runs_every_way(tmp_path):
    got = measure(apply_cost, tmp_path)
    assert {way for each in got.values() for way in each} == {"read", "plain", "label", "apply"}


def test_cascades_keep_on_real_rows_what_they_promise(tmp_path):
    got = measure(cascade_study, tmp_path)
    assert got.keys() == {"digits", "breast cancer"}
    for case in got.values():
        for by in ("confidence", "sets"):
            # of 20 draws at 5%, more than four are missed with a chance of 1 in 400
            assert case[by]["kept"] + case[by]["refused"] >= case[by]["draws"] - 4
        assert 0 < case["whole"]["sent"] < 1
        assert case["whole"]["cost"] < 1


def test_gpu_students_measures_every_part(measured, tmp_path):
    got = measured(gpu_students, "--limit-seconds", "850")
    page = (tmp_path / "table.md").read_text("utf-8")
    assert (got["failed"], got["steps"].keys()) == ({}, PARTS)
    ways = {way for pair in gpu_students.PAIRS.values() for way in pair}
    for name, steps in got["steps"].items():
        assert name in page
        assert steps["seconds"].keys() == ways
        assert {len(each) for each in steps["seconds"].values()} == {gpu_steps._LEAST_ROUNDS}
        assert (steps["compiled_graphs"] > 0) == (", compiled" in name)
        assert steps["ratios"].keys() == gpu_students.PAIRS.keys()
    assert got["trainings"].keys() == {"images", "vectors"}
    for training in got["trainings"].values():
        run = training["training"]
        rates = [training[each]["rows_per_second"] for each in ("resident", "resident_again")]
        assert min(*rates, run["rows_per_second"], training["share_of_resident"]) > 0
        assert run["steady_epochs"] >= 3
        assert 0 <= run["waits_for_feed_share"] < 1
        assert run["device"].startswith("cuda" if got["on_gpu"] else "cpu")
        assert (run["gpu_busy_share"] is None) == (not got["on_gpu"])
