"""Private gradients beside a plain loop over rows, and private trainings of a job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.plan.privacy import stored_statements
from distill.run import train_students
from distill.spec.private import Private
from distill.stages.train import private_gradients
from distill.stages.train.private_account import PrivateAccount, find_account
from distill.stages.train.private_gradients import PrivateGradients
from distill.stages.train.training_setup import prepare_training
from tests.command import distill, kill_session, start
from tests.stages.train.ranks import train
from tests.tiny import pixels, write_job, write_pool
from tests.waiting import wait_until

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.private]
    path = "private"
    target = "kind"
    classes = ["a", "b", "c"]
    features = {{ kind = "vector", columns = ["pixels"] }}
    [students.small]
    model = {{ kind = "mlp", hidden = [6] }}
    [[students.small.terms]]
    learns = "pools.private"
    loss = {{ kind = "cross_entropy" }}
    [students.small.training]
    epochs = {epochs}
    batch_rows = 32
    lanes = 2
    workers = {workers}
    checkpoint_epochs = 1
    private = {{ {private}, delta = 1e-4, clip = 0.7 }}
"""
SECRET = 1234


@pytest.fixture
def no_secret(monkeypatch):
    """Samples and noise that a test can draw again."""
    monkeypatch.setattr(private_gradients, "fresh_secret", lambda: SECRET)


def make_job(
    folder: Path, private: str = "noise = 0.8", *, epochs: int = 2, workers: int = 1
) -> Path:
    write_pool(folder / "private", (100, 60))
    return write_job(folder, JOB.format(private=private, epochs=epochs, workers=workers))


def prepared(job: Path, context: WorkerContext):
    plan = Plan(load_job(job))
    (step,) = plan.students()
    return prepare_training(step.plan, context)


def plain_step(setup, account: PrivateAccount, folder: Path, step: int) -> list[torch.Tensor]:
    """The noisy mean gradient of a step, row by row, with nothing of ours but the draws."""
    tables = [pq.read_table(file) for file in sorted(folder.iterdir())]
    rows = np.concatenate([pixels(table) for table in tables])
    targets = [
        ["a", "b", "c"].index(kind) for table in tables for kind in table["kind"].to_pylist()
    ]
    sample = np.random.Generator(np.random.Philox(key=SECRET, counter=[0, step, 0, 0]))
    chosen = np.flatnonzero(sample.random(160) < account.sample_rate)
    parameters = list(setup.trained.parameters())
    total = [torch.zeros_like(each) for each in parameters]
    for row in chosen:
        outputs = setup.network(torch.from_numpy(rows[row : row + 1]))["main"]
        loss = nn.functional.cross_entropy(outputs, torch.tensor([targets[row]]))
        own = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum(each.square().sum() for each in own))
        for each, gradient in zip(total, own, strict=True):
            each.add_(gradient * min(1.0, 0.7 / float(norm)))
    noise = np.random.Generator(np.random.Philox(key=SECRET, counter=[0, step, 1, 0]))
    for each in total:
        drawn = noise.standard_normal(tuple(each.shape))
        each.add_(torch.from_numpy(account.noise * 0.7 * drawn))
    return [each / 32 for each in total]


