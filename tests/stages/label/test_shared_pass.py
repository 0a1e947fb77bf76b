"""Heads of one network are label sets of their own, each with its contract and its commits, and the
network sees each row once for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.errors import ContractError
from distill.models.network import MultiHead
from distill.models.networks.mlp import Mlp
from distill.plan.load import load_job
from distill.run.stages import label_pools
from distill.spec.outputs import Outputs
from tests.making import keep_network, stored_outputs
from tests.resolved import label_set
from tests.tiny import tiny_job, write_pool

HEADS = {"main": Outputs("logits", ("a", "b", "c")), "size": Outputs("value")}
ROWS = (140, 90)
JOB = """
    root = "ROOT"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.kind]
    labeler = { kind = "student", model = "model", classes = ["a", "b", "c"] }
    over = ["rows"]
    batch_rows = 16
    encoding = { kind = "topk", k = 2 }
    [labels.size]
    labeler = { kind = "student", model = "model", head = "size" }
    over = ["rows"]
    batch_rows = BATCH
"""


@pytest.fixture
def seen(monkeypatch):
    """How many rows the network saw."""
    rows = []
    forward = MultiHead.forward

    def counting(network, x):
        rows.append(len(x))
        return forward(network, x)

    monkeypatch.setattr(MultiHead, "forward", counting)
    return rows


@pytest.fixture
def two_heads(tmp_path):
    """`two_heads(root, batch)`: the job; with another `batch` its label sets take a pass each."""
    write_pool(tmp_path / "rows", ROWS)
    keep_network(tmp_path / "model", HEADS, 4, model=Mlp(kind="mlp", hidden=(5,)))

    def job(root, batch="16"):
        return tiny_job(tmp_path, JOB.replace("ROOT", root).replace("BATCH", batch))

    return job


def forget(folder, kept):
    """Delete all that is stored but the first fragments."""
    for part in ("manifest", "commits", "data"):
        first = 0 if part == "manifest" else kept
        for entry in sorted(each.key for each in folder.folder(part).list_objects())[first:]:
            folder.delete(f"{part}/{entry}")


def test_each_label_set_takes_a_pass_of_its_own(two_heads, seen):
    job = two_heads("together")
    asked_again = 8  # of the first batch, whether it answers the same
    summaries = list(label_pools(job, engine="local"))
    assert [each.name for each in summaries] == ["kind", "size"]
    assert sum(seen) <= sum(ROWS) + asked_again, "rows that the network saw"
    contracts = {label_set(job, name, "rows").contract.digest for name in ("kind", "size")}
    assert len(contracts) == 2
    hashes = {each.name: each.label_hash for each in summaries}
    seen.clear()
    alone = two_heads("alone", "17")
    assert not next(iter(label_pools(job, engine="local"))).labelled_now
    assert not seen, "a finished job asks the network"
    apart = list(label_pools(alone, engine="local"))
    assert sum(seen) >= 2 * sum(ROWS)
    assert hashes["kind"] == apart[0].label_hash
    np.testing.assert_allclose(
        stored_outputs(label_set(job, "size", "rows")),
        stored_outputs(label_set(alone, "size", "rows")),
        rtol=1e-5,
    )


def test_what_is_missing_of_one_label_set_alone_stays_missing(two_heads, seen):
    job = two_heads("together")
    whole = {each.name: each.label_hash for each in label_pools(job, engine="local")}
    forget(label_set(job, "size", "rows").folder, kept=4)
    seen.clear()
    again = {each.name: each for each in label_pools(job, engine="local")}
    assert {name: each.label_hash for name, each in again.items()} == whole
    assert again["size"].labelled_now == 1
    assert 0 < sum(seen) <= 64 + 8


def test_a_label_set_that_was_begun_before_is_written_twice(two_heads, seen):
    """Of the one that is written along some fragments are there already."""
    job = two_heads("together")
    whole = {each.name: each.label_hash for each in label_pools(job, engine="local")}
    for name, kept in (("kind", 0), ("size", 1)):
        forget(label_set(job, name, "rows").folder, kept)
    seen.clear()
    again = {each.name: each for each in label_pools(job, engine="local")}
    assert {name: each.label_hash for name, each in again.items()} == whole
    for name, each in again.items():
        assert each.rows == sum(ROWS) == each.labels.entries.rows, name
    assert sum(seen) <= sum(ROWS) + 8


def test_a_label_set_that_means_something_else_by_now_keeps_another_from_being_labelled(two_heads):
    job = two_heads("together")
    whole = {each.name: each.label_hash for each in label_pools(job, engine="local")}
    forget(label_set(job, "kind", "rows").folder, kept=0)
    text = job.path.read_text("utf-8").replace('head = "size" }', 'head = "size", width = 1 }')
    job.path.write_text(f'{text}encoding = {{ kind = "value", dtype = "float16" }}\n', "utf-8")
    changed = load_job(job.path)
    (again,) = label_pools(changed, "kind", engine="local")
    assert again.label_hash == whole["kind"]
    with pytest.raises(ContractError, match=r"labels\.size"):
        list(label_pools(changed, "size", engine="local"))
