"""The main job, end to end on Ray, and what a person does with it afterwards. The tests follow each
other on one root; what is left to do is done by the local engine, to which the root means the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from distill.core.results import Evaluation
from distill.core.schema import unseal
from distill.plan.load import load_job
from distill.run import run_job
from tests.command import distill
from tests.resolved import label_set

pytestmark = pytest.mark.ray


@pytest.fixture
def evaluation(main_job) -> Evaluation:
    (file,) = main_job.root.glob("reports/digits/*/evaluation.json")
    return Evaluation.from_plain(unseal(file.read_bytes(), str(file)))


def measure(evaluation: Evaluation, name: str, what: str) -> float:
    (method,) = [method for method in evaluation.methods if method.name == name]
    return method.measures[what]


def test_main_job_ends_with_the_table_and_names_its_report(main_job):
    assert main_job.ended.code == 0, main_job.ended.output
    (named,) = re.findall(r"Report: (\S+)", main_job.ended.output)
    page = Path(named).read_text("utf-8")
    assert "combined is the best student" in main_job.ended.output
    assert "<svg" in page
    assert "1,277 rows in = 1,277 labelled + 0 rejected" in main_job.ended.output


def test_ray_says_nothing_of_its_own(main_job):
    noise = re.findall(
        r"(?im)^.*(?:raylet|gcs|deprecat|warning|\(pid=|ray\.data|UserWarning|core_worker).*$",
        main_job.ended.output,
    )
    assert not noise


def test_combined_student_beats_each_of_its_teachers(evaluation):
    combined = measure(evaluation, "combined", "accuracy")
    assert combined >= measure(evaluation, "large", "accuracy") + 0.04
    assert combined >= measure(evaluation, "zero_shot_only", "accuracy") + 0.03
    assert combined >= measure(evaluation, "labels_only", "accuracy") + 0.05


def test_combined_student_knows_digits_that_its_teacher_never_saw(evaluation):
    assert measure(evaluation, "large", "accuracy_unseen") == 0
    assert measure(evaluation, "combined", "accuracy_unseen") >= 0.45
    assert measure(evaluation, "zero_shot", "accuracy_unseen") >= 0.5


def test_students_are_at_most_a_tenth_of_the_teacher(evaluation):
    teacher = next(method.parameters for method in evaluation.methods if method.role == "teacher")
    assert all(
        method.parameters <= teacher / 10
        for method in evaluation.methods
        if method.role == "student"
    )


def test_second_run_starts_no_ray_and_does_nothing(main_job):
    again = distill("run", main_job.file, "--root", main_job.root)
    assert again.code == 0, again.output
    assert "Nothing was left to do: no Ray was started" in again.output
    assert "starting a Ray" not in again.output
    assert "labelled now" not in again.output
    assert "trained now" not in again.output


def test_a_finished_job_opens_no_input(main_job, monkeypatch):
    def refuse(files, key, format):
        raise AssertionError(f"{key} was opened")

    monkeypatch.setattr("distill.pools.formats.registry.open_shard", refuse)
    monkeypatch.setattr("distill.pools.formats.reader.open_shard", refuse)
    said = []
    finished = run_job(load_job(main_job.file, root=str(main_job.root)), said.append)
    assert finished.report in main_job.ended.output
    assert len(said) == 10


def test_status_and_verify_say_that_all_is_there(main_job):
    status = distill("status", main_job.file, "--root", main_job.root)
    assert status.code == 0
    assert "26 of 26 fragments" in status.output
    verified = distill("verify", main_job.file, "--root", main_job.root)
    assert verified.code == 0, verified.output
    assert verified.output.count(": whole") == 4


def test_show_prints_rows_and_what_the_model_says(main_job):
    shown = distill("show", main_job.file, "large", "--root", main_job.root)
    assert shown.code == 0, shown.output
    assert "labels.large on unlabelled" in shown.output
    assert len(re.findall(r"\d+\.\d%", shown.output)) == 15
    assert "█" in shown.output


def test_a_lost_label_object_is_named_and_that_fragment_alone_is_mended(main_job):
    job = load_job(main_job.file, root=str(main_job.root))
    before = label_set(job, "large", "unlabelled")
    line = before.entries[7]
    (main_job.root / "labels/large/v1/unlabelled" / line.data).unlink()
    broken = distill("verify", main_job.file, "--root", main_job.root)
    assert broken.code == 1
    assert f"fragment {line.fragment}: " in broken.output
    assert broken.output.count("  fragment ") == 1
    mended = distill("run", main_job.file, "--root", main_job.root, "--local")
    assert mended.code == 0, mended.output
    assert "26 fragments (1 labelled now)" in mended.output
    assert "trained now" not in mended.output
    after = label_set(load_job(main_job.file, root=str(main_job.root)), "large", "unlabelled")
    assert [each.fragment for each in after.entries if each.generation] == [line.fragment]
    commit = main_job.root / f"labels/large/v1/unlabelled/commits/{line.fragment}.1.json"
    assert json.loads(commit.read_text())["body"]["replaces"] == line.sha256
    assert after.label_hash == before.label_hash
    assert distill("verify", main_job.file, "--root", main_job.root).code == 0


def test_a_new_student_is_trained_without_labelling_again(main_job, tmp_path):
    text = main_job.file.read_text("utf-8")
    job = tmp_path / "digits.toml"
    job.write_text(text.replace("weight = 1.0 ", "weight = 0.5 "), "utf-8")
    for beside in ("digits_pools.py", "digit_attributes.csv"):
        (tmp_path / beside).write_bytes((main_job.file.parent / beside).read_bytes())
    run = distill("run", job, "--root", main_job.root, "--local")
    assert run.code == 0, run.output
    assert "labelled now" not in run.output
    assert re.findall(r"students\.(\w+): .*trained now", run.output) == ["combined"]
