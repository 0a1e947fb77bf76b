from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch

from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.loader.sampler import Chunk
from distill.plan.candidates import Method
from distill.spec.outputs import Outputs
from distill.spec.pools import VectorFeatures
from distill.stages.evaluate.evaluator import Evaluator
from distill.stages.evaluate.metrics import (
    add_sums,
    measures,
    sum_classes,
    sum_independent,
    sum_values,
)
from tests.making import (
    a_contract,
    a_topk_contract,
    a_value_contract,
    keep_network,
    list_pool,
    write_label_set,
)
from tests.tiny import write_pool

SHARDS = (60, 25)
ROWS = sum(SHARDS)
ABC = Outputs("logits", ("a", "b", "c"))
CHUNKS = [Chunk(0, 0, 0, 33), Chunk(0, 0, 33, 27), Chunk(0, 1, 0, 25)]
FEATURES = VectorFeatures(kind="vector", columns=("pixels",))


def softmax(z):
    odds = np.exp(z.astype(np.float64))
    return odds / odds.sum(axis=1, keepdims=True)


def judged(judge, chunks=CHUNKS):
    return reduce(add_sums, [judge(chunk) for chunk in chunks])


def same(tally, due):
    assert tally.keys() == due.keys()
    for name, values in due.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_allclose(tally[name], values, rtol=1e-6, atol=1e-9, err_msg=name)
    # tables of scores and ranks are held by what follows from them
    classes = len(due.get("rows", due.get("cells")))
    made, expected = (measures(each, [True] * classes) for each in (tally, due))
    assert made == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def pool(tmp_path):
    return write_pool(tmp_path / "pool", SHARDS), list_pool(tmp_path / "root", tmp_path / "pool")


def test_methods_are_judged_on_other_rows_or_classes_than_each_says(tmp_path, pool):
    table, inventory = pool
    draw = np.random.default_rng(0)
    shuffled, some = ("c", "a", "b"), ("b", "a")
    z_shuffled, z_some, z_topk = (
        draw.normal(size=(ROWS, width)).astype(np.float32) for width in (3, 2, 5)
    )
    topk_classes = ("a", "x", "c", "b", "y")
    topk = a_topk_contract(5, 2, values="float16")
    topk = type(topk)(**{**vars(topk), "classes": topk_classes})
    made = {
        "shuffled": (a_contract(shuffled), z_shuffled, [3], Outputs("logits", shuffled), 1.0),
        "some": (a_contract(some), z_some, [3, 70], Outputs("logits", some), 1.0),
        "topk": (topk, z_topk, [], Outputs("logits", topk_classes), 1.0),
    }
    columns = {"target": TargetColumn("kind", ABC)}
    for number, (name, (contract, z, rejected, _, temperature)) in enumerate(made.items()):
        labels = write_label_set(
            tmp_path / name,
            contract,
            inventory,
            fragment_rows=9 + number,
            outputs=z,
            rejected=rejected,
        )
        columns[name] = LabelColumn(contract, (labels,), temperature)
    record, network = keep_network(
        tmp_path / "student", {"main": ABC, "other": Outputs("logits", ("c", "b"))}, 4
    )
    methods = tuple(Method(name, outputs) for name, (*_, outputs, _) in made.items()) + tuple(
        Method(f"student.{head}", record.heads[head], str(tmp_path / "student"), record, head)
        for head in record.heads
    )
    tallies = judged(
        Evaluator(Dataset((inventory,), FEATURES, 4, columns), ABC, methods, "shuffled")
    )

    kept = ~np.isin(np.arange(ROWS), [3, 70])  # nobody is judged where one of them said nothing
    assert tallies[""]["left_out"].tolist() == [2]
    truth = np.array([ABC.classes.index(kind) for kind in table["kind"].to_pylist()])
    x = torch.tensor(table["pixels"].to_pylist())
    answered = {head: values.detach().numpy() for head, values in network(x).items()}
    p = {
        "shuffled": softmax(z_shuffled)[:, [1, 2, 0]],
        "some": np.hstack([softmax(z_some)[:, [1, 0]], np.zeros((ROWS, 1))]),
        "topk": plain_topk(softmax(z_topk), 2)[:, [0, 3, 2]],
        "student.main": softmax(answered["main"]),
        "student.other": np.hstack([np.zeros((ROWS, 1)), softmax(answered["other"])[:, [1, 0]]]),
    }
    teacher = p["shuffled"].argmax(axis=1)
    for name, each in p.items():
        due = sum_classes(each[kept], truth[kept], teacher[kept])
        if name == "topk":  # fp16 keeps its logits
            assert tallies[name]["right"].tolist() == due["right"].tolist()
            np.testing.assert_allclose(tallies[name]["nll"], due["nll"], rtol=3e-3)
        else:
            same(tallies[name], due)


