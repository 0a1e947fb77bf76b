"""A table's rows, moved by themselves, are those that a plain training of the whole table has."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from distill.engine.protocol import WorkerContext
from distill.models.network import build_network
from distill.models.networks.ngram_bag import NgramBag
from distill.models.record import HeadPlan, NetworkPlan
from distill.spec.models import Training
from distill.stages.train import table_rows
from distill.stages.train.checkpoint import (
    Position,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import LaneGradients, WorkerGradients
from distill.stages.train.optimizer import Optimizer, learning_rate, make_optimizer
from distill.storage.open import open_storage
from tests.stages.train.test_combined_loss import KL, term

STEPS, LANES, LENGTH = 60, 4, 12
HERE = WorkerContext(0, 1, "cpu")


@pytest.fixture(autouse=True)
def _small_tables_by_rows(monkeypatch):
    monkeypatch.setattr(table_rows, "SMALL_NUMBERS", 0)


def plan(buckets=300):
    model = NgramBag(kind="ngram_bag", buckets=buckets, hidden=8, most=LENGTH)
    return NetworkPlan(LENGTH, model, {"main": HeadPlan(3)})


def batch(step, buckets=300, rows=16):
    draw = np.random.default_rng(step)
    lengths = draw.integers(0, LENGTH - 2, size=rows)
    places = 1 + (draw.zipf(1.3, size=(rows, LENGTH)) * 7919) % buckets
    places[np.arange(LENGTH) >= lengths[:, None]] = 0
    return {
        "features": places.astype(np.int32),
        "row": np.arange(rows),
        "0.outputs": draw.normal(size=(rows, 3)).astype(np.float32),
        "0.weight": (lengths > 0).astype(np.float32),
    }


def training(**more):
    return Training(epochs=1, lanes=LANES, learning_rate=0.01, **more)


def gradients_of(told, network):
    loss = CombinedLoss((term("0", KL, 1.0),), "cpu")
    if told.gradients == "lanes":
        return LaneGradients(network, loss, HERE, lambda model: model, LANES)
    return WorkerGradients(network, loss, HERE, lambda model: model)


def steps(told, network, optimizer, numbers, buckets=300):
    gradients = gradients_of(told, network)
    network.train()
    for step in numbers:
        gradients.backward(0, step, [batch(step, buckets)])
        if told.clip_norm:
            torch.nn.utils.clip_grad_norm_(gradients.parameters, told.clip_norm)
        optimizer.step(step)


def plainly(told):
    """Every step moves the whole table."""
    network = build_network(plan()).double()
    optimizer = make_optimizer(told, network)
    gradients = gradients_of(told, network)
    for step in range(STEPS):
        gradients.backward(0, step, [batch(step)])
        if told.clip_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), told.clip_norm)
        optimizer.param_groups[0]["lr"] = learning_rate(told, step, STEPS)
        optimizer.step()
    return network.state_dict()


OPTIONS = [
    {},
    {"weight_decay": 0.1, "schedule": "cosine", "warmup_fraction": 0.1},
    {"clip_norm": 0.05, "gradients": "lanes"},
    {"optimizer": "sgd", "weight_decay": 0.01, "schedule": "linear"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_end_elsewhere_than_in_a_training_of_the_whole_table(options):
    """In float64: Adam divides by gradients that may be nothing but float32's rounding."""
    told = training(**options)
    network = build_network(plan()).double()
    optimizer = Optimizer(told, network, STEPS)
    steps(told, network, optimizer, range(STEPS))
    got, due = optimizer.weights(network), plainly(told)
    assert got.keys() == due.keys()
    for name, values in due.items():
        torch.testing.assert_close(got[name], values, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_checkpoint_at_any_step_moves_a_bit(tmp_path, options):
    told = training(**options)
    whole = build_network(plan())
    optimizer = Optimizer(told, whole, STEPS)
    steps(told, whole, optimizer, range(STEPS))
    due = optimizer.weights(whole)
    folder = open_storage(str(tmp_path))
    network = build_network(plan())
    optimizer = Optimizer(told, network, STEPS)
    done = 0
    for pause in (1, 23, 50, STEPS):
        steps(told, network, optimizer, range(done, pause))
        save_checkpoint(folder, Position(pause), "rows", network, optimizer)
        network = build_network(plan(), seed=pause)
        optimizer = Optimizer(told, network, STEPS)
        load_checkpoint(folder, newest_checkpoint(folder, "rows"), network, optimizer)
        done = pause
    got = optimizer.weights(network)
    assert all(torch.equal(got[name], values) for name, values in due.items())


@pytest.mark.parametrize("options", [OPTIONS[1], OPTIONS[3]])
def test_a_training_that_an_older_distill_began_is_gone_on_with_as_another(tmp_path, options):
    told = training(**options)
    network = build_network(plan()).double()
    older = make_optimizer(told, network)
    gradients = gradients_of(told, network)
    for step in range(20):
        gradients.backward(0, step, [batch(step)])
        older.param_groups[0]["lr"] = learning_rate(told, step, STEPS)
        older.step()
    folder = open_storage(str(tmp_path))
    save_checkpoint(folder, Position(20), "rows", network, older)
    resumed = build_network(plan(), seed=1).double()
    optimizer = Optimizer(told, resumed, STEPS)
    load_checkpoint(folder, newest_checkpoint(folder, "rows"), resumed, optimizer)
    steps(told, resumed, optimizer, range(20, STEPS))
    got, due = optimizer.weights(resumed), plainly(told)
    for name, values in due.items():
        torch.testing.assert_close(got[name], values, rtol=1e-6, atol=3e-6)


def test_a_network_that_is_asked_between_steps_answers_by_settled_rows():
    told = training()
    network = build_network(plan())
    optimizer = Optimizer(told, network, STEPS)
    steps(told, network, optimizer, range(30))
    plain = build_network(plan())
    plain.load_state_dict(optimizer.weights(network))
    texts = torch.from_numpy(batch(999)["features"])
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(texts)["main"], plain(texts)["main"])


