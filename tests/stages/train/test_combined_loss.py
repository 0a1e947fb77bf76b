from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.core.errors import TrainingError
from distill.core.source import PythonFile
from distill.models.losses.binary_cross_entropy import BinaryCrossEntropy
from distill.models.losses.cosine import Cosine
from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.losses.custom import CustomLoss
from distill.models.losses.decoupled_kl import DecoupledKl
from distill.models.losses.jensen_shannon import JensenShannon
from distill.models.losses.kl import Kl
from distill.models.losses.mse import Mse
from distill.models.losses.reverse_kl import ReverseKl
from distill.plan.training import TermPlan
from distill.spec.losses import CustomLossCall
from distill.spec.students import Ramp
from distill.stages.train.combined_loss import CombinedLoss

KL, CE = Kl(kind="kl", temperature=2.0), CrossEntropy(kind="cross_entropy", temperature=3.0)
HARD, BCE, MSE = (
    CrossEntropy(kind="cross_entropy"),
    BinaryCrossEntropy(kind="binary_cross_entropy"),
    Mse(kind="mse"),
)
REVERSE, JS = (
    ReverseKl(kind="reverse_kl", temperature=2.0),
    JensenShannon(kind="jensen_shannon", temperature=2.0),
)
DECOUPLED, COSINE = DecoupledKl(kind="decoupled_kl"), Cosine(kind="cosine")
SUBSET = (3, 0)


def term(column, loss, weight, *, source=0, head="main", target=False, positions=None):
    return TermPlan("said", column, source, head, loss, weight, target, positions)


TERMS = (
    term("0", KL, 1.0),
    term("1", KL, 0.7, positions=SUBSET),
    term("2", KL, 0.3, positions=(1, 2, 0)),
    term("3", CE, 0.2),
    term("4", CE, 0.25),
    term("5", HARD, 0.5, source=1, target=True, positions=SUBSET),
    term("6", HARD, 0.4, source=1, target=True),
    term("7", BCE, 0.6, head="many", positions=(1,)),
    term("8", BCE, 0.9, source=1, head="many", target=True),
    term("9", MSE, 1.1, head="size"),
    term("10", MSE, 0.0, source=1, head="size", target=True),
    term("11", REVERSE, 0.3),
    term("12", JS, 0.8),
    term("13", DECOUPLED, 0.1, positions=SUBSET),
    term("14", MSE, 0.2),
    term("15", COSINE, 0.5, head="size"),
)
HEADS = {"main": 4, "many": 2, "size": 3}


OWN = PythonFile(
    "own.py",
    "def loss(student, taught):\n    return (student - taught).abs().sum(dim=1)\n"
    "def hinge(student, target):\n    return (1 - student.gather(1, target[:, None])[:, 0]).clamp_min(0)\n"
    "def wrong(student, taught):\n    return (student - taught).square()\n"
    "def relative(student, taught):\n    return ((student - taught).abs() / taught.abs()).mean(dim=1)\n"
    "def apart(student, taught):\n    return (student.detach() - taught).square().mean(dim=1)\n"
    "def raises(student, taught):\n    return {}['nothing']\n",
)


def own(name, column, **more):
    return replace(
        term(column, CustomLoss(kind="custom", file="own.py", name=name), 1.0, **more),
        own=CustomLossCall(OWN, name, f"own.{name}"),
    )


def test_a_loss_of_the_users_own_sees_other_outputs_or_another_target():
    outputs, batches = drawn(16, seed=4)
    loss, _ = at_once([own("loss", "1", positions=SUBSET)], outputs, batches)
    weight = batches[0]["1.weight"]
    apart = (outputs[0]["main"][:, list(SUBSET)] - batches[0]["1.outputs"]).abs().sum(dim=1)
    assert loss.item() == pytest.approx(((apart * weight).sum() / weight.sum()).item(), rel=1e-5)
    loss, _ = at_once([own("hinge", "6", source=1, target=True)], outputs, batches)
    weight, target = batches[1]["6.weight"], batches[1]["6.target"]
    apart = (1 - outputs[1]["main"][torch.arange(16), target]).clamp_min(0)
    assert loss.item() == pytest.approx(((apart * weight).sum() / weight.sum()).item(), rel=1e-5)
    known = int((batches[0]["1.weight"] > 0).sum())
    with pytest.raises(
        TrainingError,
        match=rf"wrong\(\) answered with \({known}, 2\), where one number for each of {known} rows",
    ):
        at_once([own("wrong", "1", positions=SUBSET)], outputs, batches)


