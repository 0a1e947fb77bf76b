"""The two small worked examples, and the study."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from distill.core.results import Evaluation
from distill.core.schema import unseal
from distill.plan.load import load_job
from tests.command import REPOSITORY, distill

JOBS = REPOSITORY / "jobs"


def run_job(name: str, root: Path, folder: Path = JOBS) -> tuple[str, Evaluation]:
    job = folder / f"{name}.toml"
    ended = distill("run", job, "--root", root, "--local", limit_seconds=6000)
    assert ended.code == 0, ended.output
    (file,) = root.glob(f"reports/{name}/*/evaluation.json")
    return ended.output, Evaluation.from_plain(unseal(file.read_bytes(), str(file)))


def test_regression_student_learns_the_truth_through_the_noise(tmp_path):
    _, evaluation = run_job("regression", tmp_path)
    mse = {method.name: method.measures["mse"] for method in evaluation.methods}
    assert mse["large"] < 0.02  # the noise alone has a variance of 0.09
    assert mse["distilled"] < mse["large"]
    assert mse["distilled"] < 1e-3


def test_lambda_is_swept_over_two_networks_without_labelling_again(tmp_path):
    output, evaluation = run_job("binary", tmp_path)
    names = [method.name for method in evaluation.methods]
    accuracy = {method.name: method.measures["accuracy"] for method in evaluation.methods}
    assert len([name for name in names if name.startswith("together")]) == 6
    assert len(re.findall(r"labels\.\w+ over", output)) == 4
    assert accuracy["together[terms.1.weight=0.3] · main"] > 0.78
    assert accuracy["together[terms.1.weight=0.3] · target"] > 0.78
    # λ = 0 never moves h from its initial weights
    assert accuracy["together[terms.1.weight=0.0] · target"] < 0.7


def write_shorter(name: str, folder: Path) -> None:
    """Write a job of the digits of three seeds, whose students have a quarter of their epochs."""
    text = (JOBS / f"{name}.toml").read_text("utf-8").replace("[0, 1, 2, 3, 4]", "[0, 1, 2]")
    fits, found, students = text.partition("[students.")
    students = re.sub(r"epochs = (\d+)", lambda epochs: f"epochs = {int(epochs[1]) // 4}", students)
    (folder / f"{name}.toml").write_text(fits + found + students, "utf-8")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_study_labels_nothing_where_the_main_job_ran_and_shows_spread(tmp_path):
    for file in ("digits_pools.py", "digit_attributes.csv"):
        (tmp_path / file).write_bytes((JOBS / file).read_bytes())
    for name in ("digits", "digits_study"):
        write_shorter(name, tmp_path)
    root = tmp_path / "root"
    run_job("digits", root, tmp_path)
    output, evaluation = run_job("digits_study", root, tmp_path)
    assert "labelled now" not in output
    assert "fit.large: 35,784 parameters, done before" in output
    assert "students.combined[seed=0]: 1,210 parameters, done before" in output
    groups = {group.name: group for group in evaluation.groups}
    assert len(groups["combined[terms.1.weight=0.3]"].methods) == 3
    assert groups["combined"].mean("accuracy") > groups["labels_only"].mean("accuracy") + 0.05
    assert groups["combined"].spread("accuracy") is not None
    assert "cross entropy to labels.zero_shot, added to labels_only as without_teacher: +" in output


def test_the_study_has_drifted_from_the_main_job_and_would_label_again():
    main, study = (
        load_job(REPOSITORY / "jobs" / f"{name}.toml") for name in ("digits", "digits_study")
    )
    assert (study.root_uri, study.fragment_rows, study.seed) == (
        main.root_uri,
        main.fragment_rows,
        main.seed,
    )
    assert (study.pools, study.fit, study.labels) == (main.pools, main.fit, main.labels)
    assert all(study.students[name] == student for name, student in main.students.items())
