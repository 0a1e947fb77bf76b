"""The README's and the guides' own blocks, run as they are printed."""

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
from tests.guides import GUIDE, with_tables

GUIDES = [
    REPOSITORY / name
    for name in (
        "README.md",
        "jobs/README.md",
        "distill/README.md",
        "cluster/README.md",
        "infra/README.md",
    )
]
JOBS = GUIDE.read_text("utf-8")
RUN_HERE = {
    "show": ("teacher",),
    "structure": ("--local",),
    "select": ("--local",),
    "plan": ("--local",),
    "run": ("--local",),
    "review": ("--local",),
    "apply": ("sure", "unlabelled", "--verify", "--local"),
    "status": (),
    "verify": (),
    "label": ("--mend", "--local"),
    "gc": (),
    "export": (),
}
"""The guide's commands on its own job, and what is said behind it."""


def block(first_line: str) -> str:
    (found,) = re.findall(rf"```\w+\n(# {re.escape(first_line)}\n.*?)```", JOBS, re.DOTALL)
    return found


def write_pool(folder: Path, rows: int, *, target: bool) -> None:
    folder.mkdir()
    x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    columns = {"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)}
    if target:
        columns["kind"] = pa.array(np.where(x.sum(axis=1) > 0, "warm", "cold"))
    pq.write_table(pa.table(columns), folder / "rows.parquet")


@pytest.fixture(scope="module")
def guide_job(tmp_path_factory):
    """The guide's job as it is printed, with a second student of its own network, and structures."""
    folder = tmp_path_factory.mktemp("guide")
    for name in ("teacher.py", "trunk.py", "job.toml"):
        (folder / name).write_text(block(name), "utf-8")
    write_pool(folder / "pool", 2000, target=False)
    write_pool(folder / "test", 500, target=True)
    (model,) = re.findall(r'`(model = \{ kind = "custom", file = "trunk.py".*?)`', JOBS)
    job = (folder / "job.toml").read_text("utf-8")
    small = job.partition("[students.small]")[2].partition("[evaluate]")[0]
    own = small.replace("students.small", "students.own").replace(
        'model = { kind = "linear" }', model
    )
    made, _, _ = job.partition("[evaluate]")
    names = ("structure", "select", "smaller", "consensus", "money", "judge", "review", "cascade")
    text = "".join([made, "[students.own]", own, *(block(f"{name}.toml") for name in names)])
    (folder / "job.toml").write_text(text, "utf-8")
    party = folder / "party.toml"
    party.write_text(job.partition("[students.small]")[0].replace("runs/mine", "parties"), "utf-8")
    assert distill("label", party, "teacher", "--local").code == 0
    return folder / "job.toml"


def test_a_command_of_the_guide_fails_on_its_own_job(guide_job):
    outputs = {}
    for command, behind in RUN_HERE.items():
        ended = distill(command, guide_job, *behind)
        assert ended.code == 0, (command, ended.output)
        outputs[command] = ended.output
    for student in ("small", "own"):
        (accuracy,) = re.findall(rf"^  {student} +([\d.]+) ", outputs["run"], re.MULTILINE)
        assert float(accuracy) > 95
    assert "0 objects, 0 bytes may go" in outputs["gc"]
    (export,) = re.findall(r"^students\.own: (.*)$", outputs["export"], re.MULTILINE)
    folder = guide_job.parent
    source = ("--source", folder / "trunk.py")
    ended = distill("predict", export, folder / "test", folder / "out", *source)
    assert "500 rows in = 500 labelled + 0 rejected" in ended.output
    predicted = pq.read_table(folder / "out" / "rows.parquet")
    right = np.array(predicted["predicted_main"].to_pylist()) == np.array(
        predicted["kind"].to_pylist()
    )
    assert right.mean() > 0.95
    read = subprocess.run(
        [sys.executable, "-c", block("read.py")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(read.stdout.splitlines()) == 1
    assert read.stdout.startswith("rows.parquet 0 [")


def test_a_guide_prints_a_command_that_nothing_runs():
    """Of `distill`: by the test above, or on the jobs of this repository by tests/jobs, tests/cluster
    and tests/stages/export; `audit` and `track` by tests/stages; what is submitted by tests/engine/ray/submission."""
    text = "\n".join(guide.read_text("utf-8") for guide in GUIDES)
    printed = set(re.findall(r"(?:^|[`/ ])distill ([a-z]+)(?= |`|\n)", text))
    elsewhere = {
        "audit",
        "submit",
        "jobs",
        "logs",
        "stop",
        "predict",
        "schema",
        "init",
        "fit",
        "train",
        "evaluate",
        "report",
        "compare",
        "track",
    }
    assert printed - {"labels", "needs", "is"} <= RUN_HERE.keys() | elsewhere


def test_a_guide_names_a_file_that_is_not_there():
    missing = []
    for guide in GUIDES:
        text = guide.read_text("utf-8")
        named = set(re.findall(r"(?:jobs|distill|cluster|infra|tests)/[\w./-]*\w", text))
        named |= {
            str((guide.parent / link).resolve().relative_to(REPOSITORY))
            for link in re.findall(r"\]\(([\w./]+)", text)
        }
        missing += [
            name for name in named if not (REPOSITORY / name).exists() and "runs" not in name
        ]
    assert not missing


def test_the_tables_of_kinds_are_those_of_another_version():
    assert with_tables(JOBS) == JOBS, "run: .venv/bin/python -m tests.guides"


def test_the_guides_job_of_texts_is_no_job(tmp_path):
    from distill import run
    from distill.plan.load import load_job
    from tests.text_students import write_texts
    from tests.tiny_models import save_classifier, save_word_vectors

    (tmp_path / "texts.toml").write_text(block("texts.toml"), "utf-8")
    write_texts(tmp_path / "labelled", 64)
    write_texts(tmp_path / "unlabelled", 64, seed=1)
    save_classifier(tmp_path / "models" / "encoder", ["x", "y"])
    save_word_vectors(tmp_path / "models" / "table")
    job = load_job(tmp_path / "texts.toml")
    run.run_job(job, lambda _: None, engine="local")
    forms = [form for each in run.export_students(job, engine="local") for form in folders(each)]
    assert forms == ["transformers", "model2vec"]


def folders(exported) -> list[str]:
    return [each.parent.name for each in Path(exported.uri).glob("*/model.json")]
