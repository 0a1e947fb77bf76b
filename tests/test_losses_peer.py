"""The losses beside another library's: torchdistill's. It is installed alone (`--no-deps`, as the
Makefile does): its losses need torch and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.losses.kl import Kl
from distill.spec.losses import LossRows

peers = pytest.importorskip(
    "torchdistill.losses.mid_level", reason="pip install --no-deps torchdistill"
)


@pytest.mark.parametrize("hard", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_and_a_target_are_not_torchdistills_kd(temperature, hard):
    draw = np.random.default_rng(0)
    student, teacher = (torch.from_numpy(draw.normal(scale=3, size=(7, 6))) for _ in range(2))
    target = torch.from_numpy(draw.integers(6, size=7))
    theirs = peers.KDLoss("head", "output", "head", "output", temperature, alpha=hard)
    due = theirs({"head": {"output": student}}, {"head": {"output": teacher}}, target)
    if not hard:
        due = due * temperature**2  # without a share of the target theirs leaves it out
    weight = torch.ones(7)
    soft_rows = LossRows(head=student, positions=None, weight=weight, outputs=teacher)
    soft = Kl(kind="kl", temperature=temperature).row_losses(soft_rows).mean()
    hard_rows = LossRows(head=student, positions=None, weight=weight, target=target)
    to_target = CrossEntropy(kind="cross_entropy").row_losses(hard_rows).mean()
    mine = hard * to_target + (1 - hard) * soft
    assert abs(mine - due) < 1e-6
