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


@pytest.mark.ray
def test_your_own_pool_and_teacher_work_as_printed(tmp_path):
    (tmp_path / "teacher.py").write_text(block("teacher.py"), "utf-8")
    (tmp_path / "job.toml").write_text(block("job.toml"), "utf-8")
    write_pool(tmp_path / "pool", 2000, target=False)
    write_pool(tmp_path / "test", 500, target=True)
    shown = distill("show", tmp_path / "job.toml", "teacher")
    assert shown.code == 0, shown.output
    ended = distill("run", tmp_path / "job.toml")
    assert ended.code == 0, ended.output
    (accuracy,) = re.findall(r"small is the best student by accuracy over all rows: ([\d.]+)%", ended.output)
    assert float(accuracy) > 95
    assert distill("verify", tmp_path / "job.toml").code == 0
    assert "0 objects, 0 bytes may go" in distill("gc", tmp_path / "job.toml").output
    read = subprocess.run(
        [sys.executable, "-c", block("read.py")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(read.stdout.splitlines()) == 1
    assert read.stdout.startswith("rows.parquet 0 [")


def test_every_file_that_the_readme_names_is_there():
    named = set(re.findall(r"(?:jobs|distill|cluster|infra)/[\w./]*\w", README))
    missing = [name for name in named if not (REPOSITORY / name).exists() and "runs" not in name]
    assert not missing
