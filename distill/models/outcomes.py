"""Distributions of a teacher and a student over the same outcomes, which divergences compare.

Shapes: B rows, S classes that the teacher speaks about, k kept logits, O outcomes.

What is said of exclusive classes is compared over *outcomes*: `dense_outcomes` has one for each
class; `topk_outcomes` has the k kept classes and, as one more, the rest, whose mass is known though
not how it is spread. Each divergence is written once, over outcomes, so it is proper (zero exactly
where the two distributions over outcomes agree), nothing is ever made dense, and k = S gives the
dense loss. But for rounding: 1 − Σ p is known to a few units of it, so a rest below one unit counts
as one on both sides, and `unknown_rests` says where it is not known well enough to stand alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own habit

from distill.spec.losses import LossRows

# the logarithm of no mass: its exponential is 0, and twice the same differ by 0
_NOTHING = -1e4
# a teacher's rest of fewer units of rounding is not known well: 1 − Σ p was off by up to 6 (top 16
# of 1,000 classes, float32)
_KNOWN_EPS = 1024


class Outcomes(NamedTuple):
    """Log-probabilities of the same outcomes, by the teacher and by the student."""

    teacher: Tensor
    """(B, O)."""
    student: Tensor
    """(B, O)."""
    classes: int
    """The first so many outcomes are classes; one more, if there is one, is the rest."""


def outcomes_of(rows: LossRows, temperature: float, student_temperature: float) -> Outcomes:
    """Return the outcomes of a label set's logits, stored whole or as their top k."""
    if rows.index is not None and rows.log_probs is not None:
        return topk_outcomes(rows.student, rows.index, rows.log_probs, student_temperature)
    return dense_outcomes(rows.student, rows.taught, temperature, student_temperature)


def dense_outcomes(
    logits_BS: Tensor, teacher_BS: Tensor, temperature: float, student_temperature: float
) -> Outcomes:
    """Make every class an outcome. Both are logits, each over its own temperature."""
    log_p_BS = F.log_softmax(teacher_BS / temperature, dim=1)
    log_q_BS = F.log_softmax(logits_BS / student_temperature, dim=1)
    return Outcomes(log_p_BS, log_q_BS, log_p_BS.shape[1])


def topk_outcomes(
    logits_BS: Tensor, index_Bk: Tensor, log_p_Bk: Tensor, student_temperature: float
) -> Outcomes:
    """Make outcomes of the kept classes, and one of the rest, whose mass is what is missing to 1.
    `log_p_Bk` are the teacher's at the labels' temperature."""
    log_q_BS = F.log_softmax(logits_BS / student_temperature, dim=1)
    log_q_Bk = log_q_BS.gather(1, index_Bk)
    k = index_Bk.shape[1]
    # nothing is left over: a rest of no mass would add rounding alone
    if k == logits_BS.shape[1]:
        return Outcomes(log_p_Bk, log_q_Bk, k)
    return Outcomes(_with_rest(log_p_Bk), _with_rest(log_q_Bk), k)


def one_against_others(log_p_BO: Tensor, chosen_B1: Tensor) -> Tensor:
    """Return the log-probabilities of the chosen outcome and of all others together, (B, 2)."""
    # finite, since −inf − (−inf) is NaN
    least = torch.finfo(log_p_BO.dtype).min
    others_B1 = log_p_BO.scatter(1, chosen_B1, least).logsumexp(dim=1, keepdim=True)
    return torch.cat([log_p_BO.gather(1, chosen_B1), others_B1], dim=1)


def among_heard(log_p_BO: Tensor, silent_BO: Tensor) -> Tensor:
    """Return the log-probabilities of the outcomes that are not silent among themselves, (B, O),
    and no mass for the silent ones."""
    # the least finite number and not −inf, of which two make NaN, gradients included
    heard_BO = log_p_BO.masked_fill(silent_BO, torch.finfo(log_p_BO.dtype).min)
    return F.log_softmax(heard_BO, dim=1).masked_fill(silent_BO, _NOTHING)


def unknown_rests(outcomes: Outcomes) -> Tensor:
    """Return where the teacher's rest is below 1,024 units of rounding (1.2e-4 in float32), too
    little to be known well, (B, O)."""
    eps = torch.finfo(outcomes.teacher.dtype).eps
    least = _KNOWN_EPS * eps
    known = math.log(least)
    rests = outcomes.teacher[:, outcomes.classes :]
    return F.pad(rests < known, (outcomes.classes, 0))


def _with_rest(log_p_Bk: Tensor) -> Tensor:
    """And log(1 − Σ p), of one unit of rounding at least."""
    # so that it is finite where Σ p reaches 1; made alike on both sides, so equal ones stay equal
    eps = torch.finfo(log_p_Bk.dtype).eps
    kept_B1 = log_p_Bk.logsumexp(dim=1, keepdim=True).clamp_max(-eps)
    rest_B1 = torch.log(-torch.expm1(kept_B1))
    return torch.cat([log_p_Bk, rest_B1], dim=1)
