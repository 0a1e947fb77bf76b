"""The losses beside another library's: torchdistill's. It is installed alone (`--no-deps`, as the
Makefile does): its losses need torch and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.models import losses

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
    soft = losses.kl(
        losses.dense_outcomes(student, teacher, temperature, temperature), temperature
    ).mean()
    mine = hard * losses.cross_entropy_target(student, target).mean() + (1 - hard) * soft
    assert abs(mine - due) < 1e-6