def test_a_step_touches_rows_that_no_text_has(monkeypatch):
    """Counted: what a step reads and writes depends on its texts, and not on the table."""
    told = training()
    touched = {}
    for buckets in (300, 300_000):
        network = build_network(plan(buckets))
        optimizer = Optimizer(told, network, STEPS)
        (rows,) = optimizer.tables.values()
        before = rows.settled.clone()
        steps(told, network, optimizer, range(5), buckets)
        places = np.unique([batch(step, buckets)["features"] for step in range(5)])
        assert torch.equal(rows.last.nonzero()[:, 0], torch.from_numpy(places).long())
        others = torch.ones(len(before), dtype=torch.bool)
        others[torch.from_numpy(places).long()] = False
        assert torch.equal(rows.settled[others], before[others])
        touched[buckets] = rows.weight.shape
        assert rows.weight.grad.shape == rows.weight.shape
    small, large = touched.values()
    assert small[0] <= large[0] <= 16 * LENGTH + 1


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickle.dumps])
def test_a_copy_of_a_table_loses_the_steps_that_it_takes(copied):
    network = build_network(plan())
    (rows,) = Optimizer(training(), network, STEPS).tables.values()
    with pytest.raises(TypeError, match="row by row has no copies"):
        copied(rows)


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_buffer_that_has_other_texts_by_now_is_read_as_those_before(is_taken):
    network = build_network(plan())
    (rows,) = Optimizer(training(), network, STEPS).tables.values()
    buffer = torch.from_numpy(batch(0)["features"])
    if is_taken:
        rows.take([buffer], HERE)
    rows.ngrams(buffer)
    # as a loader fills it: torch does not see it
    buffer.numpy()[:] = batch(1)["features"]
    places_N, counts_B = rows.ngrams(buffer)
    assert torch.equal(places_N, buffer[buffer != 0])
    assert torch.equal(counts_B, (buffer != 0).sum(1).int())


def test_a_row_that_overflowed_is_not_found():
    told = training()
    network = build_network(plan())
    optimizer = Optimizer(told, network, STEPS)
    steps(told, network, optimizer, range(3))
    (rows,) = optimizer.tables.values()
    rows.weight.grad.fill_(torch.inf)
    rows.move()
    bad = [name for name, each in optimizer.moved(network) if not each.isfinite().all()]
    assert bad == ["trunk.0.weight"]


@pytest.mark.parametrize("more", [{"compile": True}, {"optimizer": "sgd", "weight_decay": 10.0}])
def test_what_has_no_closed_form_is_moved_by_rows(more):
    assert not Optimizer(training(**more), build_network(plan()), STEPS).tables


@pytest.mark.parametrize("options", [OPTIONS[1], OPTIONS[3]])
def test_a_small_table_is_moved_by_rows_or_one_that_was_is_gone_on_with_as_another(
    tmp_path, monkeypatch, options
):
    told = training(**options)
    network = build_network(plan()).double()
    older = Optimizer(told, network, STEPS)
    assert older.tables
    steps(told, network, older, range(20))
    folder = open_storage(str(tmp_path))
    save_checkpoint(folder, Position(20), "rows", network, older)
    monkeypatch.setattr(table_rows, "SMALL_NUMBERS", 300 * 8 + 8)
    resumed = build_network(plan(), seed=1).double()
    optimizer = Optimizer(told, resumed, STEPS)
    assert not optimizer.tables
    load_checkpoint(folder, newest_checkpoint(folder, "rows"), resumed, optimizer)
    steps(told, resumed, optimizer, range(20, STEPS))
    got, due = optimizer.weights(resumed), plainly(told)
    for name, values in due.items():
        torch.testing.assert_close(got[name], values, rtol=1e-6, atol=3e-6)
