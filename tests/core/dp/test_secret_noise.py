from __future__ import annotations

import numpy as np

from distill.core.dp.secret_noise import SecretNoise


def test_noise_has_another_spread_than_the_accounts_assume():
    """Six standard errors: one in a billion runs fails."""
    count = 200_000
    normal = SecretNoise().normal((count,))
    laplace = SecretNoise().laplace((count,))
    assert abs(normal.mean()) < 6 / count**0.5
    assert abs(normal.var() - 1) < 6 * (2 / count) ** 0.5
    assert abs(np.abs(laplace).mean() - 1) < 6 / count**0.5
    assert abs(laplace.mean()) < 6 * (2 / count) ** 0.5


def test_noise_comes_again_from_a_seed_of_numpy():
    np.random.seed(1)
    one = SecretNoise().normal((4, 3))
    np.random.seed(1)
    other = SecretNoise().normal((4, 3))
    assert one.shape == (4, 3)
    assert not np.isclose(one, other).any()
