from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from distill.labels.encoding import decode, encode
from distill.models import dense_kl as dense_kl_module
from distill.models.dense_kl import dense_kl
from distill.models.losses.binary_cross_entropy import BinaryCrossEntropy
from distill.models.losses.cosine import Cosine
from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.losses.decoupled_kl import DecoupledKl
from distill.models.losses.jensen_shannon import JensenShannon
from distill.models.losses.kl import Kl
from distill.models.losses.mse import Mse
from distill.models.losses.reverse_kl import ReverseKl
from distill.models.outcomes import dense_outcomes, topk_outcomes
from distill.spec.losses import LossRows
from tests.making import a_topk_contract

ROWS, CLASSES = 7, 6


def drawn(*shape, seed=0, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=scale, size=shape))


@pytest.fixture
def student():
    return drawn(ROWS, CLASSES, seed=1)


@pytest.fixture
def teacher():
    return drawn(ROWS, CLASSES, seed=2)


def softmax(row):
    odds = [np.exp(value - max(row)) for value in row]
    return [each / sum(odds) for each in odds]


def top(teacher, k, temperature):
    """Index and log-probabilities as a top-k set gives them."""
    log_p, index = functional.log_softmax(teacher / temperature, dim=1).topk(k, dim=1)
    return index, log_p


def coarse(row, index):
    """The kept probabilities, and the rest as one outcome."""
    kept = [row[number] for number in index]
    return [*kept, max(1 - sum(kept), 0)]


def whole(student, teacher, temperature, student_temperature=None):
    """Every class an outcome."""
    return dense_outcomes(student, teacher, temperature, student_temperature or temperature)


def kept(student, index, log_p, temperature):
    """The kept classes, and the rest as one."""
    return topk_outcomes(student, index, log_p, temperature)


def kl(outcomes, temperature):
    return Kl(kind="kl", temperature=temperature).compare(outcomes)


def reverse_kl(outcomes, temperature):
    return ReverseKl(kind="reverse_kl", temperature=temperature).compare(outcomes)


def jensen_shannon(outcomes, temperature, teacher_share=0.3):
    made = JensenShannon(
        kind="jensen_shannon", temperature=temperature, teacher_share=teacher_share
    )
    return made.compare(outcomes)


def decoupled_kl(outcomes, temperature, target_weight=1.0, others_weight=8.0):
    made = DecoupledKl(
        kind="decoupled_kl",
        temperature=temperature,
        target_weight=target_weight,
        others_weight=others_weight,
    )
    return made.compare(outcomes)


def cross_entropy(outcomes):
    return CrossEntropy(kind="cross_entropy").compare(outcomes)


def rows_of(student, positions=None, **taught):
    """Rows of a term, all of weight 1."""
    weight = torch.ones(len(student))
    return LossRows(head=student, positions=positions, weight=weight, **taught)


def cross_entropy_target(student, target, smoothing=0.0):
    made = CrossEntropy(kind="cross_entropy", smoothing=smoothing)
    return made.row_losses(rows_of(student, target=target))


def binary_cross_entropy(student, probabilities):
    made = BinaryCrossEntropy(kind="binary_cross_entropy")
    return made.row_losses(rows_of(student, target=probabilities))


def mse(student, teacher):
    return Mse(kind="mse").row_losses(rows_of(student, outputs=teacher))


def cosine(student, teacher):
    return Cosine(kind="cosine").row_losses(rows_of(student, outputs=teacher))


DIVERGENCES = {
    "kl": kl,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
    "decoupled_kl": decoupled_kl,
}


def plain_kl(p, q):
    return sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def plain_decoupled(p, q, chosen=None, among=None):
    """Equation 7 of Zhao et al. 2022 in its own words: binary probabilities, then the others, or
    the first of them, renormalised."""
    chosen = int(np.argmax(p)) if chosen is None else chosen
    others_p, others_q = ([*each[:chosen], *each[chosen + 1 :]] for each in (p, q))
    binary = plain_kl([p[chosen], sum(others_p)], [q[chosen], sum(others_q)])
    others_p, others_q = (
        [number / sum(each[:among]) for number in each[:among]] for each in (others_p, others_q)
    )
    return binary + 8.0 * plain_kl(others_p, others_q)


