import numpy as np
import pytest
from scipy import special, stats

from distill.labelers.merge import MergeLabeler
from distill.spec.labels import Merge
from distill.spec.outputs import Outputs

draw = np.random.default_rng(3)
LOGITS = draw.normal(0, 3, (5, 40, 4)).astype(np.float32)
CLASSES = ("a", "b", "c", "d")


def merged(numbers_MBW, outputs, **how):
    table = Merge(kind="merge", of=("labels.a", "labels.b"), **how)
    seen = np.moveaxis(numbers_MBW, 0, 1).reshape(numbers_MBW.shape[1], -1)
    return MergeLabeler(table, outputs, numbers_MBW.shape[2]).label(seen)


@pytest.mark.parametrize(
    ("by", "combine"),
    [
        ("mean", lambda p: p.mean(0)),
        ("median", lambda p: np.median(p, 0)),
        ("trimmed", lambda p: stats.trim_mean(p, 0.2, axis=0)),
    ],
)
def test_independent_outputs_are_merged_as_if_they_excluded_each_other(by, combine):
    found = merged(LOGITS, Outputs("logits", CLASSES, exclusive=False), by=by)
    p = special.expit(LOGITS.astype(np.float64))
    np.testing.assert_allclose(found.outputs, special.logit(combine(p)), rtol=1e-4, atol=1e-5)
    bits = lambda q: special.entr(q) + special.entr(1 - q)  # noqa: E731
    apart = (bits(p.mean(0)) - bits(p).mean(0)).mean(1)
    np.testing.assert_allclose(found.disagreement, apart, rtol=1e-5)


@pytest.mark.parametrize("by", ["mean", "median", "trimmed"])
def test_values_of_a_party_that_is_missing_count(by):
    values = LOGITS.copy()
    values[2, :20] = np.nan
    found = merged(values, Outputs("value"), by=by, trim=0.25)
    four = values[[0, 1, 3, 4], :20].astype(np.float64)
    five = values[:, 20:].astype(np.float64)
    for rows, there in ((slice(0, 20), four), (slice(20, 40), five)):
        want = {
            "mean": there.mean(0),
            "median": np.median(there, 0),
            "trimmed": stats.trim_mean(there, 0.25, axis=0),
        }[by]
        np.testing.assert_allclose(found.outputs[rows], want, rtol=1e-5, atol=1e-6)
        spread = np.sqrt(there.var(0).mean(1))
        np.testing.assert_allclose(found.disagreement[rows], spread, rtol=1e-5)


def test_a_probability_of_0_gives_a_logit_that_is_no_number():
    sure = np.array([[[200.0, 0, 0, 0]], [[200.0, 0, 0, 0]]], np.float32)
    found = merged(sure, Outputs("logits", CLASSES))
    assert np.isfinite(found.outputs).all()
    assert found.disagreement == pytest.approx(0)


@pytest.mark.parametrize("by", ["median", "trimmed"])
def test_parties_that_are_each_sure_of_another_class_agree_on_no_number(by):
    """Every class then has a median of 0: there is no sum to bring to 1."""
    sure = np.where(np.eye(4)[:, None, :] > 0, 0, -2_000).astype(np.float32)
    found = merged(sure, Outputs("logits", CLASSES), by=by, trim=0.25)
    np.testing.assert_allclose(found.outputs, np.log(0.25), rtol=1e-6)
    assert found.disagreement == pytest.approx(np.log(4))
