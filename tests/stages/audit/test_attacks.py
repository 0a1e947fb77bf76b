"""What is computed of models' answers, and LiRA where it is to beat the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distill.core.audit_results import LIRA_OFFLINE, LIRA_ONLINE, LOSS
from distill.spec.outputs import Outputs
from distill.stages.audit import roc
from distill.stages.audit.attacks import Signals, attack_scores, signals

CLASSES = Outputs("logits", ("a", "b", "c"))


def test_confidence_is_the_logit_also_where_a_probability_is_nearly_one():
    """1 − p would be 0 in double precision."""
    probabilities = np.array([[1.0, 1e-20, 1e-22], [0.2, 0.5, 0.3]])
    found = signals(probabilities, np.array([0, 1]), CLASSES)
    assert found.confidence == pytest.approx([-math.log(1e-20 + 1e-22), 0.0])
    assert found.loss == pytest.approx([0.0, math.log(2)])


def test_a_class_that_is_impossible_is_a_number():
    found = signals(np.array([[0.0, 1.0, 0.0]]), np.array([0]), CLASSES)
    assert np.isfinite(found.confidence).all()
    assert np.isfinite(found.loss).all()


def test_independent_outputs_and_values_have_signals_too():
    flags = Outputs("logits", ("a", "b"), exclusive=False)
    found = signals(np.array([[0.9, 0.2]]), np.array([[1.0, 0.0]]), flags)
    assert found.loss == pytest.approx([-math.log(0.9 * 0.8)])
    assert found.confidence == pytest.approx([math.log(9 * 4)])
    found = signals(np.array([[1.0, 3.0]]), np.array([[1.0, 2.0]]), Outputs("value"))
    assert found.loss == pytest.approx([0.5])
    assert found.confidence == pytest.approx([math.log(2)])


def shadows_of(rows: int, shadows: int, seed: int):
    """Rows of which some are far easier than others, and models that know what they were taught a
    little better."""
    draw = np.random.default_rng(seed)
    ease = draw.normal(0, 4, rows)
    taught = draw.random((shadows // 2, rows)) < 0.5
    taught = np.stack([taught, ~taught], axis=1).reshape(shadows, rows)

    def confidence(is_taught):
        return ease + 1.5 * is_taught + draw.normal(0, 0.5, is_taught.shape)

    target = np.arange(rows) < rows // 2
    phi = confidence(target)
    return Signals(phi, np.log1p(np.exp(-phi))), confidence(taught), taught, target


def test_lira_finds_members_at_few_false_positives_where_the_loss_finds_none():
    target, shadows, taught, is_member = shadows_of(2_000, 16, 1)
    found = {}
    for kind, scores in attack_scores(target, shadows, taught).items():
        found[kind] = roc.found_at(scores[is_member], scores[~is_member], (0.01,))[0]
    assert found[LOSS] < 0.06
    assert found[LIRA_OFFLINE] > 0.4
    assert found[LIRA_ONLINE] > 0.6


def test_rows_that_taught_nobody_are_told_from_others_by_no_attack():
    """Equal distributions: 0.5 is within every interval."""
    draw = np.random.default_rng(5)
    _, shadows, taught, is_member = shadows_of(1_000, 8, 2)
    phi = shadows[0] - 1.5 * taught[0]
    target = Signals(phi + draw.normal(0, 0.5, 1_000), np.log1p(np.exp(-phi)))
    scores = attack_scores(target, shadows, taught)
    assert set(scores) == {LOSS, LIRA_ONLINE, LIRA_OFFLINE}
    for found in scores.values():
        area, error = roc.auc(found[is_member], found[~is_member])
        assert abs(area - 0.5) < 3 * error


def test_a_row_has_a_spread_of_its_own_from_32_shadows_a_side_on():
    """Beside a plain loop over rows."""
    target, shadows, taught, _ = shadows_of(40, 64, 3)
    scores = attack_scores(target, shadows, taught)
    for row, phi in enumerate(target.confidence):
        inside = shadows[taught[:, row], row]
        outside = shadows[~taught[:, row], row]
        z_in = (phi - inside.mean()) / inside.std(ddof=1)
        z_out = (phi - outside.mean()) / outside.std(ddof=1)
        ratio = math.log(outside.std(ddof=1) / inside.std(ddof=1)) + (z_out**2 - z_in**2) / 2
        assert scores[LIRA_ONLINE][row] == pytest.approx(ratio)
        assert scores[LIRA_OFFLINE][row] == pytest.approx(z_out)


def test_fewer_shadows_share_one_spread():
    target, shadows, taught, _ = shadows_of(40, 8, 4)
    outside = np.where(taught, np.nan, shadows)
    spread = math.sqrt(np.nanvar(outside, axis=0, ddof=1).mean())
    due = (target.confidence - np.nanmean(outside, axis=0)) / spread
    assert attack_scores(target, shadows, taught)[LIRA_OFFLINE] == pytest.approx(due)


def test_without_shadows_there_is_the_loss_alone():
    target, shadows, taught, _ = shadows_of(40, 8, 4)
    assert set(attack_scores(target, shadows[:0], taught[:0])) == {LOSS}
