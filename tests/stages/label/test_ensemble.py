"""An ensemble from the job to a student that trusts its rows by how far the members agree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import distill.labels
from distill.core.errors import ContractError, JobError
from distill.labelers.base import Predictions
from distill.labels.encoding import encode
from distill.loader.sampler import Chunk
from distill.plan.load import load_job
from distill.run import label_pool, preview_labels
from distill.stages.label.canary import largest_difference
from distill.storage.request_counts import requests
from tests.making import a_contract, label_by_worker
from tests.resolved import check_canaries, open_pool, plan_student, prepare_labels, whole_labels
from tests.tiny import tiny_job, write_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.both]
    over = ["rows"]
    ENCODING
    [labels.both.labeler]
    kind = "ensemble"
    weights = [3, 1]
    members = [
        { kind = "custom", file = "mine.py", name = "One" },
        { kind = "custom", file = "mine.py", name = "Other" },
    ]
    [labels.one]
    labeler = { kind = "custom", file = "mine.py", name = "One" }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 2, batch_rows = 32, workers = 1 }
    [[students.small.terms]]
    learns = "labels.both"
    loss = { kind = "kl" }
    row_weight = { kind = "agreement", scale = 0.05 }
"""
MINE = """
class One:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        return 2 * features[:, :3]

class Other:
    revision = "1"
    classes = ("c", "a", "b")

    def label(self, features):
        return 2 * features[:, [2, 0, 3]]
"""


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", [100, 30])
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    return tmp_path


def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def expected(folder):
    """The mean of the members' probabilities, and their divergence from it."""
    x = np.array(open_rows(folder), np.float64)
    p = np.stack([np.exp(log_softmax(2 * x[:, :3])), np.exp(log_softmax(2 * x[:, [0, 3, 2]]))])
    mean = 0.75 * p[0] + 0.25 * p[1]
    own = -(p * np.log(p)).sum(axis=2)
    return mean, -(mean * np.log(mean)).sum(axis=1) - 0.75 * own[0] - 0.25 * own[1]


@pytest.mark.ray
def test_what_ray_stores_is_another_mean_or_disagreement(folder, ray):
    require_expected(folder, "", engine="ray")


def test_what_is_stored_is_another_mean_or_disagreement(folder):
    encoding = 'encoding = { kind = "topk", k = 3, values = "float16" }'
    require_expected(folder, encoding, engine="local")


def require_expected(folder, encoding, engine):
    """Label by both members, and compare what is stored with plain NumPy."""
    job = tiny_job(folder, JOB.replace("ENCODING", encoding))
    label_pool(job, "both", engine=engine)
    stored = pa.concat_tables(distill.labels.open(folder / "root/labels/both/v1/rows").decoded())
    mean, due = expected(folder)
    np.testing.assert_allclose(stored["disagreement"].to_numpy(), due, atol=1e-6)
    if not encoding:
        logits = np.array(stored["logits"].to_pylist())
        np.testing.assert_allclose(np.exp(logits), mean, rtol=1e-4)
    shown = preview_labels(job, "both", 20)
    np.testing.assert_allclose(shown.disagreement, due[:20], atol=1e-6)
    assert check_canaries(job, "both", "rows", 3) == []


def open_rows(folder):
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(file) for file in sorted((folder / "rows").iterdir())])[
        "pixels"
    ].to_pylist()


def test_the_input_is_read_once_a_member(folder):
    job = tiny_job(folder, JOB.replace("ENCODING", ""))
    read = {}
    for name in ("one", "both", "one"):
        prepare_labels(job, name)
        before = requests()
        label_by_worker(
            load_job(folder / "job.toml", root=str(folder / f"{name}{len(read)}")), name
        )
        done = requests() - before
        read[name] = (done.get, done.bytes_read)
    (gets, size), (due_gets, due_size) = read["both"], read["one"]
    assert gets == due_gets
    # its contract is some bytes longer; a file of the pool is thousands
    assert (
        abs(size - due_size) < min(file.stat().st_size for file in (folder / "rows").iterdir()) / 2
    )


