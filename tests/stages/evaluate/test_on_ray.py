"""What workers of Ray count between them is what one process counts alone."""

from __future__ import annotations

import json

import pytest

from distill.plan.load import load_job
from distill.run import evaluate_students, run_job
from distill.stages.evaluate import evaluate_students as stage
from tests.stages.evaluate.test_judging_of_a_job import JOB, LABELERS, ROWS, write_rows
from tests.tiny import write_job

pytestmark = pytest.mark.ray

_CLOCKS = ("milliseconds_per_row", "pace")


def counted(evaluation):
    """All that an evaluation says but for its clocks."""

    def without_clocks(plain):
        if isinstance(plain, dict):
            kept = {key: value for key, value in plain.items() if key not in _CLOCKS}
            return {key: without_clocks(value) for key, value in kept.items()}
        return [without_clocks(each) for each in plain] if isinstance(plain, list) else plain

    return without_clocks(json.loads(json.dumps(evaluation.to_plain())))


def test_workers_count_otherwise_than_one_process(ray, tmp_path, monkeypatch):
    write_rows(tmp_path / "train", 300, 0)
    write_rows(tmp_path / "test", ROWS, 1)
    write_rows(tmp_path / "unseen", 1_000, 2)
    (tmp_path / "labelers.py").write_text(LABELERS, "utf-8")
    job = load_job(write_job(tmp_path, JOB))
    monkeypatch.setattr(stage, "_MOST_NUMBERS", 1)  # 64 rows a task
    alone = run_job(job, lambda _line: None, engine="local").evaluation
    for stored in (tmp_path / "root" / "reports").rglob("evaluation.json"):
        stored.unlink()
    between_them = evaluate_students(job, engine="ray")
    assert counted(between_them) == counted(alone)
