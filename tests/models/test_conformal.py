import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.schema import QUANTILES
from models import conformal


def test_intervals_cover_what_they_say_on_new_days() -> None:
    rng = np.random.default_rng(2)
    y_hat = rng.gamma(1, 5, 60_000)
    y = rng.poisson(y_hat).astype(float)
    table = conformal.calibrate(y[:30_000], y_hat[:30_000], QUANTILES)
    bands = conformal.apply(y_hat[30_000:], table)
    low, high = bands[:, QUANTILES.index(0.1)], bands[:, QUANTILES.index(0.9)]
    new = y[30_000:]
    assert abs(np.mean(new > high) - 0.1) < 0.02
    big = y_hat[30_000:] > 10
    assert abs(np.mean((new >= low) & (new <= high))[()] - 0.8) < 0.12
    assert abs(np.mean(((new >= low) & (new <= high))[big]) - 0.8) < 0.05


def test_a_quantile_is_the_rank_with_the_finite_sample_correction() -> None:
    errors = np.arange(1.0, 100.0)  # 99 errors of one forecast: the 90 % quantile is the 90th
    y_hat = np.full(99, 0.9)
    table = conformal.calibrate(y_hat + errors, y_hat, (0.9,))
    assert np.isclose(conformal.apply(np.array([0.9]), table)[0, 0], 0.9 + 90.0)


@given(
    arrays(float, st.integers(5, 200), elements=st.floats(0, 1e5)),
    st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_quantiles_ascend_and_are_never_negative(y_hat: np.ndarray, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(y_hat)
    bands = conformal.apply(y_hat * 3, conformal.calibrate(y, y_hat, QUANTILES))
    assert (np.diff(bands, axis=1) >= 0).all()
    assert (bands >= 0).all() and np.isfinite(bands).all()
