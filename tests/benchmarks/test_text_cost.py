from __future__ import annotations

import json

from tests.benchmarks import text_cost


def test_a_way_of_the_text_benchmark_does_not_run(tmp_path):
    out, table = tmp_path / "out.json", tmp_path / "table.md"
    text_cost.main(["--quick", "--folder", str(tmp_path), "--out", str(out), "--table", str(table)])
    found = json.loads(out.read_text("utf-8"))
    assert found["static"].keys() == {"tokens", "network", "student", "model2vec"}
    for ways in found["encoder"].values():
        assert {"distill", "loop"} <= ways.keys()
        assert all(len(times) == 2 for times in ways.values())
    assert "| --- |" in table.read_text("utf-8")