def plain_jensen_shannon(p, q):
    m = [0.3 * a + 0.7 * b for a, b in zip(p, q, strict=True)]
    return 0.3 * plain_kl(p, m) + 0.7 * plain_kl(q, m)


PLAIN = {
    "kl": plain_kl,
    "reverse_kl": lambda p, q: plain_kl(q, p),
    "jensen_shannon": plain_jensen_shannon,
    "decoupled_kl": plain_decoupled,
}
PLAIN_KEPT = {**PLAIN, "decoupled_kl": lambda p, q: plain_decoupled(p, q, chosen=0)}
"""Over kept classes, the largest first, and the rest, which is nobody's choice."""


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_is_not_what_its_paper_says(student, teacher, temperature, name):
    mine = DIVERGENCES[name](whole(student, teacher, temperature), temperature)
    plain = [
        temperature**2 * PLAIN[name](softmax(t / temperature), softmax(s / temperature))
        for s, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    np.testing.assert_allclose(mine, plain, rtol=1e-9)
    single = DIVERGENCES[name](whole(student.float(), teacher.float(), temperature), temperature)
    np.testing.assert_allclose(single, plain, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_is_not_torchs_own(student, teacher, temperature):
    log_q, p = (
        functional.log_softmax(student / temperature, 1),
        functional.softmax(teacher / temperature, 1),
    )
    due = functional.kl_div(log_q, p, reduction="batchmean") * temperature**2
    assert abs(kl(whole(student, teacher, temperature), temperature).mean() - due) < 1e-6


@pytest.mark.parametrize("rows", [1, 4, ROWS, 0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_dense_kl_is_not_kl_or_its_gradient_is_another(
    student, teacher, monkeypatch, rows, dtype, temperature
):
    """Whether rows are taken one at a time, in blocks of which the last is shorter, or at once."""
    monkeypatch.setattr(dense_kl_module, "_CACHED_NUMBERS", rows * CLASSES)
    weight = drawn(ROWS, 1, seed=3)[:, 0].to(dtype)
    answers = []
    for loss in (dense_kl, lambda s, t, at: kl(whole(s, t, at), at)):
        asked = student.to(dtype).requires_grad_()
        rows_B = loss(asked, teacher.to(dtype), temperature)
        (rows_B * weight).sum().backward()
        answers.append((rows_B.detach(), asked.grad))
    near = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-12}
    )
    for ours, due in zip(*answers, strict=True):
        torch.testing.assert_close(ours, due, **near)
    assert (dense_kl(teacher, teacher, temperature) == 0).all()


def test_a_rows_dense_kl_hangs_on_the_rows_beside_it():
    """To the last bit, since workers and lanes hold other rows."""
    student, teacher = (drawn(300, 1000, seed=seed).float() for seed in (1, 2))

    def asked(some):
        mine = student[some].clone().requires_grad_()
        loss = dense_kl(mine, teacher[some], 2.0)
        loss.sum().backward()
        return loss.detach(), mine.grad

    whole_loss, whole_gradient = asked(slice(None))
    for some in (slice(0, 7), slice(7, 150), slice(131, 300), slice(299, 300)):
        loss, gradient = asked(some)
        assert torch.equal(loss, whole_loss[some])
        assert torch.equal(gradient, whole_gradient[some])


def test_kl_is_not_what_decoupled_kl_was_taken_apart_from(student, teacher):
    for row in range(ROWS):
        said = whole(student[[row]], teacher[[row]], 1.0)
        others = 1 - softmax(teacher[row].numpy())[int(teacher[row].argmax())]
        torch.testing.assert_close(decoupled_kl(said, 1.0, 1.0, others), kl(said, 1.0))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_cross_entropy_softens_the_student_too(student, teacher, temperature):
    mine = cross_entropy(whole(student, teacher, temperature, 1.0))
    p = functional.softmax(teacher / temperature, 1)
    np.testing.assert_allclose(
        mine, functional.cross_entropy(student, p, reduction="none"), rtol=1e-6
    )
    plain = [
        -np.dot(softmax(t / temperature), np.log(softmax(s)))
        for s, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    np.testing.assert_allclose(mine, plain, rtol=1e-9)


def test_cross_entropy_to_a_target_is_not_the_log_probability_of_its_class(student):
    target = torch.tensor([0, 5, 2, 2, 1, 4, 3])
    plain = [-np.log(softmax(s)[t]) for s, t in zip(student.numpy(), target.tolist(), strict=True)]
    np.testing.assert_allclose(cross_entropy_target(student, target), plain, rtol=1e-9)


def test_binary_cross_entropy_averages_over_outputs_instead_of_summing(student):
    p = torch.sigmoid(drawn(ROWS, CLASSES, seed=3))
    q = 1 / (1 + np.exp(-student.numpy()))
    plain = -(p.numpy() * np.log(q) + (1 - p.numpy()) * np.log(1 - q)).sum(axis=1)
    np.testing.assert_allclose(binary_cross_entropy(student, p), plain, rtol=1e-9)


def test_mse_sums_over_the_value_instead_of_averaging(student, teacher):
    plain = [
        np.mean([(a - b) ** 2 for a, b in zip(s, t, strict=True)])
        for s, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    np.testing.assert_allclose(mse(student, teacher), plain, rtol=1e-9)
    assert abs(mse(student, teacher).mean() - functional.mse_loss(student, teacher)) < 1e-6


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("k", [1, 3, CLASSES])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_does_not_vanish_where_the_student_is_the_teacher(
    teacher, temperature, k, name
):
    shifted = teacher + 5.0  # the same distribution
    assert DIVERGENCES[name](whole(shifted, teacher, temperature), temperature).abs().max() < 1e-12
    index, log_p = top(teacher, k, temperature)
    assert (
        DIVERGENCES[name](kept(shifted, index, log_p, temperature), temperature).abs().max() < 1e-9
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_is_negative_where_the_student_differs(student, teacher, temperature, name):
    assert (DIVERGENCES[name](whole(student, teacher, temperature), temperature) > 0).all()
    index, log_p = top(teacher, 2, temperature)
    assert (DIVERGENCES[name](kept(student, index, log_p, temperature), temperature) > 0).all()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_topk_of_all_classes_is_another_loss_than_dense(student, teacher, temperature, name):
    index, log_p = top(teacher, CLASSES, temperature)
    loss = DIVERGENCES[name]
    torch.testing.assert_close(
        loss(kept(student, index, log_p, temperature), temperature),
        loss(whole(student, teacher, temperature), temperature),
    )
    torch.testing.assert_close(
        cross_entropy(kept(student, index, log_p, 1.0)),
        cross_entropy(whole(student, teacher, temperature, 1.0)),
    )


@pytest.mark.parametrize("k", [1, 2, CLASSES - 1])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_topk_forgets_the_mass_of_the_classes_that_were_not_kept(
    student, teacher, k, temperature, name
):
    index, log_p = top(teacher, k, temperature)
    divergence = DIVERGENCES[name](kept(student, index, log_p, temperature), temperature)
    entropy = cross_entropy(kept(student, index, log_p, 1.0))
    for row in range(ROWS):
        chosen = index[row].tolist()
        p = coarse(softmax(teacher[row].numpy() / temperature), chosen)
        q = coarse(softmax(student[row].numpy() / temperature), chosen)
        q_at_one = coarse(softmax(student[row].numpy()), chosen)
        assert divergence[row].item() == pytest.approx(
            temperature**2 * PLAIN_KEPT[name](p, q), rel=1e-6, abs=1e-9
        )
        assert entropy[row].item() == pytest.approx(-np.dot(p, np.log(q_at_one)), rel=1e-6)


@pytest.mark.parametrize("k", [8, 1000])
def test_a_rest_that_outweighs_every_class_is_the_teachers_choice(k):
    teacher, student = (
        drawn(ROWS, 1000, seed=7, scale=1.0),
        drawn(ROWS, 1000, seed=8, scale=1.0).requires_grad_(),
    )
    teacher[:, 3] = teacher[:, 4:].logsumexp(1) + np.log(0.65 / 0.35)
    index, log_p = top(teacher, k, 4.0)
    assert (index[:, 0] == 3).all()
    assert k == 1000 or (1 - log_p.exp().sum(1) > log_p[:, 0].exp()).all()
    gradient, due = (
        torch.autograd.grad(decoupled_kl(said, 4.0, 1.0, 8.0).sum(), student)[0]
        for said in (kept(student, index, log_p, 4.0), whole(student, teacher, 4.0))
    )
    torch.testing.assert_close(gradient[:, 3], due[:, 3], rtol=1e-9, atol=0)
    if k == 1000:
        torch.testing.assert_close(gradient, due, rtol=1e-9, atol=1e-12)


def many(scale, seed=9):
    """Logits of 64 rows and 1,000 classes in float32; of a sure teacher where `scale` is its
    largest probability."""
    logits = drawn(64, 1000, seed=seed, scale=scale if scale >= 1 else 1.0)
    if scale < 1:
        logits[:, 0] = logits[:, 1:].logsumexp(1) + np.log(scale / (1 - scale))
    return logits.float()


SCALES = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("scale", [*SCALES, 0.99, 0.9999, 0.999999])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_rounding_to_float32_parts_a_student_from_the_teacher_that_it_equals(
    scale, temperature, name
):
    teacher = many(scale)
    index, log_p = top(teacher, 16, temperature)
    same = DIVERGENCES[name](kept(teacher, index, log_p, temperature), temperature)
    assert same.abs().max() <= 2e-6  # only Jensen–Shannon is not 0
    index, log_p = top(teacher.double(), 16, temperature)  # the same, rounded otherwise
    same = DIVERGENCES[name](kept(teacher + 5, index, log_p.float(), temperature), temperature)
    assert same.abs().max() <= temperature**2 * (4e-6 if name == "decoupled_kl" else 4e-7)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_float32_is_far_from_float64(scale, temperature, name):
    """But for what float32 does not know: a rest of less than one unit counts as one, of less than
    1,024 it is not among the others."""
    unit, teacher, student = np.finfo(np.float32).eps, many(scale)[:16], many(scale, seed=10)[:16]
    index, log_p = top(teacher, 16, temperature)
    mine = DIVERGENCES[name](kept(student, index, log_p, temperature), temperature)
    for row, chosen in enumerate(index.tolist()):
        p, q = (
            coarse(functional.softmax(z[row].double() / temperature, 0).tolist(), chosen)
            for z in (teacher, student)
        )
        unknown = p[-1] < 1024 * unit
        p[-1], q[-1] = max(p[-1], unit), max(q[-1], unit)
        plain = (
            plain_decoupled(p, q, 0, -1)
            if unknown and name == "decoupled_kl"
            else PLAIN_KEPT[name](p, q)
        )
        due = pytest.approx(temperature**2 * plain, rel=0.1 if name == "reverse_kl" else 1e-4)
        assert mine[row].item() == due


@pytest.mark.parametrize("values", ["float16", "uint8"])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_stored_labels_whose_sum_passes_1_give_an_infinite_loss(values, name):
    for scale in SCALES:
        teacher, contract = many(scale), a_topk_contract(1000, 16, (4.0,), values=values)
        read = decode(encode(teacher.numpy(), np.ones(64, bool), contract), contract, 4.0)
        index, log_p = torch.from_numpy(read.index), torch.from_numpy(read.log_probs)
        for more in (0.0, 1e-6, 1e-2):
            student = teacher.clone().requires_grad_()
            beyond = log_p - log_p.logsumexp(1, keepdim=True) + more if more else log_p
            rows = DIVERGENCES[name](kept(student, index, beyond, 4.0), 4.0)
            (gradient,) = torch.autograd.grad(rows.sum(), student)
            assert torch.isfinite(rows).all()
            assert torch.isfinite(gradient).all()


def test_the_bound_of_jensen_shannon_is_not_the_entropy_of_its_shares():
    apart = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    said = whole(apart, apart.flip(0), 1.0)
    torch.testing.assert_close(jensen_shannon(said, 1.0, 0.5), torch.full((2,), float(np.log(2))))


def test_smoothing_is_not_a_mixture_with_evenly_spread_classes(student):
    target = torch.tensor([0, 5, 2, 2, 1, 4, 3])
    soft = 0.9 * functional.one_hot(target, CLASSES) + 0.1 / CLASSES
    due = -(soft * functional.log_softmax(student, 1)).sum(1)
    torch.testing.assert_close(cross_entropy_target(student, target, 0.1), due)


def test_cosine_hears_the_length(student, teacher):
    due = [
        1 - s @ t / np.linalg.norm(s) / np.linalg.norm(t)
        for s, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    np.testing.assert_allclose(cosine(3 * student, teacher / 7), due, rtol=1e-9)
    assert cosine(student, torch.zeros_like(student)).tolist() == [1.0] * ROWS


@pytest.mark.parametrize("k", [2, CLASSES])
def test_a_gradient_is_not_the_derivative(teacher, k):
    student = drawn(3, CLASSES, seed=4, scale=1.0).requires_grad_()
    teacher, target = teacher[:3], torch.tensor([0, 2, 5])
    index, log_p = top(teacher, k, 2.0)
    p = torch.sigmoid(teacher)
    for loss in (
        *(lambda s, d=d: d(whole(s, teacher, 2.0), 2.0) for d in DIVERGENCES.values()),
        *(lambda s, d=d: d(kept(s, index, log_p, 2.0), 2.0) for d in DIVERGENCES.values()),
        lambda s: dense_kl(s, teacher, 2.0),
        lambda s: cross_entropy(whole(s, teacher, 2.0, 1.0)),
        lambda s: cross_entropy(kept(s, index, log_p, 1.0)),
        lambda s: cross_entropy_target(s, target, 0.1),
        lambda s: binary_cross_entropy(s, p),
        lambda s: mse(s, teacher),
        lambda s: cosine(s, teacher),
    ):
        assert torch.autograd.gradcheck(loss, (student,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("k", [1, 3, CLASSES])
def test_a_padding_row_poisons_the_sum_or_its_gradient(dtype, scale, k):
    student = (drawn(2, CLASSES, seed=5) * scale).to(dtype).requires_grad_()
    index, log_p = torch.zeros(2, k, dtype=torch.int64), torch.zeros(2, k, dtype=dtype)
    nothing, weight = torch.zeros(2, CLASSES, dtype=dtype), torch.zeros(2, dtype=dtype)
    rows = sum(
        [d(whole(student, nothing, 4.0), 4.0) for d in DIVERGENCES.values()]
        + [d(kept(student, index, log_p, 4.0), 4.0) for d in DIVERGENCES.values()]
        + [
            dense_kl(student, nothing, 4.0),
            cross_entropy(whole(student, nothing, 1.0)),
            cross_entropy(kept(student, index, log_p, 1.0)),
            cross_entropy_target(student, index[:, 0]),
            binary_cross_entropy(student, nothing),
            mse(student, nothing),
            cosine(student, nothing),
        ]
    )
    total = (rows * weight).sum()
    total.backward()
    assert total.item() == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("k", [1, 3])
def test_a_student_that_is_certain_of_the_kept_classes_gets_an_infinite_loss(k):
    student = torch.full((1, CLASSES), -1e4)
    student[0, 0] = 1e4
    student.requires_grad_()
    index, log_p = top(-torch.arange(float(CLASSES))[None], k, 1.0)
    assert 0 in index
    said = kept(student, index, log_p, 1.0)
    for rows in (*(d(said, 1.0) for d in DIVERGENCES.values()), cross_entropy(said)):
        (gradient,) = torch.autograd.grad(rows.sum(), student, retain_graph=True)
        assert torch.isfinite(rows).all()
        assert torch.isfinite(gradient).all()


def test_restriction_leaks_the_classes_that_the_teacher_does_not_know(student):
    positions = torch.tensor([4, 0, 2])
    known = rows_of(student, positions).student
    p = functional.softmax(student, 1)[:, positions]
    torch.testing.assert_close(functional.softmax(known, 1), p / p.sum(1, keepdim=True))
    changed = student.clone()
    changed[:, [1, 3, 5]] += 10
    teacher = drawn(ROWS, 3, seed=6)
    torch.testing.assert_close(
        kl(whole(rows_of(changed, positions).student, teacher, 2.0), 2.0),
        kl(whole(known, teacher, 2.0), 2.0),
    )
    assert rows_of(student).student is student


def test_values_of_other_widths_are_broadcast():
    with pytest.raises(ValueError, match=r"mse of values of shape \(4, 3\) against \(4, 1\)"):
        mse(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="cosine of values"):
        cosine(torch.zeros(4, 3), torch.zeros(4, 1))
