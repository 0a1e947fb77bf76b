from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import log_softmax

from distill.core.errors import ContractError, JobError, LabelerError
from distill.engine.local import LocalEngine
from distill.engine.protocol import StreamHere
from distill.plan.load import load_job
from distill.run import label_pool, preview_labels
from distill.stages.label.calibrate import CalibrationWorker
from tests.engine.here import without_ray
from tests.making import stored_outputs
from tests.resolved import calibrate, check_canaries, label_set, prepare_labels
from tests.tiny import DOUBLING, pixels, write_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.known]
    path = "known"
    target = "kind"
    classes = ["b", "a", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "sure.py" }
    over = ["rows"]
    calibrate_on = "known"
    compute = { gpus = 0, min = 1, max = 2 }
"""
SURE = DOUBLING.replace("2 *", "3 *")


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", [100])
    write_known(tmp_path, [1500, 700])
    (tmp_path / "sure.py").write_text(SURE, "utf-8")
    write_job(tmp_path, JOB)
    return tmp_path


def write_known(folder, shard_rows):
    """Rows whose kind is drawn from the softmax of their first three numbers: the labeler is three
    times as sure."""
    table, draw = write_pool(folder / "known", shard_rows), np.random.default_rng(7)
    kinds = (pixels(table)[:, :3] + draw.gumbel(size=(len(table), 3))).argmax(axis=1)
    table = table.set_column(1, "kind", pa.array(np.array(["a", "b", "c"])[kinds]))
    first = 0
    for number, rows in enumerate(shard_rows):
        pq.write_table(
            table.slice(first, rows),
            folder / "known" / f"part-{number:05d}.parquet",
            row_group_size=64,
        )
        first += rows
    return table


def likeliest(table):
    """The temperature by a fine grid, plainly."""
    logits = 3 * pixels(table)[:, :3]
    truth = np.array(["abc".index(kind) for kind in table["kind"].to_pylist()])
    grid = np.exp(np.linspace(-1, 2.5, 2_000))
    nll = [-log_softmax(logits / t, axis=1)[np.arange(len(truth)), truth].mean() for t in grid]
    return grid[int(np.argmin(nll))]


@pytest.mark.ray
def test_labels_are_written_before_they_are_calibrated_or_with_another_temperature(folder, ray):
    due = likeliest(write_known(folder, [1500, 700]))  # before the files are listed
    job = load_job(folder / "job.toml")
    with pytest.raises(
        ContractError, match=r"not calibrated on pools\.known yet\. Run `distill label"
    ):
        prepare_labels(job, "teacher")
    label_pool(job, "teacher")
    _, contract = prepare_labels(job, "teacher")
    assert contract.calibration == pytest.approx(due, rel=0.005)
    assert due == pytest.approx(3, rel=0.2)
    stored = stored_outputs(label_set(job, "teacher", "rows"))
    shown = preview_labels(job, "teacher", 100)
    np.testing.assert_allclose(stored, shown.outputs / contract.calibration, rtol=1e-5)
    assert check_canaries(job, "teacher", "rows", 2) == []


def test_a_finished_set_is_calibrated_again_or_forgets_that_it_was(folder):
    (first,) = label_pool(load_job(folder / "job.toml"), "teacher", engine="local")
    with without_ray():
        (again,) = label_pool(load_job(folder / "job.toml"), "teacher")
    assert again.label_hash == first.label_hash
    write_job(folder, JOB.replace('calibrate_on = "known"', ""))
    with pytest.raises(ContractError, match=r"calibration: stored .*, now None"):
        label_pool(load_job(folder / "job.toml"), "teacher")


def test_a_labeler_that_raises_hides_where(folder):
    (folder / "sure.py").write_text(
        SURE.replace("return 3", "raise KeyError('lost')\n        return 3"), "utf-8"
    )
    with pytest.raises(
        LabelerError,
        match=r"pools\.known, the labeler raised on part-0000\d\.parquet, row \d+:(.|\n)*KeyError: 'lost'",
    ):
        calibrate(load_job(folder / "job.toml"), "teacher", engine="local")


def test_rows_that_cannot_be_used_count(folder):
    table = write_pool(folder / "known", [150, 70], classes=("a", "b", "other"))
    usable, told = [kind != "other" for kind in table["kind"].to_pylist()], {}
    assert 0 < sum(usable) < 220
    job = load_job(folder / "job.toml")

    class Deaf(LocalEngine):
        def map(self, _make, config, groups, _compute, _bar):
            told.update(questions=config, tasks=[task for group in groups for task in group])
            yield from ()

    with pytest.raises(LabelerError, match="no row with a usable target"):
        calibrate(job, "teacher", Deaf())
    worker, whole = CalibrationWorker(told["questions"], "cpu"), told["tasks"]
    sums = [worker(task) for task in whole]
    assert sum(each["counted"] for each in sums) == sum(usable)
    without_threads = CalibrationWorker(told["questions"], "cpu", StreamHere(threads=False))
    assert [without_threads(task) for task in whole] == sums


IN_MAIN_THREAD = """
import threading

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def prepare(self, features):
        return self._checked(features)
    def label(self, features):
        return self._checked(features)
    def finish(self, answered):
        return 3 * self._checked(answered)[:, :3]
    def _checked(self, rows):
        assert threading.current_thread() is threading.main_thread()
        return rows
