"""The summands of the combined loss, in plain torch. Each is named for what it computes and gives
one number a row.

Shapes: B rows, C classes of the head, S ≤ C classes that the teacher speaks about, k kept logits, O
outcomes, W width of a value.

A teacher over a subset of the head's classes is learned on the head's outputs *restricted* to that
subset and renormalised: the student is told nothing of the rest. `restrict` does it, by indexing
logits before the softmax.

What is said of exclusive classes is compared over *outcomes*: `dense_outcomes` has one for each
class; `topk_outcomes` has the k kept classes and, as one more, the rest, whose mass is known though
not how it is spread. Each divergence is written once, over outcomes, so it is proper (zero exactly
where the two distributions over outcomes agree), nothing is ever made dense, and k = S gives the
dense loss. But for rounding: 1 − Σ p is known to a few units of it, so a rest below one unit counts
as one on both sides, and `decoupled_kl` does not hear a teacher's rest below 1,024 among the
others. `dense_kl` is `kl` once more, for speed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  torch's own habit

_NOTHING = -1e4
"""The logarithm of no mass: its exponential is 0, and twice the same differ by 0."""
_CACHED_NUMBERS = 1 << 17
"""Of one array; some arrays of so many stay in a core's cache."""
_KNOWN_EPS = 1024
"""A teacher's rest of fewer units of rounding is not known well: 1 − Σ p was off by up to 6 (top 16
of 1,000 classes, float32)."""


class Outcomes(NamedTuple):
    """Log-probabilities of the same outcomes, by the teacher and by the student."""

    teacher: Tensor
    """(B, O)."""
    student: Tensor
    """(B, O)."""
    classes: int
    """The first so many outcomes are classes; one more, if there is one, is the rest."""


def restrict(logits_BC: Tensor, positions_S: Tensor | None) -> Tensor:
    """The head's logits of the teacher's classes (B, S); all of them for None."""
    return logits_BC if positions_S is None else logits_BC[:, positions_S]


def dense_outcomes(
    logits_BS: Tensor, teacher_BS: Tensor, temperature: float, student_temperature: float
) -> Outcomes:
    """Every class is an outcome. Both are logits, each over its own temperature."""
    log_p_BS = F.log_softmax(teacher_BS / temperature, dim=1)
    return Outcomes(
        log_p_BS, F.log_softmax(logits_BS / student_temperature, dim=1), log_p_BS.shape[1]
    )


def topk_outcomes(
    logits_BS: Tensor, index_Bk: Tensor, log_p_Bk: Tensor, student_temperature: float
) -> Outcomes:
    """The kept classes, and the rest as one: its mass is what is missing to 1. `log_p_Bk` are the
    teacher's at the labels' temperature."""
    log_q_Bk = F.log_softmax(logits_BS / student_temperature, dim=1).gather(1, index_Bk)
    k = index_Bk.shape[1]
    if k == logits_BS.shape[1]:
        return Outcomes(log_p_Bk, log_q_Bk, k)
    return Outcomes(_with_rest(log_p_Bk), _with_rest(log_q_Bk), k)


def kl(said: Outcomes, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student), (B,). Hinton, Vinyals & Dean 2015, §2: T² keeps the gradient's
    size."""
    return temperature**2 * _divergence(said.teacher, said.student)


def dense_kl(logits_BS: Tensor, teacher_BS: Tensor, temperature: float) -> Tensor:
    """`kl` of `dense_outcomes`, (B,), its derivative T·(student − teacher) written down. Both of
    one shape and dtype; the teacher gets no gradient.

    On a CPU rows are taken some at a time, so that what is passed over again and again stays in its
    cache: 25 ms instead of 59 at B = 4,096, S = 1,000.
    """
    return _DenseKl.apply(logits_BS, teacher_BS, temperature)  # type: ignore[no-any-return, no-untyped-call]


class _DenseKl(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_BS: Tensor, teacher_BS: Tensor, temperature: float) -> Tensor:
        rows = (
            max(1, _CACHED_NUMBERS // logits_BS.shape[1])
            if logits_BS.device.type == "cpu"
            else len(logits_BS)
        )
        loss_B, slope_BS = logits_BS.new_empty(len(logits_BS)), torch.empty_like(logits_BS)
        parts = (torch.split(each, rows) for each in (logits_BS, teacher_BS, loss_B, slope_BS))
        for logits, teacher, loss, slope in zip(*parts, strict=True):
            log_p, log_q = (
                F.log_softmax(teacher / temperature, dim=1),
                F.log_softmax(logits / temperature, dim=1),
            )
            p = log_p.exp()
            loss.copy_(torch.linalg.vecdot(p, log_p.sub_(log_q)))
            torch.sub(log_q.exp_(), p, out=slope)
        ctx.save_for_backward(slope_BS)
        ctx.temperature = temperature
        return loss_B.mul_(temperature**2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B: Tensor) -> tuple[Tensor, None, None]:
        (slope_BS,) = ctx.saved_tensors
        return slope_BS * (ctx.temperature * gradient_B)[:, None], None, None


def reverse_kl(said: Outcomes, temperature: float) -> Tensor:
    """T² · KL(student ‖ teacher), (B,): the student may leave out what it cannot say (Gu et al.
    2024, MiniLLM, eq. 2)."""
    return temperature**2 * _divergence(said.student, said.teacher)


def jensen_shannon(said: Outcomes, temperature: float, teacher_share: float) -> Tensor:
    """T² · (β·KL(teacher ‖ m) + (1−β)·KL(student ‖ m)), m = β·teacher + (1−β)·student, (B,).
    Agarwal et al. 2024 (GKD), eq. 1."""
    p, q = said.teacher, said.student
    shares = p.new_tensor([teacher_share, 1 - teacher_share]).log()
    log_m = torch.logaddexp(p + shares[0], q + shares[1])
    return temperature**2 * (
        teacher_share * _divergence(p, log_m) + (1 - teacher_share) * _divergence(q, log_m)
    )


def decoupled_kl(
    said: Outcomes, temperature: float, target_weight: float, others_weight: float
) -> Tensor:
    """T² · (α·KL of the target against all others + β·KL among the others), (B,). Zhao et al. 2022
    (DKD), eq. 7.

    The target is the class that the teacher prefers, since an unlabelled row has no other. α = 1, β
    = 1 − p(target) would be `kl`. Where the teacher's rest is below 1,024 units of rounding (1.2e-4
    in float32), it is not known well enough to stand among the others: on both sides it counts in
    their mass alone.
    """
    chosen_B1 = said.teacher[:, : said.classes].argmax(dim=1, keepdim=True)
    known = math.log(_KNOWN_EPS * torch.finfo(said.teacher.dtype).eps)
    unknown_BO = F.pad(said.teacher[:, said.classes :] < known, (said.classes, 0))
    silent_BO = unknown_BO.scatter(1, chosen_B1, value=True)
    binary_B = _divergence(*(_binary(log_p_BO, chosen_B1) for log_p_BO in said[:2]))
    among_B = _divergence(*(_among(log_p_BO, silent_BO) for log_p_BO in said[:2]))
    return temperature**2 * (target_weight * binary_B + others_weight * among_B)


def cross_entropy(said: Outcomes) -> Tensor:
    """−Σ p log q, (B,): `kl` and the teacher's own entropy, so it does not reach 0."""
    return -(said.teacher.exp() * said.student).sum(dim=1)