def test_rows_that_do_not_count_poison_a_loss_of_the_users_own():
    outputs, batches = drawn(16, seed=4)
    weight = batches[0]["1.weight"]
    assert (weight == 0).any(), "padding"
    batches[0]["1.outputs"][weight == 0] = 0
    answered = outputs[0]["main"].detach().clone().requires_grad_()
    loss, _ = at_once(
        [own("relative", "1", positions=SUBSET)],
        [{**outputs[0], "main": answered}, outputs[1]],
        batches,
    )
    loss.backward()
    assert loss.isfinite()
    assert answered.grad.isfinite().all()
    assert (answered.grad[weight == 0] == 0).all()
    batches[0]["1.weight"] = torch.zeros(16)
    loss, _ = at_once([own("raises", "1", positions=SUBSET)], outputs, batches)
    assert loss == 0, "nobody is asked where no row counts"


def test_a_loss_of_the_users_own_that_teaches_nothing_or_raises_is_taken():
    outputs, batches = drawn(16, seed=4)
    outputs[0]["main"].requires_grad_()
    with pytest.raises(
        TrainingError, match=r"own.apart: apart\(\) answered with numbers that do not follow"
    ):
        at_once([own("apart", "1", positions=SUBSET)], outputs, batches)
    with pytest.raises(
        TrainingError, match=r"own.raises: raises\(\) raised:\n(.*\n)*KeyError: 'nothing'"
    ):
        at_once([own("raises", "1", positions=SUBSET)], outputs, batches)


def test_small_row_weights_make_the_loss_small():
    outputs, batches = drawn(16, seed=4)
    (due, _), each = at_once([term("0", KL, 1.0)], outputs, batches), batches[0]["0.weight"]
    batches[0]["0.weight"] = each * 1e-20
    assert at_once([term("0", KL, 1.0)], outputs, batches)[0].item() == pytest.approx(
        due.item(), rel=1e-5
    )


