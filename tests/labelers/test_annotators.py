import warnings

import numpy as np
import pytest

from distill.labelers.annotators import (
    ABSTAINED,
    add_counts,
    add_pairs,
    count,
    count_pairs,
    maximise,
    suspicious_pair,
    votes_of,
)


def simulated(seed, parties=5, rows=2_000, classes=4, abstain=0.2):
    """True classes, and votes (M, B) of parties that err each in its own way."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(classes, rows, p=[0.4, 0.3, 0.2, 0.1])
    votes = np.empty((parties, rows), np.int64)
    for party in range(parties):
        errors = draw.dirichlet(np.ones(classes) * 0.5, classes) * 0.5 + 0.5 * np.eye(classes)
        edges = errors.cumsum(1)
        votes[party] = (draw.random(rows)[:, None] > edges[truth]).sum(1).clip(0, classes - 1)
        votes[party, draw.random(rows) < abstain] = ABSTAINED
    return truth, votes


def fitted(votes, classes, passes, chunks=1):
    known = None
    for _ in range(passes + 1):
        parts = [count(part, classes, known) for part in np.array_split(votes, chunks, axis=1)]
        counts = parts[0]
        for part in parts[1:]:
            counts = add_counts(counts, part)
        known = maximise(counts)
    return known, counts


@pytest.mark.parametrize("passes", [1, 7, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_confusions_and_posteriors_are_not_crowd_kits(seed, passes):
    pd = pytest.importorskip("pandas")
    aggregation = pytest.importorskip("crowdkit.aggregation")
    _, votes = simulated(seed)
    voted = (votes != ABSTAINED).any(axis=0)
    party, row = np.nonzero(votes != ABSTAINED)
    data = pd.DataFrame({"task": row, "worker": party, "label": votes[party, row]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # crowd-kit's, of pandas
        theirs = aggregation.DawidSkene(n_iter=passes, tol=-1).fit(data)
    before, _ = fitted(votes, 4, passes - 1)
    known, _ = fitted(votes, 4, passes, chunks=3)
    log_q, _ = before.log_posterior(votes[:, voted])
    order = theirs.probas_.sort_index()[[0, 1, 2, 3]].to_numpy()
    np.testing.assert_allclose(np.exp(log_q), order, atol=1e-6)
    for number in range(len(votes)):
        errors = theirs.errors_.loc[number].sort_index()[[0, 1, 2, 3]].to_numpy().T
        np.testing.assert_allclose(known.errors[number], errors, atol=1e-6)
    np.testing.assert_allclose(known.prior, theirs.priors_.sort_index(), atol=1e-6)


def test_the_most_frequent_vote_is_better_than_what_weighs_parties_by_their_errors():
    truth, votes = simulated(5, parties=7)
    majority = np.stack([(votes == each).sum(0) for each in range(4)]).argmax(0)
    known, _ = fitted(votes, 4, 30)
    log_q, _ = known.log_posterior(votes)
    assert (log_q.argmax(1) == truth).mean() > (majority == truth).mean() + 0.02


def test_parties_that_err_together_pass_for_two_witnesses():
    found = []
    for seed in range(12):
        truth, votes = simulated(seed, parties=6, abstain=0.1)
        known, _ = fitted(votes, 4, 30)
        assert suspicious_pair(count_pairs(votes, known), 6) is None
        draw = np.random.default_rng(1)
        copied = draw.random(len(truth)) < 0.9
        votes[1, copied] = votes[0, copied]
        known, _ = fitted(votes, 4, 30)
        halves = [count_pairs(part, known) for part in np.array_split(votes, 2, axis=1)]
        found.append(suspicious_pair(add_pairs(*halves), 6))
    pairs = [each and each[:2] for each in found]
    print(f"\ncopies found in {pairs.count((0, 1))} of 12 simulations")
    assert pairs.count((0, 1)) >= 11


def test_a_row_that_a_party_did_not_label_is_a_vote_for_the_first_class():
    outputs = np.array([[[np.nan, np.nan], [0.1, 0.2]], [[2.0, 1.0], [np.nan, np.nan]]])
    assert votes_of(outputs).tolist() == [[ABSTAINED, 1], [0, ABSTAINED]]
    counts = count(np.array([[ABSTAINED], [ABSTAINED]]), 2, None)
    assert counts.rows == 0