@pytest.mark.parametrize("parts", [1, 4])
def test_a_step_is_another_than_a_plain_loop_takes(tmp_path, no_secret, parts):
    job = make_job(tmp_path)
    text = job.read_text("utf-8")
    text = text.replace("lanes = 2", f"lanes = 2\naccumulate_batches = {parts}")
    job.write_text(text, "utf-8")
    account = PrivateAccount(0.8, 0.2, 10, 1.0)
    setup = prepared(job, WorkerContext(0, 1, "cpu"))
    due = plain_step(setup, account, tmp_path / "private", 3)
    gradients = PrivateGradients(setup, account)
    told = gradients.backward(0, 3, [{}])
    assert not told.any(), "losses are private"
    for parameter, gradient in zip(gradients.parameters, due, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_one_row_moves_a_step_by_more_than_the_clip(tmp_path, no_secret):
    """However far it lies from all others."""
    job = make_job(tmp_path)
    account = PrivateAccount(0.0, 1.0, 10, 1.0)
    made = []
    for scale in (1.0, 1e4):
        setup = prepared(job, WorkerContext(0, 1, "cpu"))
        gradients = PrivateGradients(setup, account)
        rows = gradients.rows["features"].copy()
        rows[7] *= scale
        gradients.rows = {**gradients.rows, "features": rows}
        gradients.backward(0, 0, [{}])
        made.append(torch.cat([each.grad.flatten() for each in gradients.parameters]))
    assert (made[0] - made[1]).norm() * 160 <= 2 * 0.7 + 1e-4


def test_a_row_that_overflows_takes_the_step_with_it(tmp_path, no_secret):
    setup = prepared(make_job(tmp_path), WorkerContext(0, 1, "cpu"))
    gradients = PrivateGradients(setup, PrivateAccount(0.0, 1.0, 10, 1.0))
    rows = gradients.rows["features"].copy()
    rows[7] = 3e38
    gradients.rows = {**gradients.rows, "features": rows}
    gradients.backward(0, 0, [{}])
    assert all(bool(each.grad.isfinite().all()) for each in gradients.parameters)


def test_samples_have_a_size_of_their_own(tmp_path, no_secret):
    """Poisson, as the accountant assumes: binomial about 32 of 160, not 32 each."""
    setup = prepared(make_job(tmp_path), WorkerContext(0, 1, "cpu"))
    gradients = PrivateGradients(setup, PrivateAccount(1.0, 0.2, 10, 1.0))
    sizes = [len(gradients._sample(step)) for step in range(400)]
    assert abs(np.mean(sizes) - 32) < 5 * (160 * 0.2 * 0.8 / 400) ** 0.5
    assert 0.7 < np.var(sizes) / (160 * 0.2 * 0.8) < 1.4


def test_the_same_secret_is_drawn_twice():
    assert private_gradients.fresh_secret() != private_gradients.fresh_secret()


def weights_of(job: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    from safetensors.torch import load_file

    (done,) = job.parent.glob("root/students/small/*/done.json")
    (file,) = done.parent.glob("*-weights.safetensors")
    return json.loads(done.read_text("utf-8"))["body"], load_file(file)


@pytest.mark.slow
def test_two_workers_add_noise_twice(tmp_path, monkeypatch):
    """With the same secret they take the steps of one, up to rounding."""
    made = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        job = make_job(folder, workers=workers)
        text = job.read_text("utf-8")
        job.write_text(text.replace('root = "root"', 'root = "root"\n' + _PLUGIN), "utf-8")
        (folder / "known_secret.py").write_text(_KNOWN_SECRET, "utf-8")
        train(job, workers, folder / "log")
        made.append(weights_of(job)[1])
    for name, values in made[0].items():
        torch.testing.assert_close(made[1][name], values, rtol=1e-4, atol=1e-5)


_PLUGIN = 'plugins = ["known_secret.py"]'
_KNOWN_SECRET = """
from distill.stages.train import private_gradients

private_gradients.fresh_secret = lambda: 1234
"""


def test_a_private_student_says_nothing_of_its_rows_but_what_it_promises(tmp_path):
    job = make_job(tmp_path, "epsilon = 3.0", epochs=3)
    (trained,) = train_students(load_job(job), engine="local")
    (statement,) = stored_statements(trained.record)
    assert statement.mechanism == "dp_sgd"
    assert 2.9 < statement.epsilon <= 3
    assert statement.over == ("private",)
    assert statement.unit == "row"
    history = trained.record.details["history"]
    assert [set(line) for line in history] == 3 * [
        {"epoch", "step", "learning_rate", "rows_per_second", "seconds"}
    ] or all("loss" not in line and "known" not in line for line in history)


def test_a_killed_training_takes_steps_that_are_paid_for_twice(tmp_path):
    """It goes on from its checkpoint, and has taken as many steps as it says in the end."""
    job = make_job(tmp_path, epochs=4)
    marker = tmp_path / "reached"
    process = start("train", job, "--local", DISTILL_FAILPOINT=f"private.step:13:{marker}")
    wait_until(marker.exists, process)
    kill_session(process.pid)
    process.communicate()
    marker.unlink()
    (newest, *_) = sorted(tmp_path.glob("root/students/small/*/checkpoints/*.json"), reverse=True)
    ended = distill("train", job, "--local")
    assert ended.code == 0, ended.output
    body, _ = weights_of(job)
    assert body["details"]["steps"] == 20
    (statement,) = body["details"]["privacy"]
    account = find_account(Private(noise=0.8, delta=1e-4, clip=0.7), 0.2, 20)
    assert statement["epsilon"] == pytest.approx(account.epsilon)
    assert newest.name.startswith("step_000000010")


def test_an_account_is_another_than_dp_accounting_has():
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant()
    event = dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.1))
    accountant.compose(event, 1_000)
    account = find_account(Private(noise=1.1, delta=1e-5), 0.01, 1_000)
    # opacus' grid of orders is another
    assert account.epsilon == pytest.approx(accountant.get_epsilon(1e-5), rel=0.01)


def test_a_network_with_batch_norm_is_trained_privately(tmp_path):
    setup = prepared(make_job(tmp_path), WorkerContext(0, 1, "cpu"))
    setup.network.trunk = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    with pytest.raises(UnlearnableError, match="each row's own gradient"):
        PrivateGradients(setup, PrivateAccount(1.0, 0.2, 10, 1.0))
