"""Distribution of units around a forecast: negative binomial, gamma where counts are large."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln, ndtr, ndtri

from models.dataset import Matrix

LARGE = 80.0  # units; above it one unit more or less is nothing beside the spread
ROWS = 256  # rows whose tables are in memory together
NEAR, FAR = 3.0, 12.0  # deviations that tables reach above the mean
TINY = 1e-12


def cdf(y: Matrix, mean: Matrix, dispersion: Matrix) -> Matrix:
    """P(Y <= y) elementwise, for mean > 0 and variance mean + dispersion * mean ** 2.

    A mean up to LARGE is a negative binomial count. Above, it is a gamma variable in the closed
    form of Wilson and Hilferty (PNAS 17, 1931).
    """
    y, mean, dispersion = np.broadcast_arrays(y, mean, dispersion)
    size = 1 / dispersion
    small = mean <= LARGE
    p = np.empty(mean.shape)
    k = np.floor(y[small])
    exact = betainc(size[small], np.maximum(k, 0) + 1, 1 / (1 + dispersion[small] * mean[small]))
    p[small] = np.where(k < 0, 0.0, exact)
    m, width = mean[~small], _gamma_width(mean[~small], dispersion[~small])
    p[~small] = ndtr((np.cbrt(np.maximum(y[~small], 0) / m) - 1 + width**2) / width)
    return p


def log_density(y: Matrix, mean: Matrix, dispersion: Matrix | float) -> Matrix:
    """Log probability elementwise of a negative binomial count, of y >= 0 and mean > 0."""
    size = 1 / np.asarray(dispersion)
    ways = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
    rate = mean / size
    return np.asarray(ways + y * np.log(rate / (1 + rate)) - size * np.log1p(rate))


def quantiles(p: Matrix, mean: Matrix, dispersion: Matrix) -> Matrix:
    """Least y with P(Y <= y) >= p, for `p` (n, q), `mean` and `dispersion` (n,); (n, q).

    A mean of zero has the quantile zero.
    """
    y, p = np.zeros(p.shape), np.minimum(p, 1 - TINY)
    beyond = np.ones(len(mean), dtype=bool)
    for deviations in (NEAR, FAR):  # few quantiles lie where only a long table reaches
        for rows, table in tables(np.where(beyond, mean, 0), dispersion, deviations):
            y[rows] = (table[:, None, :] < p[rows][:, :, None]).sum(axis=2)
            beyond[rows] = table[:, -1] < p[rows].max(axis=1, initial=0)
    large = mean > LARGE
    width = _gamma_width(mean[large], dispersion[large])[:, None]
    root = 1 - width**2 + width * ndtri(p[large])
    y[large] = mean[large][:, None] * np.maximum(root, 0) ** 3
    return y


def _gamma_width(mean: Matrix, dispersion: Matrix) -> Matrix:
    """Standard deviation of the cube root of a gamma variable over that of its mean."""
    return np.sqrt(1 / mean + dispersion) / 3


def tables(
    mean: Matrix, dispersion: Matrix, deviations: float = FAR
) -> Iterator[tuple[NDArray[np.intp], Matrix]]:
    """Row numbers and P(Y <= 0), P(Y <= 1), … of them, for rows with 0 < mean <= LARGE.

    Tables end `deviations` above the mean, further where the tail is long. Rows of like reach come
    together, as a table is as wide as the farthest of its rows asks for.
    """
    wanted = np.flatnonzero((mean > 0) & (mean <= LARGE))
    m, a = mean[wanted], dispersion[wanted]
    reach = m + deviations * (np.sqrt(m + a * m * m) * np.maximum(1, np.sqrt(a)) + 1.25)
    near = np.argsort(reach, kind="stable")
    for at in range(0, len(near), ROWS):
        here = near[at : at + ROWS]
        rows = wanted[here]
        m, a = np.maximum(mean[rows], TINY)[:, None], dispersion[rows][:, None]
        k = np.arange(int(reach[here[-1]]))[None, :]
        kinds, which = np.unique(a, return_inverse=True)
        size = 1 / kinds[:, None]
        ways = gammaln(k + size) - gammaln(size) - gammaln(k + 1)
        log_pmf = ways[which.ravel()] + k * np.log(a * m / (1 + a * m)) - np.log1p(a * m) / a
        yield rows, np.cumsum(np.exp(log_pmf), axis=1)
