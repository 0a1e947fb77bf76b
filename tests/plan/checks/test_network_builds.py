"""Networks that may not fit are tried before anything is labelled, once."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError, JobError, MissingExtraError
from distill.plan.checks import network_builds
from tests.command import run_code
from tests.plan.test_identity import JOB, OWN
from tests.resolved import check_networks_build
from tests.tiny import DOUBLING, tiny_job, write_pool

MODEL = '{ kind = "custom", file = "own.py" }'
OWN_JOB = JOB.replace('{ kind = "linear" }', MODEL)
WIDE = """
    [pools.wide]
    path = "wide"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
"""
WRONG = OWN.replace(
    "(in_features, hidden)\n", "(in_features, hidden)\n        self.idle = nn.Linear(2, 2)\n"
)


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "unlabelled", [100])
    write_pool(tmp_path / "labelled", [70])
    (tmp_path / "labeler.py").write_text(DOUBLING, "utf-8")
    return tmp_path


def own(folder, text=OWN, job=OWN_JOB):
    (folder / "own.py").write_text(text, "utf-8")
    return tiny_job(folder, job)


def test_a_wrong_network_is_found_out_once_the_labels_are_paid_for(folder):
    with pytest.raises(
        JobError,
        match=r"fit\.large\.model: no answer of Trunk depends on its parameters idle\.weight",
    ):
        check_networks_build(own(folder, WRONG))
    heads = f"heads = {{ main = {{ model = {MODEL} }} }}\n    training = {{"
    with pytest.raises(JobError, match=r"students\.small\.heads\.main\.model: no answer of Trunk"):
        check_networks_build(own(folder, WRONG, JOB.replace("training = {", heads)))


@pytest.mark.parametrize("shape", ['"rnn", shape = [3, 2]', '"cnn", shape = [1, 3, 2]'])
def test_a_shape_of_other_rows_is_found_out_once_the_labels_are_paid_for(folder, shape):
    said = r"shape = \[.*\] holds 6 numbers, but a row has 4"
    before, kind, after = JOB.rpartition('kind = "linear"')
    with pytest.raises(JobError, match=rf"job\.toml: students\.small\.model\.{said}"):
        check_networks_build(tiny_job(folder, f"{before}kind = {shape}{after}"))
    heads = f"heads = {{ main = {{ model = {{ kind = {shape} }} }} }}\n    training = {{"
    with pytest.raises(JobError, match=rf"job\.toml: students\.small\.heads\.main\.model\.{said}"):
        check_networks_build(tiny_job(folder, JOB.replace("training = {", heads)))
    check_networks_build(
        tiny_job(folder, f"{before}{kind.replace('linear', 'rnn')}, shape = [2, 2]{after}")
    )


def test_a_shape_is_held_against_the_rows_by_a_torch_that_is_loaded_for_it(folder):
    job = JOB.replace('kind = "linear"', 'kind = "cnn", shape = [1, 2, 2]')
    tiny_job(folder, job)
    ended = run_code(
        "import sys\nfrom distill.plan.load import load_job\n"
        "from distill.plan.checks.network_builds import check_networks_build\n"
        "from distill.plan.workspace import Workspace\n"
        f"check_networks_build(Workspace(load_job({str(folder / 'job.toml')!r})))\n"
        "assert 'torch' not in sys.modules"
    )
    assert ended.returncode == 0, ended.stderr


def test_a_shape_that_does_not_hold_a_row_of_a_fit_is_refused_before_training(folder):
    job = JOB.replace('kind = "linear"', 'kind = "cnn", shape = [1, 3, 2]', 1)
    said = r"fit\.large\.model\.shape = \[1, 3, 2\] holds 6 numbers, but a row has 4"
    with pytest.raises(JobError, match=said):
        check_networks_build(tiny_job(folder, job))
    check_networks_build(tiny_job(folder, job.replace("[1, 3, 2]", "[1, 2, 2]")))


@pytest.mark.parametrize(
    ("more", "where"),
    [
        (
            '[[students.small.terms]]\n    learns = "pools.wide"\n    loss = { kind = "cross_entropy" }',
            r"students\.small",
        ),
        ('[students.small.early_stop]\n    learns = "pools.wide"', r"students\.small"),
        ('[fit.large.early_stop]\n    learns = "pools.wide"', r"fit\.large"),
        ('[evaluate]\n    on = "wide"', r"students\.small"),
    ],
)
def test_rows_of_another_width_are_found_out_once_the_labels_are_paid_for(folder, more, where):
    write_pool(folder / "wide", [20], width=6)
    said = rf"job\.toml: {where}: .* numbers of features: .*pools\.labelled has 4.*, pools\.wide has 6\. Give"
    job = tiny_job(folder, f"{JOB}{WIDE}    {more}\n")
    with pytest.raises(ContractError, match=said):
        check_networks_build(job)
    write_pool(folder / "narrow", [20])
    check_networks_build(tiny_job(folder, f"{JOB}{WIDE}    {more}\n".replace("wide", "narrow")))


def test_pools_that_no_network_sees_together_must_be_of_one_width(folder):
    """A fit is not judged by the rows that students are judged by."""
    for wide in ("unlabelled", "judged"):
        write_pool(folder / wide, [20], width=6)
    more = WIDE.replace("wide", "judged") + '    [evaluate]\n    on = "judged"\n'
    job = JOB.partition('[[students.small.terms]]\n    learns = "pools')[0]
    check_networks_build(tiny_job(folder, f"{job}{more}"))


def test_a_finished_job_tries_its_networks_at_every_look(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        network_builds,
        "check_network",
        lambda plan, where, **_: asked.append((where.rpartition(": ")[2], plan.in_features)),
    )
    check_networks_build(own(folder))
    assert asked == [("fit.large", 4), ("students.small", 4)]
    check_networks_build(own(folder))
    assert len(asked) == 2
    check_networks_build(own(folder, OWN + "# another text\n"))
    assert len(asked) == 4
    check_networks_build(own(folder, job=JOB))
    assert len(asked) == 4


def test_a_library_that_alters_images_is_missed_by_a_worker(tmp_path, monkeypatch):
    text = """
        root = "root"
        [pools.rows]
        path = "rows"
        features = { kind = "image", column = "pixels", shape = [2, 2, 1] }
        target = "kind"
        classes = ["a", "b"]
        [students.small]
        model = { kind = "linear" }
        training = { augment = { crop = {} } }
        [[students.small.terms]]
        learns = "pools.rows"
        loss = { kind = "cross_entropy" }
    """
    (tmp_path / "rows").mkdir()
    pixels = pa.array([bytes(4), bytes(4)], pa.binary(4))
    pq.write_table(pa.table({"pixels": pixels, "kind": ["a", "b"]}), tmp_path / "rows/0.parquet")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distill\[vision\]'"):
        check_networks_build(tiny_job(tmp_path, text))
    monkeypatch.undo()
    check_networks_build(tiny_job(tmp_path, text))
