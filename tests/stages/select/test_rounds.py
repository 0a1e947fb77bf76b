"""Choose, label, train and measure, round after round, in one job that may be killed anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import distill
from distill.core.errors import JobError, PoolError
from distill.plan.load import load_job
from distill.pools.chosen import read_measures, selection_folder
from distill.run import run_job, status, verify_labels
from distill.run.driver import Driver
from distill.stages.select import measure_round as measuring
from distill.storage.open import open_storage
from tests.command import distill as distill_command
from tests.command import kill_session, start
from tests.engine.here import without_ray
from tests.stages.select.conftest import Selecting
from tests.stages.select.test_select_rows import STUDENT, addresses, pairs
from tests.waiting import wait_until

ROUNDS = """
    [select.first]
    of = "pools.rows"
    by = {{ kind = "typical", structure = "groups" }}
    rows = 20
    rounds = {rounds}
    per_round = 30
    {more}
"""


@pytest.fixture(autouse=True)
def _no_ray():
    with without_ray():
        yield


def rounds_job(selecting, rounds=3, more=""):
    tables = ROUNDS.format(rounds=rounds, more=more)
    return selecting.job(tables, more=STUDENT.format(on='["select.first"]'))


def measures(job):
    return read_measures(selection_folder(open_storage(job.root_uri), "first"))


def test_a_round_is_not_measured_or_a_row_is_bought_twice(selecting):
    job = rounds_job(selecting)
    lines = []
    finished = run_job(job, lines.append, engine="local")
    found = measures(job)
    assert [each.rows for each in found] == [20, 50, 80]
    assert [each.points is None for each in found] == [True, True, False]
    assert finished.evaluation.students[0].mean("accuracy") == found[-1].score
    told = [line for line in lines if ": round " in line]
    assert told[0].startswith("select.first: round 1 of 3, 20 rows: students.small ")
    assert "the next 30 rows buy " in told[2]
    chosen = pairs(addresses(job))
    assert len(set(chosen)) == 80
    # once, of the first rows, 8 are asked about a second time
    assert selecting.counted == 80 + 8
    (proven,) = verify_labels(job)
    assert (proven.rows, proven.problems) == (80, ())
    again = []
    run_job(job, again.append, engine="local")
    assert measures(job) == found
    assert selecting.counted == 80 + 8
    assert all(line.left == 0 for line in status(job))


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with a job that nobody killed, the job, and of how many rows its teacher was asked."""
    selecting = Selecting(tmp_path_factory.mktemp("undisturbed"))
    job = rounds_job(selecting)
    with without_ray():
        run_job(job, lambda _: None, engine="local")
    return selecting, job, selecting.counted


@pytest.mark.parametrize("work", ["select", "label", "train", "evaluate", "measure"])
def test_a_killed_job_begins_its_rounds_anew(undisturbed, monkeypatch, work):
    selecting, whole, counted = undisturbed
    selecting.counter.unlink()
    job = load_job(whole.path, root=str(selecting.folder / f"killed-{work}"))
    calls = 0

    def dying(function):
        def call(*args, **options):
            nonlocal calls
            calls += 1
            result = function(*args, **options)
            if calls == 2:  # in the second round, after the work was done
                raise Killed
            return result

        return call

    # of a round each driver does each once
    where = (measuring, "measure_round") if work == "measure" else (Driver, work)
    with monkeypatch.context() as patch:
        patch.setattr(*where, dying(getattr(*where)))
        with pytest.raises(Killed):
            run_job(job, lambda _: None, engine="local")
    run_job(job, lambda _: None, engine="local")
    assert measures(job) == measures(whole)
    assert addresses(job).equals(addresses(whole))
    assert selecting.counted == counted


def failpoints():
    """Those that a round passes: all that the source names."""
    files = Path(distill.__file__).parent.rglob("*.py")
    text = "".join(file.read_text("utf-8") for file in files)
    return sorted(set(re.findall(r'reach\("((?:select|label)\.\w+)"\)', text)))


