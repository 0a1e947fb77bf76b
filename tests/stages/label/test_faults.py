"""Labelling that is killed, for real: a SIGKILL of everything at named places, then the same
command.

What is not about Ray is killed and finished by `--local`, which is a sixth of the time, and held
against labels of one process that nothing disturbed; so is what two actors on Ray label.
"""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from distill.plan.load import load_job
from distill.run import verify_labels
from tests.command import distill, kill_session, processes_knowing, start
from tests.engine.here import Joining
from tests.resolved import label_set
from tests.tiny import write_job, write_pool
from tests.waiting import LIMIT_SECONDS, wait_until

LABELER = Path(__file__).with_name("counting_labeler.py").read_text("utf-8")
JOB = """\
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "labeler.py" }}
    over = ["rows"]
    compute = {{ max = 2 }}
"""
SHARDS = (200, 130, 64, 10)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_pool(folder, SHARDS)
    return folder


def make_job(folder: Path, pool: Path, labeler: str = LABELER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "labeler.py").write_text(labeler, "utf-8")
    return write_job(folder, JOB.format(pool=pool))


@pytest.fixture(scope="module")
def undisturbed(pool, tmp_path_factory) -> str:
    job = make_job(tmp_path_factory.mktemp("undisturbed"), pool)
    ended = distill("label", job, "--local")
    assert ended.code == 0, ended.output
    assert "Ray" not in ended.output
    return label_set(load_job(job), "teacher", "rows").label_hash


def kill_at(job: Path, place: str, number: int, marker: Path, *behind: str) -> None:
    process = start("label", job, *behind, DISTILL_FAILPOINT=f"{place}:{number}:{marker}")
    wait_until(marker.exists, process)
    kill_session(process.pid)
    process.communicate()
    if "--local" not in behind:
        # actors may outlive the kill, and still commit, as the protocol allows
        wait_until(lambda: not processes_knowing(str(marker)))


@pytest.mark.parametrize(
    ("place", "number", "committed", "behind"),
    [
        pytest.param("label.after_data", 2, False, (), marks=pytest.mark.ray),
        ("label.before_data", 1, False, ("--local",)),
        ("label.after_data", 2, True, ("--local",)),
        ("label.after_commit", 1, True, ("--local",)),
        ("label.after_commit", 9, True, ("--local",)),
    ],
)
def test_a_kill_loses_nothing_and_doubles_nothing(
    place, number, committed, behind, pool, undisturbed, tmp_path
):
    job = make_job(tmp_path / "job", pool)
    kill_at(job, place, number, tmp_path / "reached", *behind)
    there = list((tmp_path / "job/root").glob("labels/teacher/v1/rows/commits/*.json"))
    assert bool(there) or not committed
    resumed = distill("label", job, "--local")
    assert resumed.code == 0, resumed.output
    now = f"{9 - len(there)} labelled now" if len(there) < 9 else "done before"
    assert f"9 fragments ({now})" in resumed.output
    loaded = load_job(job)
    (verified,) = verify_labels(loaded, "teacher")
    assert not verified.problems
    assert (verified.rows, verified.labelled, verified.rejected) == (sum(SHARDS), sum(SHARDS), 0)
    assert label_set(loaded, "teacher", "rows").label_hash == undisturbed


@pytest.mark.ray
def test_two_actors_instead_of_one_process_give_other_labels(pool, undisturbed, joining, tmp_path):
    job = make_job(tmp_path / "job", pool)
    ended = distill("label", job, *joining.options, **joining.environment)
    assert ended.code == 0, ended.output
    assert label_set(load_job(job), "teacher", "rows").label_hash == undisturbed


@pytest.mark.ray
def test_rows_that_are_prepared_elsewhere_give_the_same_labels(
    pool, undisturbed, joining, tmp_path
):
    job = make_job(tmp_path / "job", pool)
    elsewhere = 'cpus = 0.5, prepare_on = "cluster", prepare_cpus = 0.5'
    job.write_text(job.read_text("utf-8").replace("max = 2", f"max = 2, {elsewhere}"), "utf-8")
    ended = distill("label", job, *joining.options, **joining.environment)
    assert ended.code == 0, ended.output
    assert label_set(load_job(job), "teacher", "rows").label_hash == undisturbed
    (tmp_path / "broken").mkdir()
    write_pool(tmp_path / "broken", [100, 100])  # the first is looked at before
    job = make_job(tmp_path / "second", tmp_path / "broken")
    job.write_text(job.read_text("utf-8").replace("max = 2", f"max = 2, {elsewhere}"), "utf-8")
    damage_pages(tmp_path / "broken" / "part-00001.parquet")
    ended = distill("label", job, *joining.options, **joining.environment)
    assert ended.code == 1, ended.output
    assert "PoolError" in ended.output
    assert "cannot be read" in ended.output
    assert "Traceback" not in ended.output


def damage_pages(file: Path) -> None:
    """Overwrite the start of the second row group's features; the footer stays."""
    chunk = pq.ParquetFile(file).metadata.row_group(1).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(content)


