from __future__ import annotations

import json

from tests.benchmarks import freed_memory


def test_a_way_of_the_memory_benchmark_does_not_run(tmp_path):
    out = tmp_path / "out.json"
    freed_memory.main(["--quick", "--folder", str(tmp_path), "--out", str(out)])
    found = json.loads(out.read_text("utf-8"))
    assert found.keys() == {"pass", "training step"}
    for ways in found.values():
        assert ways.keys() == freed_memory.WAYS.keys()
        assert all(seconds > 0 for rounds in ways.values() for _, seconds, _ in rounds)
