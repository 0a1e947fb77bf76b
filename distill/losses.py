"""The summands of the combined loss, in plain torch. Each is named for what it computes and gives one number a row.

Shapes: B rows, C classes of the head, S ≤ C classes that the teacher speaks about, k kept logits, W width of a value.

A teacher over a subset of the head's classes is learned on the head's outputs *restricted* to that subset and renormalised: the
student is told nothing of the rest. `restrict` does it, by indexing logits before the softmax.

Top-k soft labels know k probabilities and the mass of the rest. Both losses on them treat the rest as one more outcome, so they are
proper (zero divergence exactly where the coarsened distributions agree) and equal to the dense losses where k = S.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own habit


def restrict(logits_BC: Tensor, positions_S: Tensor | None) -> Tensor:
    """The head's logits of the teacher's classes (B, S); all of them for None."""
    return logits_BC if positions_S is None else logits_BC[:, positions_S]


def kl(logits_BS: Tensor, teacher_BS: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(teacher/T) ‖ softmax(student/T)) a row, (B,). Hinton, Vinyals & Dean 2015, §2: T² keeps the gradient's size."""
    log_q_BS = F.log_softmax(logits_BS / temperature, dim=1)
    log_p_BS = F.log_softmax(teacher_BS / temperature, dim=1)
    return temperature**2 * (log_p_BS.exp() * (log_p_BS - log_q_BS)).sum(dim=1)


def kl_topk(logits_BS: Tensor, index_Bk: Tensor, log_p_Bk: Tensor, temperature: float) -> Tensor:
    """`kl` from top-k log-probabilities at `temperature`, the rest as one outcome, (B,)."""
    log_q_Bk = F.log_softmax(logits_BS / temperature, dim=1).gather(1, index_Bk)
    p_Bk = log_p_Bk.exp()
    kept_B = (p_Bk * (log_p_Bk - log_q_Bk)).sum(dim=1)
    if index_Bk.shape[1] == logits_BS.shape[1]:
        return temperature**2 * kept_B
    rest_B = _rest(p_Bk)
    return temperature**2 * (kept_B + torch.xlogy(rest_B, rest_B) - rest_B * _log_rest(log_q_Bk))


def cross_entropy(logits_BS: Tensor, teacher_BS: Tensor, temperature: float) -> Tensor:
    """−Σ p log softmax(student), p = softmax(teacher/T), a row, (B,)."""
    return -(F.softmax(teacher_BS / temperature, dim=1) * F.log_softmax(logits_BS, dim=1)).sum(dim=1)


def cross_entropy_topk(logits_BS: Tensor, index_Bk: Tensor, log_p_Bk: Tensor) -> Tensor:
    """`cross_entropy` from top-k log-probabilities, the rest as one outcome, (B,)."""
    log_q_Bk = F.log_softmax(logits_BS, dim=1).gather(1, index_Bk)
    p_Bk = log_p_Bk.exp()
    kept_B = -(p_Bk * log_q_Bk).sum(dim=1)
    if index_Bk.shape[1] == logits_BS.shape[1]:
        return kept_B
    return kept_B - _rest(p_Bk) * _log_rest(log_q_Bk)


def cross_entropy_target(logits_BC: Tensor, target_B: Tensor) -> Tensor:
    """−log softmax(student)[target] over the *whole* head: a target says that the row is of no other class, (B,)."""
    return F.cross_entropy(logits_BC, target_B, reduction="none")


def binary_cross_entropy(logits_BS: Tensor, probabilities_BS: Tensor) -> Tensor:
    """Σ over independent outputs of −p log σ(z) − (1−p) log(1−σ(z)), a row, (B,)."""
    return F.binary_cross_entropy_with_logits(logits_BS, probabilities_BS, reduction="none").sum(dim=1)


def mse(values_BW: Tensor, teacher_BW: Tensor) -> Tensor:
    """Mean over the value's numbers of the squared error, a row, (B,). Raises ValueError where widths differ."""
    if values_BW.shape != teacher_BW.shape:
        raise ValueError(f"mse of values of shape {tuple(values_BW.shape)} against {tuple(teacher_BW.shape)}")
    return (values_BW - teacher_BW).square().mean(dim=1)


def _rest(p_Bk: Tensor) -> Tensor:
    return (1 - p_Bk.sum(dim=1)).clamp_min(0)


def _log_rest(log_q_Bk: Tensor) -> Tensor:
    """log(1 − Σ q), kept finite where the student puts all its mass on the kept classes."""
    kept_B = log_q_Bk.logsumexp(dim=1).clamp_max(-torch.finfo(log_q_Bk.dtype).eps)
    return torch.log(-torch.expm1(kept_B))