"""


def test_a_breakpoint_in_a_labeler_stops_another_thread_than_the_callers(folder):
    (folder / "sure.py").write_text(IN_MAIN_THREAD, "utf-8")
    (summary,) = label_pool(load_job(folder / "job.toml"), "teacher", engine="local")
    assert (summary.rows, summary.rejected) == (100, 0)


@pytest.mark.parametrize(
    ("classes", "said"), [(["b", "a"], [[0, 1], [1, 1], [1, 0]]), (["a"], [True, False, True])]
)
def test_independent_targets_in_json_lines_cannot_calibrate_or_do_otherwise_than_in_parquet(
    folder, classes, said
):
    table = write_pool(folder / "rows", [100])
    known = [
        {"pixels": row, "said": said[number % 3]}
        for number, row in enumerate(table["pixels"].to_pylist())
    ]
    (folder / "lines").mkdir()
    (folder / "lines" / "known.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in known), "utf-8"
    )
    (folder / "columns").mkdir()
    pq.write_table(pa.Table.from_pylist(known), folder / "columns" / "known.parquet")
    labeler = SURE.replace('("a", "b", "c")', f"{tuple(sorted(classes))}\n    exclusive = False")
    (folder / "sure.py").write_text(labeler.replace(":3]", f":{len(classes)}]"), "utf-8")
    found = []
    for pool in ("columns", "lines"):
        text = JOB.replace('"kind"', '"said"\n    outputs = "independent"').replace(
            'path = "known"', f'path = "{pool}"'
        )
        text = text.replace('["b", "a", "c"]', json.dumps(classes)).replace(
            '"root"', f'"root_{pool}"'
        )
        found.append(calibrate(load_job(write_job(folder, text)), "teacher", LocalEngine()))
    assert [each.rows for each in found] == [100, 100]
    assert found[0].nll_before == pytest.approx(found[1].nll_before)
    assert found[0].temperature == pytest.approx(found[1].temperature)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"known"\n    compute', '"nowhere"\n    compute', "no such pool"),
        ('calibrate_on = "known"', 'calibrate_on = "rows"', "no target to calibrate by"),
        ('["b", "a", "c"]', '["b", "a", "z"]', "lacks its classes ['z']"),
        ('    classes = ["b", "a", "c"]\n', "", "only logits of the same classes are calibrated"),
    ],
)
def test_a_pool_that_cannot_calibrate_is_found_out_by_an_actor(folder, old, new, said):
    assert old in JOB
    with pytest.raises(JobError) as caught:
        load_job(write_job(folder, JOB.replace(old, new)))
    assert said in str(caught.value)
