from __future__ import annotations

import json

import pytest

from tests.benchmarks import study


@pytest.mark.slow
def test_the_study_lacks_a_method_a_page_or_a_rank(tmp_path):
    out, table, page = (tmp_path / name for name in ("out.json", "table.md", "page"))
    words = ["--quick", "--folder", str(tmp_path), "--page", str(page)]
    study.main([*words, "--out", str(out), "--table", str(table)])
    assert (page / "comparison.html").exists()
    found = json.loads(out.read_text("utf-8"))
    ranked = [each["name"] for each in found["methods"] if each["ranks"]]
    # the ceiling knows the truth, so it is shown and does not compete
    assert len(ranked) == len(found["test"]["average_ranks"]) == 6
    assert {each["role"] for each in found["methods"] if each["name"] == "ceiling"} == {"beside"}
    assert [each["measure"] for each in found["data_sets"]] == ["accuracy", "mse"]
    assert "| ceiling |" in table.read_text("utf-8")
    assert not list(tmp_path.glob("study-*"))