@pytest.mark.parametrize("place", failpoints())
def test_a_sigkill_within_a_round_buys_a_row_twice(undisturbed, tmp_path, place):
    selecting, whole, counted = undisturbed
    selecting.counter.unlink(missing_ok=True)
    job = load_job(whole.path, root=str(selecting.folder / place))
    run = ("run", whole.path, "--root", selecting.folder / place, "--local")
    marker = tmp_path / "reached"
    process = start(*run, DISTILL_FAILPOINT=f"{place}:2:{marker}")  # in the second round
    wait_until(marker.exists, process)
    kill_session(process.pid)
    process.communicate()
    ended = distill_command(*run)
    assert ended.code == 0, ended.output
    assert measures(job) == measures(whole)
    assert addresses(job).equals(addresses(whole))
    assert selecting.counted == counted
    (proven,) = verify_labels(job)
    assert (proven.rows, proven.problems) == (80, ())


def test_a_round_is_chosen_of_a_pool_that_changed(selecting):
    run_job(rounds_job(selecting, rounds=2), lambda _: None, engine="local")
    counted = selecting.counted
    shard = selecting.folder / "rows" / "part-00001.parquet"
    pq.write_table(pq.read_table(shard).slice(1), shard)
    with pytest.raises(PoolError, match=r"pools\.rows: 1 files .* changed since they were listed"):
        run_job(rounds_job(selecting), lambda _: None, engine="local")
    assert selecting.counted == counted


def test_a_round_of_a_pool_that_grew_renumbers_or_buys_again(selecting):
    job = rounds_job(selecting, rounds=2)
    run_job(job, lambda _: None, engine="local")
    before = addresses(job)
    counted = selecting.counted
    shard = selecting.folder / "rows" / "part-00000.parquet"
    (selecting.folder / "rows" / "part-00009.parquet").write_bytes(shard.read_bytes())
    job = rounds_job(selecting)
    run_job(job, lambda _: None, engine="local")
    chosen = pairs(addresses(job))
    assert len(set(chosen)) == 80
    assert set(pairs(before)) <= set(chosen)
    assert selecting.counted == counted + 30


def test_rounds_go_on_that_promise_nothing(selecting):
    job = rounds_job(selecting, rounds=6, more="stop_below = 90.0")
    lines = []
    run_job(job, lines.append, engine="local")
    assert len(measures(job)) == 3  # a curve needs three points
    assert any("less than 90: no round more" in line for line in lines)
    assert all(line.left == 0 for line in status(job))
    # more rounds are bought when the job asks for them again
    job = rounds_job(selecting, rounds=4)
    run_job(job, lambda _: None, engine="local")
    assert len(measures(job)) == 4


def test_more_is_asked_for_than_all_rounds_can_have(selecting):
    with pytest.raises(PoolError, match=r"rounds = 78 \(of 20 and then 30 rows\): .* 2,300"):
        run_job(rounds_job(selecting, rounds=78), lambda _: None, engine="local")


def test_more_rounds_are_begun_than_the_pool_has_rows_for(selecting):
    run_job(rounds_job(selecting, rounds=2), lambda _: None, engine="local")
    counted = selecting.counted
    with pytest.raises(PoolError, match=r"rounds = 78 .*, 50 of them done: .* has 2,300 rows"):
        run_job(rounds_job(selecting, rounds=78), lambda _: None, engine="local")
    assert selecting.counted == counted
    # what ended is not asked for any more
    ended = rounds_job(selecting, rounds=3, more="stop_below = 90.0")
    run_job(ended, lambda _: None, engine="local")
    run_job(
        rounds_job(selecting, rounds=78, more="stop_below = 90.0"), lambda _: None, engine="local"
    )


def test_rounds_that_nobody_measures(selecting):
    tables = ROUNDS.format(rounds=2, more="")
    with pytest.raises(JobError, match="measured by accuracy"):
        selecting.job(tables)
    after = """
    [select.second]
    of = "pools.rows"
    by = { kind = "random" }
    rows = 1
    after = "select.first"
    """
    with pytest.raises(JobError, match=r"select\.second is made of its rows"):
        selecting.job(tables + after, more=STUDENT.format(on='["select.first"]'))
    mapped = """
    [structure.map]
    of = "labels.teacher"
    model = { kind = "pca", components = 2 }
    """
    with pytest.raises(JobError, match=r"structure\.map is made of its rows"):
        selecting.job(tables + mapped, more=STUDENT.format(on='["select.first"]'))
    with pytest.raises(JobError, match="has one round"):
        selecting.job(ROUNDS.format(rounds=1, more=""))
