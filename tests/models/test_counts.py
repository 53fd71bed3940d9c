import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gamma, nbinom

from models import counts

MEANS = np.array([0.01, 0.3, 1.0, 7.5, 40.0, counts.LARGE])


@pytest.mark.parametrize("dispersion", [0.001, 0.2, 3.0])
def test_small_means_are_negative_binomial(dispersion: float) -> None:
    size = 1 / dispersion
    for mean in MEANS:
        law = nbinom(size, 1 / (1 + dispersion * mean))
        y = np.arange(0.0, 30.0)
        assert np.allclose(counts.cdf(y, mean, dispersion), law.cdf(y), atol=1e-9)
        p = np.array([[0.025, 0.1, 0.5, 0.9, 0.975, 0.999, 0.9999]])  # the last is beyond NEAR
        found = counts.quantiles(p, np.array([mean]), np.array([dispersion]))
        assert found.tolist() == [law.ppf(p[0]).tolist()]


def test_large_means_are_close_to_gamma() -> None:
    for mean in (100.0, 5_000.0):
        shape = 1 / (1 / mean + 0.1)
        law = gamma(shape, scale=mean / shape)
        p = np.array([[0.025, 0.1, 0.5, 0.9, 0.975]])
        found = counts.quantiles(p, np.array([mean]), np.array([0.1]))
        assert np.allclose(found, law.ppf(p), rtol=0.01)
        assert np.allclose(counts.cdf(found, np.full((1, 5), mean), np.full((1, 5), 0.1)), p)


def test_below_zero_there_is_nothing() -> None:
    p = counts.cdf(np.array([-1.0, -3.0]), np.array([0.5, 300.0]), np.array([1.0, 0.1]))
    assert np.allclose(p, 0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1e5), min_size=1, max_size=20),
    st.floats(0.001, 10),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
def test_quantiles_ascend_and_are_finite(
    means: list[float], dispersion: float, levels: list[float]
) -> None:
    p = np.tile(np.sort(levels), (len(means), 1))
    y = counts.quantiles(p, np.array(means), np.full(len(means), dispersion))
    assert (np.diff(y, axis=1) >= 0).all() and (y >= 0).all() and np.isfinite(y).all()
