from __future__ import annotations

import json
from dataclasses import replace

import pytest

from distill.core.errors import JobError
from distill.core.schema import seal
from distill.core.study import LOSS, TIE, WIN
from distill.stages.report.compare import make_study
from distill.stages.report.compare_page import StudyPage
from distill.stages.report.write_study import PLAIN, read_result, write_study
from distill.storage.open import open_storage
from tests.core.evaluations import evaluation, method
from tests.stages.report.studies import ROWS, five_data_sets, judged_data_set
from tests.stages.report.test_write_report import _Outline


def test_ranks_wins_and_figures_are_those_of_the_evaluations():
    study = make_study(five_data_sets())
    assert [method.name for method in study.ranked] == ["labels_only", "distilled", "combined"]
    assert study.methods[0].name == "large"
    by_name = {method.name: method for method in study.methods}
    assert by_name["combined"].ranks == (1.0, 1.0, 1.0, 1.0, 2.0)
    assert by_name["distilled"].ranks == (2.0, 2.0, 2.0, 2.0, 1.0)
    assert by_name["large"].ranks is None
    assert study.test is not None
    assert study.test.average_ranks == pytest.approx((3.0, 1.8, 1.2))
    assert study.tally("combined", "labels_only") == (5, 0, 0)
    assert study.tally("labels_only", "combined") == (0, 0, 5)
    assert study.tally_of("combined") == (9, 1, 0)  # against distilled on diabetes nobody wins
    figure = by_name["combined"].figures[0]
    assert figure is not None
    assert figure.seeds == 3
    assert figure.low < 0.93 < figure.high


def test_a_difference_within_the_draw_of_the_rows_is_a_tie_and_a_lower_error_a_win():
    close = [
        judged_data_set(name, {"one": 0.900, "two": 0.905}, spread=0.0001) for name in ("a", "b")
    ]
    assert {meeting.outcome for meeting in make_study(close).meetings} == {TIE}
    errors = [judged_data_set(name, {"one": 0.3, "two": 0.5}, kind="value") for name in ("a", "b")]
    assert [meeting.outcome for meeting in make_study(errors).meetings] == [WIN, WIN]
    assert make_study(errors).meetings[0].difference == pytest.approx(-0.2, abs=0.01)


def test_seeds_that_differ_much_make_a_tie_of_the_same_means():
    still = [judged_data_set(name, {"one": 0.80, "two": 0.90}, spread=0.001) for name in ("a", "b")]
    wild = [judged_data_set(name, {"one": 0.80, "two": 0.90}, spread=0.1) for name in ("a", "b")]
    assert {meeting.outcome for meeting in make_study(still).meetings} == {LOSS}
    assert TIE in {meeting.outcome for meeting in make_study(wild).meetings}


def test_rows_alone_decide_where_there_is_one_seed():
    (first, second) = (
        judged_data_set(name, {"one": 0.80, "two": 0.90}, seeds=1) for name in ("a", "b")
    )
    study = make_study([first, second])
    assert {meeting.outcome for meeting in study.meetings} == {LOSS}
    meeting = study.meetings[0]
    # by Agresti and Min, of 80 and 180 discordant rows of 1,000
    assert (meeting.high - meeting.low) / 2 == pytest.approx(0.031, abs=0.003)
    assert len(make_study([first, second], "accuracy").meetings) == 2
    assert first.evaluation.rows == ROWS


def test_methods_that_one_data_set_lacks_are_shown_and_not_ranked():
    first = judged_data_set("a", {"one": 0.8, "two": 0.9, "three": 0.7})
    second = judged_data_set("b", {"one": 0.8, "two": 0.9})
    study = make_study([first, second])
    assert [method.name for method in study.ranked] == ["one", "two"]
    three = next(method for method in study.methods if method.name == "three")
    assert three.figures[1] is None
    assert [line.cells[1].text for line in StudyPage(study).lines if line.method is three] == ["–"]


def test_a_student_that_learned_the_truth_wins_a_study_that_it_only_bounds():
    made = five_data_sets()
    study = make_study(made, beside=["combined"])
    assert [method.name for method in study.ranked] == ["labels_only", "distilled"]
    combined = next(method for method in study.methods if method.name == "combined")
    assert (combined.role, combined.ranks) == ("beside", None)
    assert {"combined"}.isdisjoint({each.first for each in study.meetings})
    page = StudyPage(study)
    line = next(line for line in page.lines if line.method is combined)
    assert not any(cell.best for cell in line.cells)
    assert page.headline.startswith(
        "Over 5 data sets the ranks tell no method from another; distil"
    )
    with pytest.raises(JobError, match=r"No result has a student 'large'\. There is: labels_only"):
        make_study(made, beside=["large"])


def test_old_evaluations_without_pairs_are_held_by_their_own_intervals():
    made = [judged_data_set(name, {"one": 0.80, "two": 0.90}) for name in ("a", "b")]
    old = [replace(each, evaluation=replace(each.evaluation, pairs=None)) for each in made]
    with_pairs = make_study(made).meetings[0]
    without = make_study(old).meetings[0]
    assert without.high - without.low > 0.9 * (with_pairs.high - with_pairs.low)


def test_wrong_results_are_refused_by_name(tmp_path):
    with pytest.raises(JobError, match="two results at least"):
        make_study([judged_data_set("a", {"one": 0.8})])
    pair = [judged_data_set(name, {"one": 0.8}) for name in ("a", "b")]
    with pytest.raises(JobError, match=r"/runs/a/evaluation.json: is named twice"):
        make_study([*pair, pair[0]])
    with pytest.raises(JobError, match=r"/runs/a.*'nll'.*There is: accuracy"):
        make_study(pair, "nll")
    with pytest.raises(JobError, match=r"no evaluation.json"):
        read_result(str(tmp_path))
    (tmp_path / "evaluation.json").write_bytes(
        seal(evaluation(method("x", accuracy=0.5)).to_plain())
    )
    for given in (tmp_path, tmp_path / "evaluation.json"):
        assert read_result(str(given)).evaluation.job == "digits"


def test_results_of_one_job_keep_names_of_their_own():
    one = judged_data_set("same", {"x": 0.8, "y": 0.9})
    later = [replace(one, uri=f"/runs/{number}/evaluation.json") for number in range(2)]
    names = [each.name for each in make_study([one, *later]).data_sets]
    assert len(set(names)) == 3
    assert names[0] == "same · test"


def test_the_page_stands_alone_and_has_every_number_as_json_too(tmp_path):
    hostile = "<script>alert(1)</script>"
    made = five_data_sets()
    made[0] = replace(made[0], evaluation=replace(made[0].evaluation, job=hostile))
    folder = open_storage(str(tmp_path))
    url = write_study(folder, make_study(made))
    page = folder.read("comparison.html").decode()
    outline = _Outline(page)
    assert url.endswith("comparison.html")
    assert outline.count("script") == 0
    assert outline.count("h1") == 1
    assert "://" not in page.replace("http://www.w3.org", "")
    images = [attributes for tag, attributes in outline.tags if attributes.get("role") == "img"]
    assert len(images) == 2
    assert all(attributes["aria-label"] for attributes in images)
    assert "combined ranks best over 5 data sets: 1.20 on average." in outline.text
    plain = json.loads(folder.read(PLAIN))
    assert [each["name"] for each in plain["methods"]][-1] == "combined"
    assert plain["test"]["p_value"] < 0.05