def test_a_row_on_which_members_disagree_teaches_as_much_as_another(folder):
    job = tiny_job(folder, JOB.replace("ENCODING", ""))
    label_by_worker(job, "both")
    lesson = plan_student(job, job.variants[0])
    assert "rows weighted by agreement" in lesson.terms[0].text
    _, due = expected(folder)
    rows = lesson.sources[0].load(Chunk(0, 0, 0, 100))
    np.testing.assert_allclose(rows["0.weight"], np.exp(-due[:100] / 0.05), rtol=1e-4)


def test_the_order_of_a_members_classes_or_its_width_may_change_unseen(folder):
    text = JOB.replace("ENCODING", "")
    before = prepare_labels(tiny_job(folder, text), "both")[1]
    assert before.labeler == "ensemble of custom:One × 0.75, custom:Other × 0.25"
    (folder / "mine.py").write_text(MINE.replace('("c", "a", "b")', '("a", "b", "c")'), "utf-8")
    assert prepare_labels(tiny_job(folder, text), "both")[1].digest != before.digest
    values = MINE.replace('classes = ("a", "b", "c")', 'kind = "value"; width = 3')
    (folder / "mine.py").write_text(
        values.replace('classes = ("c", "a", "b")', 'kind = "value"; width = 2'), "utf-8"
    )
    job = tiny_job(folder, text.partition("[students")[0])
    with pytest.raises(
        ContractError,
        match=r"members\.1: custom:Other answers with 2 numbers a row, the first member with 3",
    ):
        prepare_labels(job, "both")


def test_the_live_disagreement_is_another_than_the_stored_one():
    contract = a_contract(disagreement=True)
    outputs, apart = np.zeros((4, 3), np.float32), np.linspace(0, 0.6, 4, dtype=np.float32)
    stored = encode(outputs, np.ones(4, bool), contract, apart)
    assert largest_difference(Predictions(outputs, apart), stored, contract) == 0
    assert largest_difference(Predictions(outputs, apart[::-1]), stored, contract) > 0.5


def test_other_weights_or_members_pass_for_the_same_labels(folder):
    contracts = [
        prepare_labels(tiny_job(folder, JOB.replace("ENCODING", "").replace(*change)), "both")[1]
        for change in [
            ("weights = [3, 1]", ""),
            ("weights = [3, 1]", "weights = [6, 2]"),
            ("x", "x"),
        ]
    ]
    assert contracts[1].digest == contracts[2].digest != contracts[0].digest
    assert contracts[2].disagreement
    job = load_job(write_job(folder, JOB.replace("ENCODING", "")))
    label_by_worker(job, "both")
    changed = tiny_job(folder, JOB.replace("ENCODING", "").replace("weights = [3, 1]", ""))
    with pytest.raises(ContractError, match="revision: stored"):
        whole_labels(changed, "both", open_pool(changed, "rows"), contracts[0])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('("c", "a", "b")', '("c", "a", "z")', "labels.both.labeler.members.1: says exclusive classes [c, a, z], but the first member says"),
        ('("c", "a", "b")', "()\n    kind = 'value'", "members.1: says a value, but the first member says"),
        ("weights = [3, 1]", "weights = [3]", "has 2 members and 1 weights; give one for each"),
        ('"labels.both"', '"labels.one"', "row_weight.kind = 'agreement': labels.one comes from one labeler"),
        ('file = "mine.py", name = "Other"', 'file = "gone.py"', "labels.both.labeler.members.1.file"),
    ],
)  # fmt: skip
def test_an_ensemble_that_cannot_be_is_found_out_by_an_actor(folder, old, new, said):
    text = JOB.replace("ENCODING", "")
    assert (old in text) != (old in MINE)
    (folder / "mine.py").write_text(MINE.replace(old, new), "utf-8")
    with pytest.raises(JobError) as told:
        tiny_job(folder, text.replace(old, new))
    assert said in str(told.value)
