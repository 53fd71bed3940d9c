"""Prediction intervals from out-of-sample errors: split conformal, by volume of the forecast."""

from collections.abc import Sequence

import numpy as np

from models.dataset import Matrix

BINS = 10
FLOOR = 0.1  # units; keeps the scale of a forecast of zero above zero


def _scaled(y_hat: Matrix) -> Matrix:
    return np.sqrt(y_hat + FLOOR)


def calibrate(y: Matrix, y_hat: Matrix, quantiles: Sequence[float]) -> dict[str, list[list[float]]]:
    """Table of error quantiles by decile of the forecast, as plain lists for JSON.

    `y` and `y_hat` (n,) are actuals and forecasts of days that the model had not seen. Errors are
    divided by the root of the forecast, as counts spread; a quantile q of n errors is the one at
    rank ceil((n + 1) q), the finite-sample correction of split conformal prediction (Lei et al.,
    JASA 113, 2018). Deciles keep big series from borrowing the width of small ones.
    """
    edges = np.quantile(y_hat, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, y_hat, side="right")
    scores = (y - y_hat) / _scaled(y_hat)
    table = []
    for b in range(BINS):
        ordered = np.sort(scores[bins == b])
        n = len(ordered)
        if n == 0:
            table.append([0.0] * len(quantiles))
            continue
        ranks = np.clip(np.ceil((n + 1) * np.asarray(quantiles)).astype(int) - 1, 0, n - 1)
        table.append([float(v) for v in ordered[ranks]])
    return {"edges": [[float(e) for e in edges]], "table": table}


def apply(y_hat: Matrix, calibration: dict[str, list[list[float]]]) -> Matrix:
    """Quantiles (n, q) of forecasts (n,): ascending and never negative."""
    edges, table = np.asarray(calibration["edges"][0]), np.asarray(calibration["table"])
    bins = np.searchsorted(edges, y_hat, side="right")
    spread = table[bins] * _scaled(y_hat)[:, None]
    return np.sort(np.clip(y_hat[:, None] + spread, 0, None), axis=1)
