from __future__ import annotations

import json

import pytest

from distill.core.schema import seal
from tests.command import distill
from tests.stages.report.studies import five_data_sets


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folders of five evaluations."""
    folder = tmp_path_factory.mktemp("results")
    for judged in five_data_sets():
        place = folder / judged.evaluation.job
        place.mkdir()
        (place / "evaluation.json").write_bytes(seal(judged.evaluation.to_plain()))
    return sorted(folder.iterdir())


def test_one_command_makes_table_page_and_json_of_several_results(results, tmp_path):
    ended = distill(
        "report", "--compare", *results[:-1], results[-1] / "evaluation.json", "--out", tmp_path
    )
    assert ended.code == 0, ended.output
    assert "combined ranks best over 5 data sets" in ended.output
    assert "9–1–0" in ended.output
    plain = json.loads((tmp_path / "comparison.json").read_text())
    assert len(plain["data_sets"]) == 5
    assert (tmp_path / "comparison.html").read_text().count("<h2>") == 5
    printed = distill("compare", *results, "--json")
    assert json.loads(printed.output)["methods"] == plain["methods"]


def test_what_cannot_be_compared_is_refused_before_anything_is_written(results, tmp_path):
    for words, message in (
        (("compare", results[0], "--out", tmp_path / "x"), "two results at least"),
        (("compare", results[0], tmp_path, "--out", tmp_path / "x"), "there is no evaluation.json"),
        (("report", *results), "A report is of one job"),
    ):
        ended = distill(*words)
        assert ended.code == 2, ended.output
        assert message in ended.output
    assert not (tmp_path / "x").exists()