def cross_entropy_target(logits_BC: Tensor, target_B: Tensor, smoothing: float = 0.0) -> Tensor:
    """−log softmax(student)[target] over the *whole* head: a target says that the row is of no
    other class, (B,).

    With smoothing ε the target is (1−ε)·one-hot + ε/C (Szegedy et al. 2016, §7).
    """
    return F.cross_entropy(logits_BC, target_B, reduction="none", label_smoothing=smoothing)


def binary_cross_entropy(logits_BS: Tensor, probabilities_BS: Tensor) -> Tensor:
    """Σ over independent outputs of −p log σ(z) − (1−p) log(1−σ(z)), a row, (B,)."""
    return F.binary_cross_entropy_with_logits(logits_BS, probabilities_BS, reduction="none").sum(
        dim=1
    )


def mse(values_BW: Tensor, teacher_BW: Tensor) -> Tensor:
    """Mean over the numbers of the squared error, a row, (B,): of values, embeddings, or logits (Ba
    & Caruana 2014, eq. 1)."""
    _require_alike("mse", values_BW, teacher_BW)
    return (values_BW - teacher_BW).square().mean(dim=1)


def cosine(values_BW: Tensor, teacher_BW: Tensor) -> Tensor:
    """1 − cosine of the two, a row, (B,): of embeddings whose length says nothing. 1 where one of
    them is zero."""
    _require_alike("cosine", values_BW, teacher_BW)
    return 1 - F.cosine_similarity(values_BW, teacher_BW, dim=1)


def _divergence(log_p_BO: Tensor, log_q_BO: Tensor) -> Tensor:
    return (log_p_BO.exp() * (log_p_BO - log_q_BO)).sum(dim=1)


def _binary(log_p_BO: Tensor, chosen_B1: Tensor) -> Tensor:
    """The chosen outcome against all others, (B, 2)."""
    others_BO = log_p_BO.scatter(1, chosen_B1, torch.finfo(log_p_BO.dtype).min)
    return torch.cat(
        [log_p_BO.gather(1, chosen_B1), others_BO.logsumexp(dim=1, keepdim=True)], dim=1
    )


def _among(log_p_BO: Tensor, silent_BO: Tensor) -> Tensor:
    """The outcomes that are not silent, among themselves, (B, O)."""
    heard_BO = log_p_BO.masked_fill(silent_BO, torch.finfo(log_p_BO.dtype).min)
    return F.log_softmax(heard_BO, dim=1).masked_fill(silent_BO, _NOTHING)


def _with_rest(log_p_Bk: Tensor) -> Tensor:
    """And log(1 − Σ p), of one unit of rounding at least, so that it is finite where Σ p reaches 1.
    Made alike on both sides: equal ones stay equal."""
    kept_B1 = log_p_Bk.logsumexp(dim=1, keepdim=True).clamp_max(-torch.finfo(log_p_Bk.dtype).eps)
    return torch.cat([log_p_Bk, torch.log(-torch.expm1(kept_B1))], dim=1)


def _require_alike(name: str, values_BW: Tensor, teacher_BW: Tensor) -> None:
    if values_BW.shape != teacher_BW.shape:
        raise ValueError(
            f"{name} of values of shape {tuple(values_BW.shape)} against {tuple(teacher_BW.shape)}"
        )
