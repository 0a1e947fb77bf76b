"""The README's own blocks, run as they are printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command import REPOSITORY, distill

README = (REPOSITORY / "README.md").read_text("utf-8")


def block(first_line: str) -> str:
    (found,) = re.findall(rf"```\w+\n(# {re.escape(first_line)}\n.*?)```", README, re.DOTALL)
    return found


def write_pool(folder: Path, rows: int, *, target: bool) -> None:
    folder.mkdir()
    x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    columns = {"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)}
    if target:
        columns["kind"] = pa.array(np.where(x.sum(axis=1) > 0, "warm", "cold"))
    pq.write_table(pa.table(columns), folder / "rows.parquet")


def add_own_student(folder: Path) -> None:
    """The printed job, and a student beside `small` that differs by its network alone."""
    (folder / "trunk.py").write_text(block("trunk.py"), "utf-8")
    (model,) = re.findall(r'`(model = \{ kind = "custom", file = "trunk.py".*?)`', README)
    job = (folder / "job.toml").read_text("utf-8")
    small = job.partition("[students.small]")[2].partition("[evaluate]")[0]
    own = small.replace("students.small", "students.own").replace(
        'model = { kind = "linear" }', model
    )
    (folder / "job.toml").write_text(f"{job}[students.own]{own}", "utf-8")


def predict_by_own_student(folder: Path) -> None:
    exported = distill("export", folder / "job.toml", "own")
    (export,) = re.findall(r"^students\.own: (.*)$", exported.output, re.MULTILINE)
    ended = distill(
        "predict", export, folder / "test", folder / "out", "--source", folder / "trunk.py"
    )
    assert "500 rows in = 500 labelled + 0 rejected" in ended.output
    made = pq.read_table(folder / "out" / "rows.parquet")
    right = np.array(made["predicted_main"].to_pylist()) == np.array(made["kind"].to_pylist())
    assert right.mean() > 0.95


@pytest.mark.ray
def test_your_own_pool_and_teacher_work_as_printed(tmp_path):
    (tmp_path / "teacher.py").write_text(block("teacher.py"), "utf-8")
    (tmp_path / "job.toml").write_text(block("job.toml"), "utf-8")
    write_pool(tmp_path / "pool", 2000, target=False)
    write_pool(tmp_path / "test", 500, target=True)
    shown = distill("show", tmp_path / "job.toml", "teacher")
    assert shown.code == 0, shown.output
    add_own_student(tmp_path)
    ended = distill("run", tmp_path / "job.toml")
    assert ended.code == 0, ended.output
    for student in ("small", "own"):
        (accuracy,) = re.findall(rf"^  {student} +([\d.]+) ", ended.output, re.MULTILINE)
        assert float(accuracy) > 95
    predict_by_own_student(tmp_path)
    assert distill("verify", tmp_path / "job.toml").code == 0
    assert "0 objects, 0 bytes may go" in distill("gc", tmp_path / "job.toml").output
    read = subprocess.run(
        [sys.executable, "-c", block("read.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(read.stdout.splitlines()) == 1
    assert read.stdout.startswith("rows.parquet 0 [")


def test_every_file_that_the_readme_names_is_there():
    named = set(re.findall(r"(?:jobs|distill|cluster|infra)/[\w./]*\w", README))
    missing = [name for name in named if not (REPOSITORY / name).exists() and "runs" not in name]
    assert not missing