RAISING = """\
class Labeler:
    revision = "1"
    classes = ("low", "high")

    def label(self, features):
        for row in features:
            self.look(row)
        return features[:, :2]

    def look(self, row):
        if row.sum() > 4.0:
            raise ValueError(f"cannot read a row of {row.sum():.1f}")
"""


def test_a_labeler_that_raises_shows_its_own_lines_with_shard_and_row(pool, tmp_path):
    job = make_job(tmp_path / "job", pool, RAISING)
    ended = distill("label", job, "--local")
    assert ended.code == 1, ended.output
    assert "part-00000.parquet, row " in ended.output
    assert 'labeler.py", line 12, in look' in ended.output
    assert "ValueError: cannot read a row of" in ended.output
    assert "distill/stages" not in ended.output.replace(str(tmp_path), "")
    (tmp_path / "job/labeler.py").write_text(LABELER, "utf-8")
    mended = distill("label", job, "--local")
    assert mended.code == 0, mended.output


def test_a_labeler_that_cannot_be_built_ends_with_its_own_error(pool, tmp_path):
    job = make_job(
        tmp_path / "job",
        pool,
        LABELER + "\n    def __init__(self):\n        open('/no/such/weights')\n",
    )
    ended = distill("label", job, "--local")
    assert ended.code == 1, ended.output
    assert 'labeler.py", line 12, in __init__' in ended.output
    assert "/no/such/weights" in ended.output
    assert "ray" not in ended.output.replace("starting a Ray", "")


def test_another_revision_is_refused_with_the_way_out(pool, tmp_path):
    job = make_job(tmp_path / "job", pool)
    assert distill("label", job, "--local").code == 0
    (tmp_path / "job/labeler.py").write_text(
        LABELER.replace('revision = "1"', 'revision = "2"'), "utf-8"
    )
    refused = distill("label", job, "--local")
    assert refused.code == 2
    assert "revision: stored '1', now '2'" in refused.output
    assert "version = 2" in refused.output
    job.write_text(job.read_text("utf-8").replace("over =", "version = 2\nover ="), "utf-8")
    assert distill("label", job, "--local").code == 0


SLOW = LABELER.replace(
    "import numpy as np\n",
    """import numpy as np
        import pathlib
        import time

        folder = pathlib.Path(__file__).parent
        while [*folder.glob("root/labels/*/*/*/commits/*.json")] and not (folder / "asked").exists():
            time.sleep(0.05)
        time.sleep(2)
""",
)
"""Two seconds a call; once there is a commit, none ends before the test has asked for the end."""


FIT = """\
    [pools.known]
    path = "known"
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.net]
    model = { kind = "linear" }
    on = "known"
    training = { epochs = 1, batch_rows = 16 }
"""


@pytest.mark.ray
@pytest.mark.parametrize(("command", "sent"), [("label", signal.SIGTERM), ("run", signal.SIGINT)])
def test_asked_to_end_ray_commits_what_is_in_work_and_leaves(
    command, sent, pool, undisturbed, joining, tmp_path
):
    job = make_job(tmp_path / "job", pool, SLOW)
    if command == "run":  # Ray Train leaves a signal handler of its own behind
        write_pool(tmp_path / "job/known", [64])
        job.write_text(job.read_text("utf-8") + textwrap.dedent(FIT), "utf-8")
    require_orderly_end(job, command, sent, joining, undisturbed)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_end_it_commits_what_is_in_work_and_leaves(sent, pool, undisturbed, tmp_path):
    job = make_job(tmp_path / "job", pool, SLOW)
    require_orderly_end(job, "label", sent, Joining(("--local",), {}), undisturbed)


def require_orderly_end(job, command, sent, engine, undisturbed):
    """Send a signal to a command that labels, and resume it."""
    commits = job.parent / "root/labels/teacher/v1/rows/commits"
    process = start(command, job, *engine.options, **engine.environment)
    wait_until(lambda: list(commits.glob("*.json")), process)
    process.send_signal(sent)
    lines = iter(process.stdout.readline, "")
    assert any("Finishing the fragments in work" in line for line in lines)
    (job.parent / "asked").touch()
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 128 + sent, output
    assert "Stopped. What was committed stays" in output
    assert "Traceback" not in output
    there = len(list(commits.glob("*.json")))
    assert 1 <= there < 9
    (job.parent / "labeler.py").write_text(LABELER, "utf-8")  # the same, in no time
    resumed = distill("label", job, "--local")
    assert f"({9 - there} labelled now)" in resumed.output
    assert label_set(load_job(job), "teacher", "rows").label_hash == undisturbed


def test_too_many_rejected_rows_stop_the_job_early_and_say_where_their_reasons_are(pool, tmp_path):
    nothing = LABELER.replace(
        "total = features.sum(axis=1)", "total = features.sum(axis=1) * np.nan"
    )
    ended = distill("label", make_job(tmp_path / "job", pool, nothing), "--local")
    assert ended.code == 1, ended.output
    assert "more than max_rejected_fraction = 0.01 allows" in ended.output
    assert "/labels/teacher/v1/rows/rejects" in ended.output
