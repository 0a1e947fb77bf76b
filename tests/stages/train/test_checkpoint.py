from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from distill.core.errors import ContractError
from distill.models.network import build_network
from distill.models.networks.mlp import Mlp
from distill.models.record import HeadPlan, NetworkPlan
from distill.stages.train.checkpoint import (
    Position,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from distill.storage.open import open_storage

PLAN = NetworkPlan(4, Mlp(kind="mlp", hidden=(6,)), {"main": HeadPlan(3), "idle": HeadPlan(2)})


def restore_checkpoint(folder, network, optimizer) -> Position:
    """What the ranks do: one chooses, all load."""
    chosen = newest_checkpoint(folder, "rows")
    return load_checkpoint(folder, chosen, network, optimizer) if chosen else Position()


def begun(kind, seed=0):
    """A network and its optimiser; the head `idle` never gets a gradient, so the optimiser has no
    state for it."""
    network = build_network(PLAN, seed)
    if kind == "sgd":
        return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    return network, torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)


def steps(network, optimizer, some):
    for step in some:
        draw = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 4, generator=draw), torch.randint(3, (8,), generator=draw)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(x)["main"], y).backward()
        optimizer.step()


def same(first, second):
    mine, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine | theirs)


@pytest.fixture
def folder(tmp_path):
    return open_storage(str(tmp_path / "checkpoints"))


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_resumed_training_ends_with_other_weights(folder, kind):
    whole, optimizer = begun(kind)
    steps(whole, optimizer, range(12))

    first, optimizer = begun(kind)
    steps(first, optimizer, range(5))
    history = [{"epoch": 1, "loss": 0.1 + 0.2, "terms": [0.3]}]
    save_checkpoint(folder, Position(5, history), "rows", first, optimizer)

    resumed, optimizer = begun(kind, seed=9)
    position = restore_checkpoint(folder, resumed, optimizer)
    assert position == Position(5, history)
    assert same(resumed, first)
    steps(resumed, optimizer, range(5, 12))
    assert same(resumed, whole)


def test_a_training_without_checkpoints_is_resumed(folder):
    network, optimizer = begun("adamw")
    before = build_network(PLAN, 0)
    assert restore_checkpoint(folder, network, optimizer) == Position(0, [])
    assert same(network, before)


def frozen(network):
    network.trunk[0].weight.requires_grad_(False)
    return network


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: build_network(replace(PLAN, model=Mlp(kind="mlp", hidden=(7,)))), "trunk"),
        (frozen, r"\['trunk.0.weight'\]"),
    ],
)
def test_the_optimizers_state_moves_other_weights_where_a_class_changed_under_its_revision(
    folder, change, said
):
    network, optimizer = begun("adamw")
    steps(network, optimizer, range(3))
    save_checkpoint(folder, Position(3), "rows", network, optimizer)
    other = change(begun("adamw")[0])
    moved = torch.optim.AdamW([each for each in other.parameters() if each.requires_grad])
    with pytest.raises(
        ContractError,
        match=rf"step_000000003.json .* other parameters: .*{said}.*change the revision",
    ):
        restore_checkpoint(folder, other, moved)


@pytest.fixture
def two(folder):
    """Checkpoints after 3 and after 10 steps, and the networks of then."""
    kept = {}
    network, optimizer = begun("adamw")
    done = 0
    for step in (3, 10):
        steps(network, optimizer, range(done, step))
        save_checkpoint(folder, Position(step), "rows", network, optimizer)
        kept[step], done = build_network(PLAN), step
        kept[step].load_state_dict(network.state_dict())
    return kept


def test_an_older_checkpoint_is_taken(folder, two):
    network, optimizer = begun("adamw", seed=4)
    assert restore_checkpoint(folder, network, optimizer).step == 10
    assert same(network, two[10])


def cut(file: Path):
    file.write_bytes(file.read_bytes()[:-7])


def flip(file: Path):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("tear", [Path.unlink, cut, flip])
@pytest.mark.parametrize("part", ["json", "safetensors"])
def test_a_torn_checkpoint_is_loaded_or_hides_the_one_before(folder, two, tear, part, caplog):
    (newest,) = Path(folder.uri).glob(f"step_000000010*.{part}")
    tear(newest)
    network, optimizer = begun("adamw", seed=4)
    assert restore_checkpoint(folder, network, optimizer).step == 3
    assert same(network, two[3])
    gone = part == "json" and tear is Path.unlink  # then there never was a second checkpoint
    assert ("torn checkpoint" in caplog.text) is not gone
    steps(network, optimizer, range(3, 10))
    assert same(network, two[10])


def test_a_training_goes_on_through_rows_in_another_order(folder, two, caplog):
    assert newest_checkpoint(folder, "other rows") is None
    assert not folder.list_objects()
    assert caplog.text.count("took rows in another order") == 2