def plain_topk(p, k):
    """Kept probabilities; the rest spread evenly over the others."""
    made = np.zeros_like(p)
    for row, mine in zip(made, p, strict=True):
        kept = np.argsort(-mine)[:k]
        row[:] = (1 - mine[kept].sum()) / (len(mine) - k)
        row[kept] = mine[kept]
    return made


def test_a_value_is_taken_for_a_probability(tmp_path, pool):
    table, inventory = pool
    said = np.random.default_rng(0).normal(size=(ROWS, 1)).astype(np.float32)
    labels = write_label_set(
        tmp_path / "labels",
        a_value_contract(1),
        inventory,
        fragment_rows=11,
        outputs=said,
        rejected=[1],
    )
    value = Outputs("value")
    columns = {
        "target": TargetColumn("size", value),
        "teacher": LabelColumn(a_value_contract(1), (labels,), None),
    }
    record, network = keep_network(tmp_path / "student", {"main": value}, 4)
    methods = (
        Method("teacher", value),
        Method("student", value, str(tmp_path / "student"), record, "main"),
    )
    tallies = judged(
        Evaluator(Dataset((inventory,), FEATURES, 4, columns), value, methods, "teacher")
    )
    kept = np.arange(ROWS) != 1
    truth = np.array(table["size"].to_pylist(), np.float64)[kept, None]
    answered = (
        network(torch.tensor(table["pixels"].to_pylist()))["main"]
        .detach()
        .numpy()
        .astype(np.float64)[kept]
    )
    same(
        tallies["teacher"],
        sum_values(said[kept].astype(np.float64), truth, said[kept].astype(np.float64)),
    )
    same(tallies["student"], sum_values(answered, truth, said[kept].astype(np.float64)))


def test_independent_outputs_are_made_to_compete(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_pool(tmp_path / "pool", [40])
    file = tmp_path / "pool" / "part-00000.parquet"
    truth = np.random.default_rng(1).integers(2, size=(40, 2))
    pq.write_table(
        pq.read_table(file).append_column("says", pa.array(truth.tolist(), pa.list_(pa.int8(), 2))),
        file,
    )
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    both, one = Outputs("logits", ("x", "y"), False), Outputs("logits", ("y",), False)
    z = {
        "both": np.random.default_rng(2).normal(size=(40, 2)),
        "one": np.random.default_rng(3).normal(size=(40, 1)),
    }
    columns = {"target": TargetColumn("says", both)}
    for name, outputs in (("both", both), ("one", one)):
        contract = a_contract(outputs.classes, exclusive=False)
        z[name] = z[name].astype(np.float32)
        labels = write_label_set(
            tmp_path / name, contract, inventory, fragment_rows=11, outputs=z[name]
        )
        columns[name] = LabelColumn(contract, (labels,), 1.0)
    judge = Evaluator(
        Dataset((inventory,), FEATURES, 4, columns),
        both,
        (Method("both", both), Method("one", one)),
        None,
    )
    tallies = judged(judge, [Chunk(0, 0, 0, 13), Chunk(0, 0, 13, 27)])
    p = {name: 1 / (1 + np.exp(-values.astype(np.float64))) for name, values in z.items()}
    same(tallies["both"], sum_independent(p["both"], truth.astype(float), None))
    same(
        tallies["one"],
        sum_independent(np.hstack([np.zeros((40, 1)), p["one"]]), truth.astype(float), None),
    )
