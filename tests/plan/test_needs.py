"""What a training needs is known, and held against what there is, before labels are paid for."""

from __future__ import annotations

import pytest

from distill.core.errors import BusyError, ResourceError
from distill.engine.protocol import TrainingNeeds
from distill.engine.select import engine_of
from distill.labels.lease import hold_lease
from distill.models.network import build_network, parameter_count, trained_parameters
from distill.models.networks.cnn import Cnn
from distill.models.networks.linear import Linear
from distill.models.networks.mlp import Mlp
from distill.models.networks.ngram_bag import NgramBag
from distill.models.networks.rnn import Rnn
from distill.models.networks.timm import TimmNetwork
from distill.models.record import HeadPlan, NetworkPlan
from distill.run import label_pool, run_job, train_students
from distill.storage.open import open_storage
from tests.text_students import encoder, static
from tests.tiny import DOUBLING, tiny_job, write_pool
from tests.tiny_models import save_encoder

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "labeler.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 1 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", [70])
    (tmp_path / "labeler.py").write_text(DOUBLING, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("model", "in_features"),
    [
        (Linear(kind="linear"), 12),
        (Mlp(kind="mlp", hidden=(50, 30)), 12),
        (Cnn(kind="cnn", shape=(3, 8, 8), channels=(8, 16)), 192),
        (Cnn(kind="cnn", shape=(1, 3, 5), channels=(8,)), 15),
        (Rnn(kind="rnn", shape=(4, 3), hidden=20, layers=2), 12),
        (NgramBag(kind="ngram_bag", buckets=500, hidden=7), 16),
    ],
)
def test_a_size_is_another_than_that_of_the_built_network(model, in_features):
    plan = NetworkPlan(in_features, model, {"main": HeadPlan(5), "own": HeadPlan(3, model)})
    count = parameter_count(build_network(plan))
    assert 0.9 * count <= plan.weights <= count, "biases of some are left out"


def test_a_size_of_a_begun_model_is_not_known(tmp_path):
    folder = save_encoder(tmp_path / "model")
    image = {"kind": "timm", "shape": (1, 28, 28), "name": "mobilenetv3_small_050"}
    for model in (
        encoder(folder),
        encoder(folder, layers=1, freeze="embeddings"),
        encoder(folder, freeze="all", above=Mlp(kind="mlp", hidden=(20,))),
        static(folder),
        static(folder, freeze=True),
        TimmNetwork.model_validate(image),
    ):
        plan = NetworkPlan(784, model, {"main": HeadPlan(5), "own": HeadPlan(3, model)})
        built = build_network(plan)
        learned = sum(each.numel() for each in trained_parameters(built))
        assert 0.9 * learned <= plan.weights <= learned, "biases of heads are left out"
        assert plan.frozen == parameter_count(built) - learned


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 1", "gpus = 512", r"training\.gpus = 512: a GPU"),
        ("epochs = 1", "workers = 4", r"training\.workers = 4"),
        (
            '{ kind = "linear" }',
            '{ kind = "mlp", hidden = [300000, 300000] }',
            r"students\.small\.model: a worker needs 1,44\d GB of memory .* this machine has",
        ),
    ],
)
def test_the_pool_is_labelled_before_it_is_sure_that_it_can_be_learned(folder, old, new, said):
    with pytest.raises(ResourceError, match=said):
        run_job(tiny_job(folder, JOB.replace(old, new)), lambda _line: None, engine="local")
    assert not (folder / "root" / "labels" / "teacher" / "v1" / "rows" / "commits").exists()


def test_a_command_that_only_labels_asks_for_what_training_needs(folder):
    job = tiny_job(folder, JOB.replace("epochs = 1", "gpus = 512"))
    assert label_pool(job, "teacher", engine="local")[0].labelled == 70


def test_a_finished_student_is_held_against_this_machine(folder):
    run_job(tiny_job(folder, JOB), lambda _line: None, engine="local")
    elsewhere = tiny_job(folder, JOB.replace("epochs = 1", "epochs = 1, gpus = 512"))
    run_job(elsewhere, lambda _line: None, engine="local")


def test_two_commands_train_the_same_student(folder):
    job = tiny_job(folder, JOB)
    run_job(job, lambda _line: None, engine="local")
    (done,) = (folder / "root" / "students" / "small").glob("*/done.json")
    done.unlink()
    with (
        hold_lease(open_storage(str(done.parent)), "another"),
        pytest.raises(BusyError, match=r"training small: process \d+ on .* is at work on it"),
    ):
        train_students(job, engine="local")
    train_students(job, engine="local")
    assert done.is_file()
    assert not (done.parent / "lease.json").exists()


def test_memory_that_is_there_is_refused():
    needs = TrainingNeeds("students.small", None, "auto", 10, 160)
    engine_of("local").require(needs)
    with pytest.raises(ResourceError, match=r"students\.small\.model: a worker needs 1,000,000 GB"):
        engine_of("local").require(TrainingNeeds("students.small", 1, 0, 10, 10**15))