def test_a_weight_that_moves_stands_still():
    outputs, batches = drawn(16, seed=5)
    moving = replace(term("1", KL, 2.0, positions=SUBSET), ramp=Ramp(begin=0.0, over=0.5))
    terms = [term("0", KL, 1.0), moving]
    loss = CombinedLoss(terms, "cpu")
    parts = [
        CombinedLoss([replace(each, weight=1.0, ramp=None)], "cpu")(
            outputs, batches, loss.known(batches)[[n]]
        )[0].item()
        for n, each in enumerate(terms)
    ]
    for done, weight in ((0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (0.9, 2.0)):
        loss.at(done)
        made, _ = loss(outputs, batches, loss.known(batches))
        assert made.item() == pytest.approx(parts[0] + weight * parts[1], rel=1e-5)


def drawn(rows, seed):
    """Outputs of two sources and a batch of each; every column has rows of weight 0."""
    draw = np.random.default_rng(seed)

    def matrix(width):
        return torch.from_numpy(draw.normal(size=(rows, width)).astype(np.float32))

    def topk(width, k):
        log_p, index = matrix(width).log_softmax(1).topk(k, dim=1)
        return index, log_p

    outputs = [
        {name: matrix(width).requires_grad_() for name, width in HEADS.items()} for _ in range(2)
    ]
    batches = [{"row": torch.arange(rows)}, {"row": torch.arange(rows)}]
    batches[0]["row"][-1] = -1  # padding
    for number, width in (
        ("0", 4),
        ("1", 2),
        ("3", 4),
        ("7", 1),
        ("9", 3),
        ("11", 4),
        ("13", 2),
        ("14", 4),
        ("15", 3),
    ):
        batches[0][f"{number}.outputs"] = matrix(width)
    for number, width, k in (("2", 3, 2), ("4", 4, 2), ("12", 4, 3)):
        batches[0][f"{number}.index"], batches[0][f"{number}.log_probs"] = topk(width, k)
    batches[1]["5.target"] = torch.from_numpy(draw.integers(2, size=rows))
    batches[1]["6.target"] = torch.from_numpy(draw.integers(4, size=rows))
    batches[1]["8.target"] = torch.from_numpy(draw.integers(2, size=(rows, 2)).astype(np.float32))
    batches[1]["10.target"] = matrix(3)
    for each in TERMS:
        batches[each.source][f"{each.column}.weight"] = torch.from_numpy(
            (draw.random(rows) > 0.3).astype(np.float32)
        )
    return outputs, batches


def softmax(values):
    odds = [math.exp(value) for value in values]
    return [each / sum(odds) for each in odds]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def binary(p, z):
    return sum(
        -a * math.log(sigmoid(b)) - (1 - a) * math.log(1 - sigmoid(b))
        for a, b in zip(p, z, strict=True)
    )


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def plain_row(each, answered, batch, row):  # noqa: PLR0911  one return a loss
    """What one term says of one row, in plain Python."""
    z = answered[each.head][row].tolist()
    column = {
        key.split(".")[1]: values[row].tolist()
        for key, values in batch.items()
        if key.startswith(f"{each.column}.")
    }
    mine = [z[number] for number in each.positions] if each.positions else z
    if each.target:
        if each.loss is HARD:
            number = each.positions[column["target"]] if each.positions else column["target"]
            return -math.log(softmax(z)[number])
        if each.loss is BCE:
            return binary(column["target"], mine)
        return sum((a - b) ** 2 for a, b in zip(z, column["target"], strict=True)) / len(z)
    if each.loss is BCE:
        return binary([sigmoid(value) for value in column["outputs"]], mine)
    if each.loss is MSE:
        return sum((a - b) ** 2 for a, b in zip(mine, column["outputs"], strict=True)) / len(mine)
    if each.loss is COSINE:
        taught = column["outputs"]
        dot = sum(a * b for a, b in zip(mine, taught, strict=True))
        return 1 - dot / math.sqrt(sum(a * a for a in mine) * sum(b * b for b in taught))
    return of_distributions(each, mine, column)


def of_distributions(each, mine, column):
    """The losses that compare what is said of exclusive classes."""
    q = softmax([value / (1.0 if each.loss is CE else each.loss.temperature) for value in mine])
    if "index" in column:
        p = [math.exp(value) for value in column["log_probs"]]
        q = [q[number] for number in column["index"]]
        p, q = [*p, 1 - sum(p)], [*q, 1 - sum(q)]
    else:
        p = softmax([value / each.loss.temperature for value in column["outputs"]])
    if each.loss is CE:
        return -sum(a * math.log(b) for a, b in zip(p, q, strict=True))
    m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (
        each.loss.temperature**2
        * {
            KL: divergence(p, q),
            REVERSE: divergence(q, p),
            JS: (divergence(p, m) + divergence(q, m)) / 2,
            DECOUPLED: divergence(
                p, q
            ),  # of two classes, the others are one: nothing diverges among them
        }[each.loss]
    )


def plain(outputs, batches):
    """Σ weight · mean over known rows; and Σ w·ℓ, Σ w, known rows and rows a term."""
    total, sums = 0.0, []
    for each in TERMS:
        batch = batches[each.source]
        weights = batch[f"{each.column}.weight"].tolist()
        rows = [plain_row(each, outputs[each.source], batch, row) for row in range(len(weights))]
        sums.append(
            [
                sum(w * value for w, value in zip(weights, rows, strict=True)),
                sum(weights),
                sum(w > 0 for w in weights),
                int((batch["row"] >= 0).sum()),
            ]
        )
        total += each.weight * sums[-1][0] / sums[-1][1]
    return total, sums


def at_once(terms, outputs, batches):
    """The batch is one part."""
    loss = CombinedLoss(terms, "cpu")
    return loss(outputs, batches, loss.known(batches))


def test_the_combined_loss_differs_from_a_plain_loop_over_rows():
    outputs, batches = drawn(16, seed=0)
    loss, summed = at_once(TERMS, outputs, batches)
    due, sums = plain(outputs, batches)
    assert loss.item() == pytest.approx(due, rel=1e-5)
    np.testing.assert_allclose(summed, sums, rtol=1e-5)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_with_unlike_many_known_rows_bend_the_mean(workers):
    rows = 16
    outputs, batches = drawn(rows, seed=1)
    whole, _ = at_once(TERMS, outputs, batches)
    whole.backward()
    due = [{name: values.grad.clone() for name, values in each.items()} for each in outputs]
    known = torch.stack([batches[each.source][f"{each.column}.weight"].sum() for each in TERMS])
    total = 0.0
    for each in outputs:
        for values in each.values():
            values.grad = None
    for rank in range(workers):
        mine = slice(rank * rows // workers, (rank + 1) * rows // workers)
        parts = [{name: values[mine] for name, values in each.items()} for each in outputs]
        some = [{name: values[mine] for name, values in each.items()} for each in batches]
        loss, _ = CombinedLoss(TERMS, "cpu")(parts, some, known)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(whole.item(), rel=1e-5)
    for each, grads in zip(outputs, due, strict=True):
        for name, values in each.items():
            torch.testing.assert_close(values.grad, grads[name])


def test_a_batch_without_known_rows_gives_nan():
    outputs, batches = drawn(4, seed=2)
    for each in TERMS:
        batch = batches[each.source]
        for name in batch:
            if name.startswith(f"{each.column}."):
                batch[name] = torch.zeros_like(batch[name])
    loss, summed = at_once(TERMS, outputs, batches)
    loss.backward()
    assert loss.item() == 0
    assert (summed[:, :2] == 0).all()
    for each in outputs:
        assert all((values.grad == 0).all() for values in each.values())


def test_a_row_of_weight_0_teaches():
    outputs, batches = drawn(8, seed=3)
    for each in TERMS:
        batches[each.source][f"{each.column}.weight"][5] = 0
    before, _ = at_once(TERMS, outputs, batches)
    before.backward()
    assert all((values.grad[5] == 0).all() for each in outputs for values in each.values())
    assert all((values.grad[:5] != 0).any() for values in outputs[0].values())
